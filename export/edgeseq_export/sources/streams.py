"""Whether a network answers a sequence in pieces, its states carried on, as it answers the whole: by trying."""

from collections.abc import Mapping

import torch
from edgeseq_runtime.draw import draw_inputs
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature
from torch import Tensor

from edgeseq_export.source import Source

PIECES = (3, 1, 4)
"""Steps of each piece of the sequence that is tried."""

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
    different = [name for name, tensor in whole.items() if not _close(tensor, pieces[name])]
    if different:
        return f"in pieces its output '{different[0]}' differs from that to the whole"
    return None


def _whole(source: Source) -> dict[str, Tensor]:
    return _answer(source, _inputs(source.signature))


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
        answer: dict[str, Tensor] = source.module(**inputs)
    return answer


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    return bool((one - other).abs().max() <= _CLOSE * max(float(one.square().mean().sqrt()), 1e-6))
