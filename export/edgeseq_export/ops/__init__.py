"""Recurrences: what each means in torch, and what it becomes in ONNX, side by side."""

from edgeseq_export.ops.layer import Layer
from edgeseq_export.ops.leaky import LeakyLayer
from edgeseq_export.ops.native import NativeLayer
from edgeseq_export.ops.recurrence import recur
from edgeseq_export.ops.recurrent import Cell, OperatorLayer, RecurrentLayer
from edgeseq_export.ops.reservoir import ReservoirLayer
from edgeseq_export.ops.solve import Solve
from edgeseq_export.ops.stepped import SteppedLayer

__all__ = [
    "Cell",
    "Layer",
    "LeakyLayer",
    "NativeLayer",
    "OperatorLayer",
    "RecurrentLayer",
    "ReservoirLayer",
    "Solve",
    "SteppedLayer",
    "recur",
]
