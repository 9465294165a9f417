"""What stands for a whole sequence of reservoir states: a linear model of how they go on, fitted inside the network."""

import torch
from edgeseq_export.ops.solve import Solve
from torch import Tensor, nn


def valid_steps(z: Tensor, lengths: Tensor | None, first: int) -> Tensor:
    """Which steps count, bool (batch, time): before each row's end, and from step `first` on. z: (batch, time, …)."""
    steps = torch.arange(z.shape[1], device=z.device)
    if lengths is None:
        return (steps >= first).expand(z.shape[0], -1)
    return (steps >= first) & (steps < lengths[:, None])


class ModelSpace(nn.Module):
    """A linear model of each sequence, fitted inside the network: ridge regression from a state to what comes next.

    target(t+1) ≈ U z(t) + c, with U and c from the valid pairs of steps alone; the slopes U and the intercept c are the
    features (Bianchi et al., "Reservoir computing approaches for representation and classification of multivariate
    time series", 2021, equations 9 to 14). In float64; the intercept is not penalised.

    Args:
        penalty: of the slopes, above 0.
    """

    def __init__(self, penalty: float) -> None:
        super().__init__()
        self._penalty = penalty
        self.solve = Solve()

    def forward(self, z: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """The features of each sequence, (batch, (width + 1) · targets).

        z: (batch, time, width). target: (batch, time, targets). valid: bool (batch, time), contiguous in each row and
        at least two.
        """
        pairs = (valid[:, 1:] & valid[:, :-1])[:, :, None]
        count = pairs.sum(1, keepdim=True)
        before, z_mean = _centred(z[:, :-1], pairs, count)
        after, target_mean = _centred(target[:, 1:], pairs, count)
        ridge = self._penalty * torch.eye(z.shape[2], dtype=torch.float64, device=z.device)
        turned = before.transpose(1, 2)
        slopes = self.solve(turned @ before + ridge, turned @ after)
        intercept = target_mean - z_mean @ slopes
        return torch.cat([slopes, intercept], 1).flatten(1).to(z.dtype)


def _centred(values: Tensor, pairs: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Values less their mean over the pairs, 0 elsewhere, float64 (batch, steps, n); and that mean (batch, 1, n)."""
    doubles = torch.where(pairs, values, values.new_zeros(())).double()
    mean = doubles.sum(1, keepdim=True) / count
    return torch.where(pairs, doubles - mean, doubles.new_zeros(())), mean
