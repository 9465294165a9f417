"""Whether a network answers a sequence in pieces, its states carried on, as it answers the whole: by trying."""

from collections.abc import Mapping

import torch
from edgeseq_runtime.draw import draw_inputs, draw_states
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature
from torch import Tensor

from edgeseq_export.source import Source

PIECES = (3, 1, 4, 122)
"""Steps of each piece of the sequence that is tried."""

_ROWS = 3

_CLOSE = 1e-4
"""Relative to an output's root mean square: far more than rounding, far less than a state that was lost."""


def why_not_streamed(source: Source) -> str | None:
    """The reason why a network cannot be streamed, for users; None where it can."""
    signature = source.signature
    if not signature.states:
        return "it carries no state from one call to the next"
    for tensor in signature.inputs:
        if tensor.of is None and tensor.axes[:2] != (BATCH, TIME):
            return f"its input '{tensor.name}' is not one a step"
    for tensor in signature.outputs:
        if tensor.axes[:2] != (BATCH, TIME) and any(isinstance(axis, str) and axis != BATCH for axis in tensor.axes):
            return f"its output '{tensor.name}' is neither one a step nor one for the whole"
    limit = signature.limits.get(TIME, Limit())
    if limit.min > 1:
        return f"it takes at least {limit.min} steps at a time"
    if limit.max is not None and limit.max < sum(PIECES):
        return f"it takes at most {limit.max} steps"
    whole, pieces = _whole(source), _in_pieces(source)
    different = [name for name, tensor in whole.items() if not close(tensor, pieces[name])]
    if different:
        return f"in pieces its output '{different[0]}' differs from that to the whole"
    if moved := _moved_by_rows(source):
        return f"its '{moved}' depends on the order of the rows, as where it sorts them by their lengths"
    return None


def _moved_by_rows(source: Source) -> str | None:
    """An output or next state whose rows do not go along when those of the inputs and states change places."""
    signature = source.signature
    order = torch.arange(_ROWS).roll(1)
    sizes = {**{name: signature.typical.get(name, 2) for name in signature.symbols}, BATCH: _ROWS, TIME: 9}
    drawn = {**draw_inputs(signature, sizes, 5, ragged=True), **draw_states(signature, sizes, 6)}
    given = {name: torch.from_numpy(array) for name, array in drawn.items()}
    places = {s.input: s.batch_axis for s in signature.states} | {s.output: s.batch_axis for s in signature.states}
    turned = {name: tensor.index_select(places.get(name, 0), order) for name, tensor in given.items()}
    one, other = _answer(source, given), _answer(source, turned)
    wrong = (name for name, t in one.items() if not close(t.index_select(places.get(name, 0), order), other[name]))
    return next(wrong, None)


def _whole(source: Source) -> dict[str, Tensor]:
    return _answer(source, _inputs(source.signature))  # a forward may write into what it is given: drawn anew


def _in_pieces(source: Source) -> dict[str, Tensor]:
    signature, inputs = source.signature, _inputs(source.signature)
    states: dict[str, Tensor] = {}
    found: dict[str, list[Tensor]] = {}
    start = 0
    for steps in PIECES:
        part = {t.name: inputs[t.name][:, start : start + steps] for t in signature.inputs if t.of is None}
        part |= {t.name: torch.full_like(inputs[t.name], steps) for t in signature.inputs if t.of is not None}
        answer = _answer(source, {**part, **states})
        states = {s.input: answer[s.output] for s in signature.states}
        for name, tensor in answer.items():
            found.setdefault(name, []).append(tensor)
        start += steps
    stepwise = {t.name for t in signature.outputs if t.axes[:2] == (BATCH, TIME)}
    return {name: torch.cat(parts, 1) if name in stepwise else parts[-1] for name, parts in found.items()}


def _inputs(signature: Signature) -> dict[str, Tensor]:
    sizes = {**{name: signature.typical.get(name, 2) for name in signature.symbols}, BATCH: 2, TIME: sum(PIECES)}
    return {name: torch.from_numpy(array) for name, array in draw_inputs(signature, sizes, 3).items()}


def _answer(source: Source, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    with torch.no_grad():
        answer: dict[str, Tensor] = source.module(**{name: tensor.clone() for name, tensor in inputs.items()})
    return answer


def close(one: Tensor, other: Tensor) -> bool:
    """Whether two answers are one, but for rounding."""
    if one.shape != other.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    return bool((one - other).abs().max() <= _CLOSE * max(float(one.square().mean().sqrt()), 1e-6))
