"""What a denoising autoencoder is shown in place of an example (Vincent et al. 2008; 2010, section 3.3)."""

import torch
from torch import Tensor


def corrupted(
    x: Tensor, kind: str, level: float, generator: torch.Generator | None = None, lengths: Tensor | None = None
) -> Tensor:
    """An example with noise of the deviation `level`, or with that share of its entries set to 0, or to an extreme.

    x: float32 (batch, …). kind: gaussian, masking or salt-and-pepper (each entry the batch's smallest or largest value,
    as a coin falls); none leaves x as it is. lengths: int64 (batch,), of sequences whose padding is no value.
    """
    if kind == "none":
        return x
    if kind == "gaussian":
        return x + level * torch.randn(x.shape, generator=generator, device=x.device)
    chosen = torch.rand(x.shape, generator=generator, device=x.device) < level
    if kind == "masking":
        return torch.where(chosen, 0.0, x)
    heads = torch.rand(x.shape, generator=generator, device=x.device) < 0.5
    known = x if lengths is None else x[torch.arange(x.shape[1], device=x.device) < lengths[:, None]]
    return torch.where(chosen, torch.where(heads, known.max(), known.min()), x)
