"""Where the buffers of repeated runs live: on the host, or on the device that runs the session."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from threading import current_thread
from typing import Any, Protocol

from numpy.typing import NDArray

from edgeseq_runtime._ort import onnxruntime as ort
from edgeseq_runtime._ort.assignment import places
from edgeseq_runtime.capture import CPU, Capture
from edgeseq_runtime.errors import StreamError

Array = NDArray[Any]
Arrays = Mapping[str, Array]


class Bound(Protocol):
    """Bound buffers, which live as long as this does."""

    @property
    def run(self) -> Callable[[], None]:
        """Read the bound inputs, write the bound outputs."""
        ...


class Memory:
    """Where buffers live. A caller always has host arrays; an array that is given to several bindings is one buffer.

    capture: whether runs are replayed as captured CUDA graphs, and why.
    """

    def __init__(self, session: Any, capture: Capture) -> None:
        self._session, self.capture = session, capture

    def uncaptured(self, reason: str) -> "Memory":
        """The same without captured graphs, and why."""
        raise NotImplementedError

    def bind(self, inputs: Arrays, outputs: Arrays, changing: Collection[str], kept: Mapping[str, str]) -> Bound:
        """Bind arrays as the inputs and outputs of repeated runs.

        Args:
            changing: the inputs whose arrays are read anew in every run.
            kept: inputs by outputs: the states, which stay where they are. Other inputs are read once, here, or in
                every run.
        """
        raise NotImplementedError

    def fetch(self, arrays: Iterable[Array]) -> None:
        """Bring what is kept elsewhere into the host arrays."""

    def store(self, arrays: Iterable[Array]) -> None:
        """Put the host arrays where they are kept."""


class HostMemory(Memory):
    """Host arrays, read and written where they lie. On the CPU a run creates no array and looks up no name.

    Another provider copies a bound input when it is bound and not when it is run, so there each run copies.
    """

    def bind(self, inputs: Arrays, outputs: Arrays, changing: Collection[str], kept: Mapping[str, str]) -> Bound:
        """As `Memory.bind`."""
        if self._session.get_providers()[0] == CPU:
            return _HostBound(self._session, inputs, outputs)
        return _CopyingBound(self._session, inputs, outputs)


class DeviceMemory(Memory):
    """Values on a device at fixed addresses, with host arrays beside them.

    A run copies what changes to the device and the outputs back; states stay. With captured graphs each binding is
    one graph, so the two directions of a stream's states are two.

    Args:
        device: as onnxruntime names it in an OrtValue, "cuda" or in tests "cpu", and its number.
        capture: whether the session captures CUDA graphs; plain: one that does not, where it does.
        read: on which device each input is read, where onnxruntime is not to be asked.
    """

    def __init__(
        self,
        session: Any,
        device: tuple[str, int],
        capture: Capture,
        plain: Any = None,
        read: Mapping[str, str | None] | None = None,
    ) -> None:
        super().__init__(session, capture)
        self.device, self._plain = device, plain or session
        self._places = places(session) if read is None else read
        self._values: dict[int, tuple[Any, Array]] = {}
        self._bound = 0

    def uncaptured(self, reason: str) -> Memory:
        """As `Memory.uncaptured`."""
        return DeviceMemory(self._plain, self.device, Capture(False, reason))

    def bind(self, inputs: Arrays, outputs: Arrays, changing: Collection[str], kept: Mapping[str, str]) -> Bound:
        """As `Memory.bind`. An input that is read on the host lies there; one whose place is not told is bound anew."""
        binding = self._session.io_binding()
        bound = _DeviceBound(self._session, binding, *self._next_options())
        for name, array in inputs.items():
            if name not in changing and name not in kept.values():
                binding.bind_cpu_input(name, array)  # copied now, to where the graph reads it
                bound.fixed.append(array)
                continue
            value = self._value(array, self._places.get(name))
            binding.bind_ortvalue_input(name, value)
            if name in changing:
                bound.uploads.append((value.update_inplace, array))
            if self._places.get(name) is None:
                bound.unplaced.append((name, value))
        for name, array in outputs.items():
            value = self._value(array, self._places.get(kept[name]) if name in kept else None)
            binding.bind_ortvalue_output(name, value)
            if name not in kept:
                bound.downloads.append((array, value.numpy))
        return bound

    def fetch(self, arrays: Iterable[Array]) -> None:
        """As `Memory.fetch`."""
        for array in arrays:
            value, host = self._values[_address(array)]
            host[...] = value.numpy()

    def store(self, arrays: Iterable[Array]) -> None:
        """As `Memory.store`."""
        for array in arrays:
            value, host = self._values[_address(array)]
            value.update_inplace(host)

    def _value(self, array: Array, place: str | None) -> Any:
        """The device's value of an array, made and filled when it is first asked for."""
        known, host = self._values.get(_address(array), (None, array))
        if known is None:
            device, number = ("cpu", 0) if place == "cpu" else self.device
            known = ort.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype.type, device, number)
            known.update_inplace(array)
            self._values[_address(array)] = (known, array)
        elif host.shape != array.shape:
            raise StreamError(
                f"a state goes in as {array.shape} and comes out as {host.shape}, which a device cannot hold as one "
                "buffer; load the file with provider='cpu'"
            )
        return known

    def _next_options(self) -> tuple[Any, Any]:
        """For the runs of the next binding: captured, and ordinary."""
        self._bound += 1
        options = ort.RunOptions(), ort.RunOptions()
        if self.capture.used:
            for option, number in zip(options, (self._bound, -1), strict=True):
                option.add_run_config_entry("gpu_graph_id", str(number))
        return options


