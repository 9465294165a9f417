"""Recurrences: what each means in torch, and what it becomes in ONNX, side by side."""

from edgeseq_export.ops.native import NativeLayer
from edgeseq_export.ops.recurrent import CELLS, Cell, RecurrentLayer

__all__ = ["CELLS", "Cell", "NativeLayer", "RecurrentLayer"]
