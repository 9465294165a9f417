"""Run, stream, prove and time edgeseq's ONNX files on a device: numpy and onnxruntime, no PyTorch.

>>> model = load("lstm.onnx")
>>> outputs = model.run(x)                # whole sequences, x: float32 (batch, time, features)
>>> stream = model.stream()
>>> outputs = stream.step(frame)          # one step at a time, frame: float32 (features,)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeseq_runtime.compare import Comparison, ParityReport
    from edgeseq_runtime.contract import Contract
    from edgeseq_runtime.errors import EdgeseqError
    from edgeseq_runtime.measure import Latency
    from edgeseq_runtime.model import Model, load
    from edgeseq_runtime.signature import Limit, Signature, StatePair, Tensor
    from edgeseq_runtime.state import State
    from edgeseq_runtime.stream import Stream

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

_MODULES = {
    "Comparison": "compare",
    "Contract": "contract",
    "EdgeseqError": "errors",
    "Latency": "measure",
    "Limit": "signature",
    "Model": "model",
    "ParityReport": "compare",
    "Signature": "signature",
    "State": "state",
    "StatePair": "signature",
    "Stream": "stream",
    "Tensor": "signature",
    "load": "model",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: errors and `--help` need no onnxruntime (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'edgeseq_runtime' has no attribute '{name}'")
    value = getattr(import_module(f"edgeseq_runtime.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
