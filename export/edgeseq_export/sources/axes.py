"""Which axes of an answer move with which of the inputs': found by calling a network at several sizes."""

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from edgeseq_runtime.errors import ExportError
from edgeseq_runtime.signature import BATCH, Axis, Limit

from edgeseq_export.sources.spec import batch_first

Shapes = Mapping[str, Sequence[int]]
"""The shape of each output, by name."""

MOST = 64
"""Up to so many steps are tried, one by one, as the least that a network takes."""

LONG = 64
"""So many steps are tried first."""

_FAR, _NEAR = 1024, (1, 2, 3, 5, 8, 13)
"""So much longer are sequences from which a stride is read. What takes twice _FAR is taken to take any number."""


@dataclass(frozen=True)
class Axes:
    """outputs: by name, its axes, that of the batch first. derived: by axis, what it follows from, as in a Signature.

    batches: by output, where its batch axis stands.
    """

    outputs: Mapping[str, tuple[Axis, ...]]
    derived: Mapping[str, tuple[str, int, int]]
    batches: Mapping[str, int]


def taken(names: Sequence[str], run: Callable[[Mapping[str, int]], object], name: str) -> dict[str, int]:
    """Sizes that a network takes, found among a few; all free axes but the batch's alike, LONG if that will do.

    names: the free axes, the batch's among them. run: calls the network at given sizes; raises where it takes them not.

    Raises:
        ExportError: no size was taken; with what the network said first.
    """
    refusals: list[Exception] = []
    for size in (LONG, 20, 32, 16, 10, 8, 4, 2, 1, 100, 256, 1024, 4096):
        sizes = {axis: 2 if axis == BATCH else size for axis in names}
        error = _refusal(run, sizes)
        if error is None:
            return sizes
        refusals.append(error)
    told = str(refusals[0]).strip().splitlines() or [type(refusals[0]).__name__]
    raise ExportError(
        f"{name} cannot be called with the inputs as they are said: {type(refusals[0]).__name__}: {told[0]}"
    )


def limits(sizes: Mapping[str, int], run: Callable[[Mapping[str, int]], object]) -> dict[str, Limit]:
    """The sizes that each free axis can have: the least, and the most where there is one.

    sizes: some that are taken. run: as in `taken`.

    Raises:
        ExportError: axes that are taken only where they are alike.
    """
    found: dict[str, Limit] = {}
    for axis in sizes:
        least = _least(run, sizes, axis)
        most = _most(run, sizes, axis)
        if (least, most) != (1, None):
            found[axis] = Limit(least, most)
    alike = [f"'{axis}'" for axis, limit in found.items() if limit.min == limit.max]
    if len(alike) > 1:
        raise ExportError(f"{' and '.join(alike)} are taken only where they are alike: give them one word")
    return found


def output_axes(
    names: Sequence[str],
    base: Mapping[str, int],
    limits: Mapping[str, Limit],
    run: Callable[[Mapping[str, int]], Shapes],
    states: Collection[str] = (),
) -> Axes:
    """The axes of every output.

    Args:
        names: the free axes. base: a size for each, no two alike. limits: of these sizes.
        run: the shapes of the outputs at given sizes.
        states: the outputs that are states, and keep their axes' order.

    Raises:
        ExportError: an output whose number of axes changes, or an axis that follows no rule that is known.
    """
    first = run(base)
    outputs: dict[str, list[Axis]] = {output: list(shape) for output, shape in first.items()}
    for axis in names:
        for sizes in _moved(axis, base, limits.get(axis, Limit())):
            for output, shape in run(sizes).items():
                _check_rank(output, first[output], shape, axis)
                for place, size in enumerate(shape):
                    if size != first[output][place]:
                        _check_alone(output, outputs[output][place], axis)
                        outputs[output][place] = axis
    for output, shape in run({**base, BATCH: 1}).items():
        _check_rank(output, first[output], shape, BATCH, "squeeze() without an axis does that, squeeze(-1) does not")
    derived: dict[str, tuple[str, int, int]] = {}
    for output, axes in outputs.items():
        for place, moved in enumerate(axes):
            if isinstance(moved, str) and first[output][place] != base[moved]:
                at = partial(_size, run, base, moved, output, place)
                rule = (moved, *_rule(moved, base[moved], limits.get(moved, Limit()).max, at, output))
                known = next((key for key, value in derived.items() if value == rule), f"{moved}_{len(derived) + 1}")
                derived[known], axes[place] = rule, known
    batches = {output: axes.index(BATCH) for output, axes in outputs.items() if BATCH in axes}
    ordered = {o: tuple(axes) if o in states else batch_first(axes) for o, axes in outputs.items()}
    return Axes(ordered, derived, batches)


