"""Systems of linear equations with a symmetric positive definite matrix, one for each row of a batch, in float64."""

import torch
from torch import Tensor, nn

from edgeseq_export.ops.layer import Layer
from edgeseq_export.ops.recurrence import recur

_MICROSOFT = "com.microsoft"


class Solve(Layer):
    """X in A X = B. torch factorises; ONNX has no such operator, so there it is written in one of two other ways."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """a: float64 (batch, n, n), symmetric and positive definite. b: (batch, n, m). Returns (batch, n, m)."""
        return torch.cholesky_solve(b, torch.linalg.cholesky(a))

    def stepped(self) -> nn.Module:
        """By elimination, in standard operators."""
        return Elimination()

    def native(self) -> nn.Module | None:
        """By onnxruntime's own operator Inverse."""
        return InverseSolve()


class Elimination(nn.Module):
    """The same by Gauss-Jordan elimination, a pivot a step; a positive definite matrix needs no exchange of rows.

    Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 14.4.
    """

    def __init__(self) -> None:
        super().__init__()
        self.step = PivotStep()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Shapes as in Solve."""
        size = a.shape[2]
        pivots = torch.eye(size, dtype=a.dtype, device=a.device)[:, None, :].expand(size, a.shape[0], size)
        (reduced,), _ = recur(self.step, (torch.cat([a, b], 2),), (pivots,))
        return reduced[:, :, size:]


class PivotStep(nn.Module):
    """One pivot: its row is divided by it, and every other row loses its share of that row."""

    def forward(self, rows: Tensor, pivot: Tensor) -> tuple[Tensor]:
        """rows: [A | B], (batch, n, n + m). pivot: (batch, n), 1 at the pivot's place, 0 elsewhere."""
        chosen = pivot[:, :, None]
        column = rows[:, :, : rows.shape[1]] @ chosen
        row = (pivot[:, None, :] @ rows) / (pivot[:, None, :] @ column)
        return (torch.where(chosen > 0, row, rows - column * row),)


class InverseSolve(nn.Module):
    """The same through onnxruntime's operator Inverse. Only for tracing: outside of it the answer holds no values."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Shapes as in Solve."""
        (inverse,) = torch.onnx.ops.symbolic_multi_out(
            f"{_MICROSOFT}::Inverse", [a], {}, dtypes=[a.dtype], shapes=[list(a.shape)], version=1
        )
        product: Tensor = inverse @ b
        return product
