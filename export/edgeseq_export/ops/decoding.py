"""Decoding inside the graph: greedily, by sampling, by beam search, over any step that gives logits; and of values.

A step is called as step(symbol, *states, *fixed): the last symbol, int64 (rows,), the states (rows, …), and what every
step reads alike, (batch, …). It returns logits (rows, symbols) and the next states. By beam search rows are batch ·
hypotheses, those of one source below each other; else there is one for each.

PADDING fills a row behind its end. Neither it nor the start symbol is ever said.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeseq_export.ops.drawing import draw
from edgeseq_export.ops.largest import largest
from edgeseq_export.ops.recurrence import recur

PADDING = 0

CLEAR = 1.0
"""A choice that is clearer than this, in log probability, is as clear as any."""

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Limits:
    """Where decoding begins and ends: the symbols before the first and behind the last, and how many steps there are.

    length: of what is generated, the end symbol included; a row that has not ended by then has none.
    """

    start: int
    end: int
    length: int


@dataclass(frozen=True)
class Decoded:
    """What was generated.

    symbols: int64 (batch, length), or (batch, hypotheses, length), with the end symbol, then PADDING. scores: (batch,)
    or (batch, hypotheses): the log probability, by beam search divided by the length penalty.
    margins: (batch, choices), by how much each choice was clear, at most CLEAR; None while a graph is traced.
    """

    symbols: Tensor
    scores: Tensor
    margins: Tensor | None


def log_probabilities(logits: Tensor, limits: Limits) -> Tensor:
    """Of each symbol, in the logits' shape; −∞ for what is never said."""
    symbol = torch.arange(logits.shape[-1], device=logits.device)
    never = (symbol == PADDING) | (symbol == limits.start)
    # a constant that is added: onnxruntime is slow at choosing along a long axis
    return (logits + torch.where(never, -torch.inf, 0.0).to(logits.dtype)).log_softmax(-1)


class SymbolStep(nn.Module):
    """One symbol chosen for each row, and read by the step to know what may follow it.

    sampled: whether it is drawn rather than the likeliest. margins: whether it also says how clear the choice was.
    """

    def __init__(self, step: nn.Module, limits: Limits, states: int, sampled: bool, margins: bool) -> None:
        super().__init__()
        self.step = step
        self._limits, self._states, self._sampled, self._margins = limits, states, sampled, margins

    def forward(self, *tensors: Tensor) -> Tensors:
        """The next states; the symbol (batch, 1), and its margin (batch, 1) where asked for.

        tensors: the step's states; the last symbol int64, the score, and whether the row has ended, (batch, 1); where
        symbols are drawn the noise; what the step reads; where symbols are drawn temperature and top_k (batch, 1).
        """
        count = self._states
        states, (symbol, score, ended), read = tensors[:count], tensors[count : count + 3], tensors[count + 3 :]
        noise, read, chance = (read[0], read[1:-2], read[-2:]) if self._sampled else (None, read, ())
        logits, *following = self.step(symbol.squeeze(-1), *states, *read)
        known = log_probabilities(logits, self._limits)
        chosen, margin = draw(known, noise, *chance) if noise is not None else _likeliest(known)
        score = torch.where(ended, score, score + known.gather(-1, chosen))
        chosen = torch.where(ended, PADDING, chosen)
        said = (chosen, margin.clamp(max=CLEAR)) if self._margins else (chosen,)
        return *following, chosen, score, ended | (chosen == self._limits.end), *said


