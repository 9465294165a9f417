"""Sessions: how a file's bytes become something that runs, and what the session itself says of the file."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from edgeseq_runtime._ort import ORT_ERRORS
from edgeseq_runtime._ort import onnxruntime as ort
from edgeseq_runtime._ort.assignment import assignment, places, record
from edgeseq_runtime._ort.memory import Bound, DeviceMemory, HostMemory, Memory
from edgeseq_runtime._ort.refusal import refusal
from edgeseq_runtime.capture import CPU, CUDA, OPTION, Assignment, Capture, decide
from edgeseq_runtime.errors import ContractError, DamagedFileError, EdgeseqError, InputError, ProviderError, UsageError
from edgeseq_runtime.signature import Axis, Signature, Tensor
from edgeseq_runtime.wire import half_recurrent

Array = NDArray[Any]

RUN_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, RuntimeError, ValueError)
"""What opening or running may raise; bound runs tell everything as a RuntimeError."""

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
}


def available_providers() -> tuple[str, ...]:
    """The execution providers this onnxruntime was built with, best first."""
    return tuple(ort.get_available_providers())


def onnxruntime_version() -> str:
    """The version of the onnxruntime that is imported."""
    return str(ort.__version__)


def onnxruntime_build() -> str | None:
    """What onnxruntime says of how it was built, None where it is too old to say."""
    return str(ort.get_build_info()) if hasattr(ort, "get_build_info") else None


class Session:
    """One onnxruntime session on one provider.

    Args:
        content: the bytes of the ONNX file.
        name: what to call the file in messages.
        providers: onnxruntime's names, each with its options; the CPU provider last.
        threads: threads inside one operator. No spinning: an idle model costs no processor time.
        folder: where the files lie in which an ONNX file of another program may keep its weights.
        graphs: whether its runs may be captured as CUDA graphs, where nothing would freeze.

    Raises:
        DamagedFileError: onnxruntime cannot read the bytes.
        UnsupportedFileError: the file needs what this onnxruntime has not.
        ProviderError: the first provider did not come up.
    """

    def __init__(
        self,
        content: bytes,
        name: str,
        providers: Sequence[tuple[str, Mapping[str, Any]]],
        threads: int,
        folder: str | None = None,
        graphs: bool = False,
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors come as exceptions; the log would repeat them on stderr
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        self._name = name
        self._device = int(providers[0][1].get("device_id", 0))
        self._to_capture = (content, name, providers, threads, folder) if graphs else None
        left_out: tuple[str, ...] = ()
        if half_recurrent(content, name):
            from edgeseq_runtime._ort.trial import optimisers_to_leave_out  # few files need it

            left_out = optimisers_to_leave_out(content, name, folder)
        if providers[0][0] != CPU:
            record(options)
        try:
            self._session = ort.InferenceSession(
                content,
                options,
                providers=[(n, dict(o)) for n, o in providers],
                disabled_optimizers=list(left_out) or None,
                enable_fallback=0,
            )  # a fallback would be told on stdout; here a provider that was asked for runs, or the load fails
            self._session._model_bytes = None  # kept for a fallback, of which there is none
            meta = self._session.get_modelmeta()
            self.metadata: Mapping[str, str] = dict(meta.custom_metadata_map)
            self.producer = str(meta.producer_name)
        except RUN_ERRORS as error:
            if len(providers) > 1 and _opens(content, options, providers[1:], left_out):
                raise ProviderError(f"{providers[0][0]} was asked for, but does not open '{name}': {error}") from error
            raise refusal(name, ort.__version__, error) from error
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        wanted = providers[0][0]
        if wanted not in self.providers:
            raise ProviderError(
                f"{wanted} was asked for, but onnxruntime fell back to {', '.join(self.providers)}. Its libraries are "
                "missing here: `edgeseq doctor` says which"
            )
        self.run = self._session.run
        """run(output names, inputs by name) -> arrays in that order, by onnxruntime itself."""

    def run_checked(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """`run`, with what onnxruntime refuses told as an InputError."""
        try:
            outputs: list[Array] = self.run(names, feeds)
        except RUN_ERRORS as error:
            raise refused(error, "the inputs") from error
        return outputs

    def bind(
        self,
        memory: Memory,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        changing: Collection[str] = (),
        kept: Mapping[str, str] | None = None,
    ) -> Bound:
        """Bind arrays as the inputs and outputs of repeated runs, see `Memory.bind`. Raises InputError."""
        try:
            return memory.bind(inputs, outputs, changing, kept or {})
        except EdgeseqError:
            raise
        except RUN_ERRORS as error:
            raise refused(error, "the buffers") from error

    def assignment(self) -> Assignment | None:
        """Which provider runs which nodes; None on the CPU alone, and where onnxruntime (before 1.24) does not tell."""
        return assignment(self._session)

    def capture(self, lengths: Collection[str], changing: Collection[str]) -> Capture:
        """Whether runs at one shape may be captured as CUDA graphs.

        lengths: the inputs that are such; changing: those that change from run to run.
        """
        if self.providers[0] != CUDA:
            return decide(self.providers[0], lengths, None, {})
        if self._to_capture is None:
            return Capture(False, "CUDA graphs were not asked for; load(..., provider=cuda(graphs=True)) does")
        told = places(self._session)
        return decide(CUDA, lengths, self.assignment(), {name: told.get(name) for name in changing})

    def memory(self, lengths: Collection[str], changing: Collection[str]) -> Memory:
        """Where the buffers of repeated runs live: on the host for the CPU, on the device for CUDA.

        Where runs can be captured, these have a session of their own: its graphs end with its buffers.
        """
        capture = self.capture(lengths, changing)
        if self.providers[0] != CUDA:
            return HostMemory(self._session, capture)
        plain = DeviceMemory(self._session, ("cuda", self._device), capture)
        if self._to_capture is None or not capture.used:
            return plain
        content, name, ((first, options), *others), threads, folder = self._to_capture
        try:
            captured = Session(content, name, [(first, {**options, OPTION: 1}), *others], threads, folder)
        except EdgeseqError as error:
            return plain.uncaptured(f"onnxruntime refused to capture: {error}")
        return DeviceMemory(captured._session, plain.device, capture, self._session)

    def check_signature(self, signature: Signature, layout: Mapping[str, tuple[Axis, ...]] | None = None) -> None:
        """Raise ContractError where a contract's names, types or ranks are not those of the graph.

        layout: the axes of those tensors that the graph lays out otherwise than the signature, by name.
        """
        laid = layout or {}
        declared = self.signature()
        optional = {node.name for node in self._session.get_overridable_initializers()}
        for what, given, expected in (
            ("input", (*signature.inputs, *(s.input_tensor for s in signature.states)), declared.inputs),
            ("output", (*signature.outputs, *(s.output_tensor for s in signature.states)), declared.outputs),
        ):
            here = {t.name: (t.dtype, len(laid.get(t.name, t.axes))) for t in given if t.name not in optional}
            there = {t.name: (t.dtype, len(t.axes)) for t in expected}
            if different := sorted(set(here.items()) ^ set(there.items())):
                raise ContractError(f"the contract and the graph do not agree on {what} '{different[0][0]}'")

    def signature(self) -> Signature:
        """What the session declares of a file that carries no contract: types and axes, no states."""
        try:
            return Signature(
                inputs=tuple(_tensor(node) for node in self._session.get_inputs()),
                outputs=tuple(_tensor(node) for node in self._session.get_outputs()),
            )
        except UnicodeDecodeError as error:
            raise DamagedFileError(f"'{self._name}' is damaged: a name in it is no text ({error})") from error


def _opens(
    content: bytes, options: Any, providers: Sequence[tuple[str, Mapping[str, Any]]], left_out: Sequence[str]
) -> bool:
    """Whether other providers take the file, so that it is not the file's fault that the first does not."""
    listed = [(name, dict(own)) for name, own in providers]
    try:
        ort.InferenceSession(
            content, options, providers=listed, disabled_optimizers=list(left_out) or None, enable_fallback=0
        )
    except RUN_ERRORS:
        return False
    return True


def refused(error: Exception, what: str) -> InputError:
    """What onnxruntime raised of what it was given, as an InputError."""
    signs = ("out of memory", "Failed to allocate memory", "bad_alloc", "AllocateRawInternal")
    if any(sign in str(error) for sign in signs):
        told = "out of memory; take fewer rows or steps at a time. onnxruntime had no room for"
    else:
        told = "onnxruntime refused"
    return InputError(f"{told} {what}: {error}")


def _tensor(node: Any) -> Tensor:
    axes: list[Axis] = [
        size if isinstance(size, int) else (size or f"{node.name}.{position}")
        for position, size in enumerate(node.shape)
    ]
    if node.type not in _DTYPES:
        raise UsageError(f"'{node.name}' is a {node.type}, which this runtime does not handle")
    return Tensor(node.name, _DTYPES[node.type], tuple(axes))
