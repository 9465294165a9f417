"""The decoding of a sequence-to-sequence network as a step that is repeated, in the graph and in PyTorch."""

import copy
from collections.abc import Sequence

from edgeseq_export.ops import Layer, RecurrentLayer
from edgeseq_export.ops.decoding import Limits, beam_search, decode, decode_values, decode_values_to_end
from torch import Tensor, nn

from edgeseq.nn.decoder import DecoderStep, Output, States
from edgeseq.nn.seq2seq_config import END, START, Seq2SeqConfig


class Decoding(Layer):
    """What a decoder says, step by step. It has no weights of its own: what it repeats is made of the network's."""

    def __init__(
        self, embedding: nn.Embedding | None, layers: Sequence[RecurrentLayer], output: Output, config: Seq2SeqConfig
    ) -> None:
        super().__init__()
        self._parts = (embedding, tuple(layers), output)  # in a tuple: a module has each weight under one name
        self._config = config

    def forward(
        self, states: States, fixed: States, start: Tensor | None, chance: Sequence[Tensor] | None, exponent: Tensor
    ) -> dict[str, Tensor]:
        """As Repeated; made anew at each call, of the weights of the moment."""
        found: dict[str, Tensor] = Repeated(DecoderStep(*self._parts), self._config)(
            states, fixed, start, chance, exponent
        )
        return found

    def stepped(self) -> nn.Module:
        """As a step that is repeated."""
        embedding, layers, output = self._parts  # the tracer loses its way where one module stands in two places
        return Repeated(DecoderStep(embedding, layers, copy.deepcopy(output)), self._config)


class Repeated(nn.Module):
    """The repeated step."""

    def __init__(self, step: DecoderStep, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.step = step
        self._config = config

    def forward(
        self, states: States, fixed: States, start: Tensor | None, chance: Sequence[Tensor] | None, exponent: Tensor
    ) -> dict[str, Tensor]:
        """`generated`, `scores` and in PyTorch `generated_margin` (see Seq2Seq).

        Of values `values`, standardised; with a learned stop also `answer_length` and its margin.

        states: (batch, hidden_size) each. fixed: keys, memory and bias, where there is attention. start: what a decoder
        of values reads first, (batch, outputs). chance: noise, temperature and top_k, where symbols are drawn.
        exponent: () of the length penalty.
        """
        config = self._config
        if start is not None and config.learns_stop:
            ended = decode_values_to_end(self.step, start, states, fixed, config.max_length)
            margins = {} if ended.margins is None else {"answer_length_margin": ended.margins}
            return {"values": ended.values, "answer_length": ended.lengths, **margins}
        if start is not None:
            return {"values": decode_values(self.step, start, states, fixed, config.max_length)}
        limits = Limits(START, END, config.max_length)
        if config.decode == "beam":
            found = beam_search(self.step, states, fixed, limits, config.beam_width, config.n_best, exponent)
        else:
            found = decode(self.step, states, fixed, limits, chance)
        margins = {} if found.margins is None else {"generated_margin": found.margins}
        return {"generated": found.symbols, "scores": found.scores, **margins}