def _likeliest(known: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest symbol (batch, 1), of equals the first; and by how much it is likelier than the next."""
    best, _ = largest(known, 2)
    return known.argmax(-1, keepdim=True), best[:, :1] - best[:, 1:]


def decode(
    step: nn.Module,
    states: Tensors,
    fixed: Tensors,
    limits: Limits,
    chance: Sequence[Tensor] | None = None,
) -> Decoded:
    """The likeliest symbol at each step, or a drawn one; of equally likely ones that with the lower number.

    Args:
        states: (batch, …). fixed: see above.
        chance: None, or noise (batch, length), uniform in [0, 1), temperature () and top_k int64 (), see `draw`.
    """
    batch = states[0].shape[0]
    margins = not torch.onnx.is_in_onnx_export()
    first = torch.full((batch, 1), limits.start, dtype=torch.int64, device=states[0].device)
    carried = (*states, first, states[0].new_zeros(batch, 1), torch.zeros_like(first, dtype=torch.bool))
    inputs: Tensors = ()
    if chance is not None:
        noise, temperature, top_k = chance
        inputs = (noise.transpose(0, 1).unsqueeze(-1),)
        fixed = (*fixed, temperature.expand(batch, 1), top_k.expand(batch, 1))
    repeated = SymbolStep(step, limits, len(states), chance is not None, margins)
    after, said = recur(repeated, carried, inputs, fixed=fixed, count=0 if inputs else limits.length, stops=True)
    symbols, *margin = (each.squeeze(-1).transpose(0, 1) for each in said)
    score = after[len(states) + 1].squeeze(-1)
    return Decoded(symbols, score, torch.where(symbols == PADDING, CLEAR, margin[0]) if margins else None)


class BeamStep(nn.Module):
    """One symbol more for each of the `width` likeliest hypotheses of each row, the best first.

    A hypothesis that has ended stays as it is, and competes with those that go on. A row has ended when all its
    hypotheses have.
    """

    def __init__(self, step: nn.Module, limits: Limits, states: int, width: int, margins: bool) -> None:
        super().__init__()
        self.step = step
        self._limits, self._states, self._width, self._margins = limits, states, width, margins

    def forward(self, *tensors: Tensor) -> Tensors:
        """The next states; where asked for, by how much the last hypothesis kept is better than the first dropped.

        tensors: the step's states (batch, width, …); the last symbol int64, the log probability, how many symbols int64
        and whether it has ended, bool, of each hypothesis (batch, width); what was said int64 (batch, width, length);
        whether the row has ended, bool (batch, 1); which place this step fills, bool (batch, length); what the step
        reads (batch, …); the number of the row's first hypothesis, int64 (batch, 1); the exponent of the length penalty
        (batch, 1).
        """
        count = self._states
        states, own, (place, *read) = tensors[:count], tensors[count : count + 6], tensors[count + 6 :]
        symbol, score, length, ended, said, _ = own
        *read, first, exponent = read
        logits, *following = self.step(*(each.flatten(0, 1) for each in (symbol, *states)), *read)
        symbols = logits.shape[-1]
        known = self._extended(log_probabilities(logits, self._limits).reshape(-1, self._width, symbols), ended)
        total = score[:, :, None] + known
        length = length + (~ended).long()
        ranked = total / length_penalty(length, exponent)[:, :, None]
        best, chosen = largest(ranked.flatten(1), self._width + self._margins)
        chosen = chosen[:, : self._width]
        parent = torch.div(chosen, symbols, rounding_mode="trunc")
        symbol = chosen - parent * symbols
        origin = (first + parent).flatten()
        ended = ended.gather(1, parent) | (symbol == self._limits.end)
        before = said.flatten(0, 1).index_select(0, origin).reshape(said.shape)
        kept = (
            *(self._picked(each, origin) for each in following),
            symbol,
            total.flatten(1).gather(1, chosen),
            length.gather(1, parent),
            ended,
            torch.where(place[:, None], symbol[:, :, None], before),
            ended.all(1, keepdim=True),
        )
        margin = best[:, self._width - 1 : self._width] - best[:, self._width :]
        return (*kept, margin.clamp(max=CLEAR)) if self._margins else kept

    def _picked(self, state: Tensor, origin: Tensor) -> Tensor:
        """Of each hypothesis kept the state of the one it goes on from. state: (batch · width, …)."""
        return state.index_select(0, origin).reshape(-1, self._width, *state.shape[1:])

    def _extended(self, known: Tensor, ended: Tensor) -> Tensor:
        """What each symbol adds: a hypothesis that has ended goes on with PADDING alone, which is free."""
        padding = torch.arange(known.shape[-1], device=known.device) == PADDING
        free = torch.where(padding, 0.0, -torch.inf).to(known.dtype)
        return torch.where(ended[:, :, None], free, known)


def length_penalty(length: Tensor, exponent: Tensor) -> Tensor:
    """((5 + length) / 6) ^ exponent (Wu et al., "Google's Neural Machine Translation System", 2016, equation 14)."""
    return ((5 + length.to(exponent.dtype)) / 6) ** exponent


def beam_search(
    step: nn.Module, states: Tensors, fixed: Tensors, limits: Limits, width: int, best: int, exponent: Tensor
) -> Decoded:
    """The likeliest hypotheses: at each step the `width` best of all that could follow those of the step before.

    Of equally good ones that of the better hypothesis comes first, then that with the lower symbol.

    Args:
        states: (batch, …). fixed: see above. width: with more than symbols that can be said, some hypotheses are
            impossible at first, and have a score of −∞. best: how many of the
            hypotheses are given, at most width. exponent: (), of the length penalty; 0 for none.

    Raises:
        ValueError: best is not from 1 to width.
    """
    if not 1 <= best <= width:
        raise ValueError(f"best is {best}, but it must be from 1 to width, {width}")
    batch, device = states[0].shape[0], states[0].device
    margins = not torch.onnx.is_in_onnx_export()
    each = torch.arange(width, device=device).expand(batch, -1)
    none = torch.zeros_like(each)
    carried = (
        *(state[:, None].expand(-1, width, *state.shape[1:]) for state in states),
        none + limits.start,
        torch.where(each == 0, 0.0, -torch.inf).to(states[0].dtype),  # at the start there is one hypothesis
        none,
        none > 0,
        none[:, :, None].expand(-1, -1, limits.length),
        none[:, :1] > 0,
    )
    places = torch.eye(limits.length, dtype=torch.bool, device=device)[:, None].expand(-1, batch, -1)
    first = torch.arange(batch, device=device)[:, None] * width
    read = (*fixed, first, exponent.expand(batch, 1))
    repeated = BeamStep(step, limits, len(states), width, margins)
    after, clear = recur(repeated, carried, (places,), fixed=read, stops=True)
    _, score, length, _, symbols, _ = after[len(states) :]
    score = score / length_penalty(length, exponent)
    margin = None
    if margins:
        made = length.amax(1, keepdim=True) > torch.arange(limits.length, device=device)
        margin = torch.where(made, clear[0].squeeze(-1).transpose(0, 1), CLEAR)
        margin = torch.cat([margin, (score[:, :-1] - score[:, 1:])[:, :best].clamp(max=CLEAR)], 1)
        margin = margin.nan_to_num(CLEAR)  # of two hypotheses that cannot be
    return Decoded(symbols[:, :best], score[:, :best], margin)


@dataclass(frozen=True)
class DecodedValues:
    """What was generated of values.

    values: (batch, length, outputs), zero behind each row's end. lengths: int64 (batch,), from 1.
    margins: (batch, length), by how much each decision to stop or not was clear, at most CLEAR; None while a graph is
    traced.
    """

    values: Tensor
    lengths: Tensor
    margins: Tensor | None


class ValueStep(nn.Module):
    """One step of a decoder that gives values, and reads what it gave."""

    def __init__(self, step: nn.Module, states: int) -> None:
        super().__init__()
        self.step = step
        self._states = states

    def forward(self, *tensors: Tensor) -> Tensors:
        """The next states and values, and the values once more. tensors: states, the last values, what is read."""
        states, value, read = tensors[: self._states], tensors[self._states], tensors[self._states + 1 :]
        value, *following = self.step(value, *states, *read)
        return *following, value, value


class EndingStep(nn.Module):
    """One step of a decoder of values that says itself when they end. margins: whether it also says how clearly."""

    def __init__(self, step: nn.Module, states: int, margins: bool) -> None:
        super().__init__()
        self.step = step
        self._states, self._margins = states, margins

    def forward(self, *tensors: Tensor) -> Tensors:
        """The next states; the values (batch, outputs), and where asked for the margin (batch, 1).

        tensors: the step's states; the last values, how many there are, int64 (batch, 1), and whether the row has
        ended, bool (batch, 1); what the step reads.
        """
        count = self._states
        states, (value, length, ended), read = tensors[:count], tensors[count : count + 3], tensors[count + 3 :]
        given, *following = self.step(value, *states, *read)
        value, stop = torch.where(ended, 0.0, given[:, :-1]), given[:, -1:]
        length = length + (~ended).long()
        margin = (stop.abs().clamp(max=CLEAR),) if self._margins else ()
        return *following, value, length, ended | (stop > 0), value, *margin


def decode_values(step: nn.Module, start: Tensor, states: Tensors, fixed: Tensors, length: int) -> Tensor:
    """Values (batch, length, outputs), each read by the step that gives the next. start: (batch, outputs)."""
    _, (values,) = recur(ValueStep(step, len(states)), (*states, start), (), fixed=fixed, count=length)
    return values.transpose(0, 1)


def decode_values_to_end(step: nn.Module, start: Tensor, states: Tensors, fixed: Tensors, length: int) -> DecodedValues:
    """As `decode_values`, up to the first step that ends the row, itself included, or `length` where none does.

    The step gives beside its outputs a last column, which is above zero where the row ends.
    """
    margins = not torch.onnx.is_in_onnx_export()
    none = torch.zeros_like(start[:, :1], dtype=torch.int64)
    repeated = EndingStep(step, len(states), margins)
    after, said = recur(repeated, (*states, start, none, none > 0), (), fixed=fixed, count=length, stops=True)
    values, *margin = (each.transpose(0, 1) for each in said)
    lengths = after[-2]
    if not margins:
        return DecodedValues(values, lengths.squeeze(-1), None)
    made = torch.arange(length, device=start.device) < lengths
    return DecodedValues(values, lengths.squeeze(-1), torch.where(made, margin[0].squeeze(-1), CLEAR))
