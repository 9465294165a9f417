"""Export and proof: a PyTorch network in, an ONNX file out, equal at every length and in streaming.

>>> from edgeseq_export import export, verify
>>> report = export(source, "lstm.onnx")     # source: edgeseq.opening.open_source("lstm.pt")
>>> report.passed
True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeseq_export.grid import Grid
    from edgeseq_export.ops import recur
    from edgeseq_export.pipeline import DEFAULT_OPSET, FORMS, convert, export
    from edgeseq_export.proof import verify
    from edgeseq_export.source import Progress, Source

__all__ = ["DEFAULT_OPSET", "FORMS", "Grid", "Progress", "Source", "convert", "export", "recur", "verify"]

_MODULES = {
    "DEFAULT_OPSET": "pipeline",
    "FORMS": "pipeline",
    "Grid": "grid",
    "Progress": "source",
    "Source": "source",
    "convert": "pipeline",
    "export": "pipeline",
    "recur": "ops",
    "verify": "proof",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: every run of pytest loads this package's plugin (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'edgeseq_export' has no attribute '{name}'")
    value = getattr(import_module(f"edgeseq_export.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
