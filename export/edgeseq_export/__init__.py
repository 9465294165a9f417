"""Export and proof: a PyTorch network in, an ONNX file out, equal at every length and in streaming.

>>> from edgeseq_export import export, verify
>>> report = export(source, "lstm.onnx")     # source: edgeseq.opening.open_source("lstm.pt")
>>> report.passed
True
"""

from edgeseq_export.ops import recur
from edgeseq_export.pipeline import DEFAULT_OPSET, FORMS, convert, export
from edgeseq_export.source import Progress, Source
from edgeseq_export.verify import verify

__all__ = ["DEFAULT_OPSET", "FORMS", "Progress", "Source", "convert", "export", "recur", "verify"]
