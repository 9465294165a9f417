"""The largest entries, with one written rule for equal ones: the earlier entry comes first, in torch as in ONNX."""

import torch
from torch import Tensor


def largest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest entries of the last axis, the largest first, and their places; of equal ones the earlier.

    ONNX's TopK is defined so; torch.topk is not, where entries are equal, and then they are sorted instead.

    values: (…, n), n at least count. Returns: (…, count) and int64 (…, count).
    """
    if torch.onnx.is_in_onnx_export():
        found, places = torch.topk(values, count)
        return found, places
    size = values.shape[-1]
    found, places = torch.topk(values, min(count + 1, size))
    if bool((found[..., 1:] == found[..., :-1]).any()):
        found, places = torch.sort(values, dim=-1, descending=True, stable=True)
    return found[..., :count], places[..., :count]