class _HostBound:
    """Arrays bound where they lie."""

    def __init__(self, session: Any, inputs: Arrays, outputs: Arrays) -> None:
        self._buffers = (dict(inputs), dict(outputs))  # onnxruntime keeps addresses only
        self._binding = session.io_binding()
        for name, array in inputs.items():
            self._binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            self._binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self.run = _bound_run(session, self._binding)


class _CopyingBound:
    """Arrays that are given to and taken from ordinary runs."""

    def __init__(self, session: Any, inputs: Arrays, outputs: Arrays) -> None:
        self._session, self._inputs, self._outputs = session, dict(inputs), dict(outputs)

    def run(self) -> None:
        """As `Bound.run`."""
        answers = self._session.run(list(self._outputs), self._inputs)
        for array, value in zip(self._outputs.values(), answers, strict=True):
            array[...] = value


class _DeviceBound:
    """Values on a device, bound once.

    onnxruntime keeps a captured graph for the thread that captured it; in another thread the runs are ordinary ones.
    """

    def __init__(self, session: Any, binding: Any, options: Any, ordinary: Any) -> None:
        self._session, self._binding, self._options, self._ordinary = session, binding, options, ordinary
        self._thread = current_thread()
        self.uploads: list[tuple[Callable[[Array], None], Array]] = []
        self.downloads: list[tuple[Array, Callable[[], Array]]] = []
        self.unplaced: list[tuple[str, Any]] = []
        self.fixed: list[Array] = []

    def run(self) -> None:
        """As `Bound.run`. What is bound elsewhere than it is read is copied there once, so it has to be bound anew."""
        for upload, array in self.uploads:
            upload(array)
        for name, value in self.unplaced:
            self._binding.bind_ortvalue_input(name, value)
        options = self._options if current_thread() is self._thread else self._ordinary
        self._session.run_with_iobinding(self._binding, options)
        for array, download in self.downloads:
            array[...] = download()


def _bound_run(session: Any, binding: Any) -> Callable[[], None]:
    """run_with_iobinding without its per-call checks of ownership, which cost as much as two small operators.

    The buffers are bound once by the session that runs them, so there is nothing to check again. Where onnxruntime
    has no such inner call, its public one serves.
    """
    try:
        options = ort.RunOptions()  # None would make one in every run, which takes 0.8 µs
        return partial(session._sess.run_with_iobinding, binding._iobinding, options)
    except AttributeError:
        return partial(session.run_with_iobinding, binding)


def _address(array: Array) -> int:
    return int(array.ctypes.data)
