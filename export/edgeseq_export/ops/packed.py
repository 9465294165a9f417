"""Packed sequences of somebody's network as padded rows with lengths, while it is traced."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class Padded(PackedSequence):
    """Rows that were to be packed: data (batch, time, …) and how many steps of each are valid, int64 (batch,).

    It passes for a packed sequence between the two functions and the recurrent layers, and nowhere else.
    """

    def __new__(cls, data: Tensor, lengths: Tensor) -> "Padded":
        """As a tuple of the data, the lengths, and no order: rows stay where they are."""
        return tuple.__new__(cls, (data, lengths, None, None))

    @property
    def lengths(self) -> Tensor:
        """Valid steps of each row, int64 (batch,)."""
        return self[1]


@contextmanager
def padded() -> Iterator[None]:
    """Inside, `pack_padded_sequence` keeps rows padded, and `pad_packed_sequence` gives them back, in every module."""
    exchanged = {id(pack_padded_sequence): _pack, id(pad_packed_sequence): _pad}
    places = [
        (space, name, value)
        for module in list(sys.modules.values())
        if isinstance(space := getattr(module, "__dict__", None), dict) and space is not globals()
        for name, value in list(space.items())
        if id(value) in exchanged
    ]
    try:
        for space, name, value in places:
            space[name] = exchanged[id(value)]
        yield
    finally:
        for space, name, value in places:
            space[name] = value


def _pack(input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True) -> Padded:
    """As torch's, whose name for the rows is `input`; time stays as long as it is."""
    return Padded(input if batch_first else input.transpose(0, 1), torch.as_tensor(lengths).to(torch.int64))


def _pad(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """As torch's; time stays as long as it was, where torch cuts it to the longest row."""
    if not isinstance(sequence, Padded):
        raise TypeError("a packed sequence was put together by hand; pack_padded_sequence is what can be exported")
    data, lengths = sequence.data, sequence.lengths
    valid = torch.arange(data.shape[1], device=data.device)[None] < lengths[:, None]
    valid = valid.reshape(*valid.shape, *(1,) * (data.dim() - 2))
    data = torch.where(valid, data, torch.full((), padding_value, dtype=data.dtype))
    return data if batch_first else data.transpose(0, 1), lengths
