"""Run, stream, prove and time edgeseq's ONNX files on a device: numpy and onnxruntime, no PyTorch.

>>> model = load("lstm.onnx")
>>> outputs = model.run(x)                # whole sequences, x: float32 (batch, time, features)
>>> stream = model.stream()
>>> outputs = stream.step(frame)          # one step at a time, frame: float32 (features,)
"""

from edgeseq_runtime.compare import Comparison, ParityReport
from edgeseq_runtime.contract import Contract
from edgeseq_runtime.errors import EdgeseqError
from edgeseq_runtime.measure import Latency
from edgeseq_runtime.model import Model, load
from edgeseq_runtime.signature import Limit, Signature, StatePair, Tensor
from edgeseq_runtime.stream import State, Stream

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "Contract",
    "EdgeseqError",
    "Latency",
    "Limit",
    "Model",
    "ParityReport",
    "Signature",
    "State",
    "StatePair",
    "Stream",
    "Tensor",
    "load",
]
