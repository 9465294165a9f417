"""A part of a network that is written to ONNX otherwise than torch computes it."""

from torch import nn


class Layer(nn.Module):
    """Base of what is exchanged on a copy of the network before it is traced (see swap.exchanged)."""

    def stepped(self) -> nn.Module:
        """The same call and answer, its recurrence a step that `recur` repeats: for loops, and for copies."""
        raise NotImplementedError

    def native(self) -> nn.Module | None:
        """The same call and answer as an operator of ONNX; None where it has none."""
        return None
