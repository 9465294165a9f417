"""The only place where onnxruntime is touched."""

from edgeseq_runtime.errors import MissingPackageError

try:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state
except ImportError as error:
    problem = "is not installed" if error.name == "onnxruntime" else f"is installed but broken ({error})"
    raise MissingPackageError(
        f"onnxruntime {problem}. Uninstall what there is of onnxruntime and onnxruntime-gpu, then: "
        "pip install 'edgeseq-runtime[cpu]' (or [gpu], not both)"
    ) from error

ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    value
    for value in vars(onnxruntime_pybind11_state).values()
    if isinstance(value, type) and issubclass(value, Exception)
)

__all__ = ["ORT_ERRORS", "onnxruntime", "onnxruntime_pybind11_state"]