def _moved(axis: str, base: Mapping[str, int], limit: Limit) -> list[dict[str, int]]:
    """Sizes of which one axis is another than before, by one and by many."""
    near = base[axis] + (1 if limit.max is None or limit.max > base[axis] else -1)
    far = near if axis == BATCH else limit.max or base[axis] + _FAR
    return [{**base, axis: near}, {**base, axis: far}]


def _size(
    run: Callable[[Mapping[str, int]], Shapes], base: Mapping[str, int], axis: str, output: str, place: int, size: int
) -> int:
    return run({**base, axis: size})[output][place]


def _rule(axis: str, start: int, most: int | None, at: Callable[[int], int], output: str) -> tuple[int, int]:
    """How a size follows from that of an axis: divisor and offset of ceil((size + offset) / divisor)."""
    end = most if most is not None else start + _FAR
    sizes = range(start, end + 1)
    value = at(start)
    first, second = (sizes[bisect_left(sizes, value + more, hi=len(sizes) - 1, key=at)] for more in (1, 2))
    divisor = max(second - first, 1)
    offset = value * divisor - first + 1
    found = {size: at(size) for size in (start, *(start + more for more in _NEAR if start + more <= end), end)}
    if any(-(-(size + offset) // divisor) != got for size, got in found.items()):
        told = ", ".join(f"{got} at {size}" for size, got in found.items())
        raise ExportError(f"an axis of '{output}' follows from '{axis}' by no rule that is known: it is {told}")
    return divisor, offset


def _check_rank(output: str, one: Sequence[int], other: Sequence[int], axis: str, why: str = "") -> None:
    if len(one) != len(other):
        raise ExportError(
            f"'{output}' has {len(one)} axes at one size of '{axis}' and {len(other)} at another"
            f"{f' ({why})' if why else ''}; a file has one number of axes"
        )


def _check_alone(output: str, known: Axis, axis: str) -> None:
    if isinstance(known, str) and known != axis:
        raise ExportError(
            f"an axis of '{output}' moves with '{known}' and with '{axis}': let forward return an axis for each, such "
            "as y.view(batch, time, -1) in place of y.view(-1)"
        )


def _refusal(run: Callable[[Mapping[str, int]], object], sizes: Mapping[str, int]) -> Exception | None:
    try:
        run(sizes)
    except Exception as error:  # noqa: BLE001  # whatever somebody's forward raises
        return error
    return None


def _least(run: Callable[[Mapping[str, int]], object], sizes: Mapping[str, int], axis: str) -> int:
    """The smallest size of an axis; beyond MOST, what takes a size is taken to take every larger one."""
    low, high = min(MOST, sizes[axis] - 1), sizes[axis]
    for size in range(1, low + 1):
        if _refusal(run, {**sizes, axis: size}) is None:
            return size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _refusal(run, {**sizes, axis: middle}) is not None else (low, middle)
    return high


def _most(run: Callable[[Mapping[str, int]], object], sizes: Mapping[str, int], axis: str) -> int | None:
    """The largest size of an axis, None where what is far longer is taken."""
    low, high = sizes[axis], sizes[axis] + 2 * _FAR
    if axis == BATCH or _refusal(run, {**sizes, axis: high}) is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _refusal(run, {**sizes, axis: middle}) is None else (low, middle)
    return low
