"""The only place where onnxruntime is touched."""

from edgeseq_runtime.errors import MissingPackageError

try:
    import onnxruntime
except ModuleNotFoundError as error:
    if error.name != "onnxruntime":
        raise
    raise MissingPackageError(
        "onnxruntime is not installed. Install it with: pip install 'edgeseq-runtime[cpu]' (or [gpu], not both)"
    ) from error

__all__ = ["onnxruntime"]
