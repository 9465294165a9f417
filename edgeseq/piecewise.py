"""A sequence too long for memory: read, run and written piece by piece, with the states carried."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgeseq_runtime.errors import InputError
from numpy.typing import NDArray

from edgeseq.files.growing import Growing
from edgeseq.files.hops import hop_of
from edgeseq.files.pieces import Together

if TYPE_CHECKING:
    from edgeseq_runtime import Model
    from edgeseq_runtime.stream import Stream

Array = NDArray[Any]
Told = Callable[[int, int | None, str], None]


def run_pieces(model: "Model", pieces: Together, sink: Growing, *, chunk: int, told: Told) -> int:
    """Run one sequence to its end; what is written is as if it had been run whole.

    Args:
        model: a streamable model.
        pieces: the sequence. sink: takes the answers; `sink.steps` says how far it came, also after an error.
        chunk: steps of a piece; of a model with a hop, so many hops.
        told: is called with the steps done and those there are, as far as that is known.

    Returns: how many samples at the end are no whole hop, and are left out.

    Raises:
        StreamError: the model cannot be streamed.
        InputError: a step that cannot be used; those before it are answered.
    """
    stream, hop = model.stream(), hop_of(model)
    size = chunk * hop
    while True:
        arrays = pieces.read(size)
        count: int = min(array.shape[1] for array in arrays.values())
        whole = count - count % hop
        if whole:
            first = sink.steps
            try:
                sink.add(stream.run(_hops_of(arrays, 0, whole, hop)), whole)
            except InputError as error:
                if model.layout is None:  # a file of another make may refuse a step alone for its size
                    for start in range(0, whole, hop):
                        _answer_one(stream, _hops_of(arrays, start, start + hop, hop), sink, hop)
                raise InputError(f"steps {first} to {first + whole - 1}: {error}") from error
            told(sink.steps, pieces.total(), "running")
        if whole < size:
            pieces.read(1)  # raises where it was not the end that came, but a step that cannot be used
            if not sink.steps:
                raise InputError(f"there are {count} steps, but {model.name} takes at least {hop}; give more steps")
            return count - whole


def _answer_one(stream: "Stream", arrays: dict[str, Array], sink: Growing, hop: int) -> None:
    """One hop of a piece that was refused: the hops before the one to blame are answered."""
    try:
        outputs = stream.run(arrays)
    except InputError as error:
        raise InputError(f"step {sink.steps}: {error}") from error
    sink.add(outputs, hop)


def _hops_of(arrays: Mapping[str, Array], start: int, end: int, hop: int) -> dict[str, Array]:
    return {name: _in_hops(array[:, start:end], hop) for name, array in arrays.items()}


def _in_hops(array: Array, hop: int) -> Array:
    """(1, steps, …) as (1, hops, hop, …), where the model takes hops."""
    return array if hop == 1 else array.reshape(1, -1, hop, *array.shape[2:])
