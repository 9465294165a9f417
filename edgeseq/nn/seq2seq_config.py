"""How a sequence-to-sequence network is built, and how it decodes."""

from dataclasses import dataclass
from typing import Literal

from edgeseq_runtime.errors import UsageError

from edgeseq.nn.attention import KINDS
from edgeseq.nn.network import check_choice, check_common, check_positive

SPECIAL = ("<pad>", "<s>", "</s>")
"""The symbols before those of the data: what fills a row behind its end, what a decoder starts from, and the end."""

PADDING, START, END = range(len(SPECIAL))

UNKNOWN = "<unk>"
"""The symbol of a source that stands for all that is none of the others."""


@dataclass(frozen=True)
class Seq2SeqConfig:
    """How a sequence-to-sequence network is built.

    input_size: features a step. vocabulary_size: tokens, where the source is token ids. output_size: symbols of the
        target, or values a step. max_length: steps of the decoder, the end symbol's included.
    cell, nonlinearity, hidden_size, num_layers: of encoder and decoder; the nonlinearity is of the plain RNN alone.
    bidirectional: whether the encoder reads in both directions, each with half of hidden_size.
    attention: none, dot, general or additive. embedding_size: of tokens and symbols.
    dropout: of what goes into each layer, and into the output layer.
    scheduled_sampling: the share of the decoder's inputs that is, in training, its own answer in place of the target.
    decode: what a file generates: the likeliest symbol at each step, the likeliest sequences a beam search finds, or
        symbols drawn at random. beam_width: hypotheses kept. n_best: of these, how many are given.
    length_penalty: exponent of the beam search's length penalty, 0 for none; it can be set when a file is loaded.
    stop: of values, whether an answer always has max_length steps, or ends where the network has learnt to end it.
    standardise: whether values are standardised in the network, by the training data's mean and deviation.
    """

    input_size: int
    output_size: int
    max_length: int
    vocabulary_size: int | None = None
    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    nonlinearity: Literal["tanh", "relu", "sigmoid"] = "tanh"
    hidden_size: int = 128
    num_layers: int = 1
    bidirectional: bool = True
    attention: Literal["none", "dot", "general", "additive"] = "dot"
    embedding_size: int = 64
    dropout: float = 0.0
    scheduled_sampling: float = 0.0
    decode: Literal["greedy", "beam", "sample"] = "greedy"
    beam_width: int = 4
    n_best: int = 1
    length_penalty: float = 0.0
    stop: Literal["length", "learned"] = "length"
    task: Literal["transcribe", "forecast"] = "transcribe"
    standardise: bool = True

    def __post_init__(self) -> None:
        check_common(self)
        check_choice("cell", self.cell, ("rnn", "lstm", "gru"))
        check_choice("nonlinearity", self.nonlinearity, ("tanh", "relu", "sigmoid"))
        check_choice("attention", self.attention, KINDS)
        check_choice("decode", self.decode, ("greedy", "beam", "sample"))
        check_choice("stop", self.stop, ("length", "learned"))
        check_choice("task", self.task, ("transcribe", "forecast"))
        check_positive(self, "input_size", "hidden_size", "num_layers", "embedding_size", "max_length")
        check_positive(self, "beam_width", "n_best")
        if not 0 <= self.scheduled_sampling <= 1:
            raise UsageError(f"scheduled_sampling is {self.scheduled_sampling}, but it is a share from 0 to 1")
        if self.bidirectional and self.hidden_size % 2:
            raise UsageError(
                f"hidden_size is {self.hidden_size}, but two directions take half of it each: make it even"
            )
        if self.task == "forecast" and self.decode != "greedy":
            raise UsageError(f"decode is '{self.decode}', which chooses among symbols, but this network gives values")
        if self.task == "transcribe" and self.stop != "length":
            raise UsageError("stop is of values, but this network says symbols, which end with the end symbol")
        self._check_beam()

    def _check_beam(self) -> None:
        said = self.output_size + 1
        if self.decode == "beam" and self.beam_width > said:
            raise UsageError(
                f"beam_width is {self.beam_width}, but there are only {said} symbols that can be said (the end "
                f"included); it must be from 1 to {said}"
            )
        if self.decode == "beam" and self.n_best > self.beam_width:
            raise UsageError(f"n_best is {self.n_best}, but a beam of {self.beam_width} has no more hypotheses")

    @property
    def learns_stop(self) -> bool:
        """Whether a step gives one column beside its values: above zero where the answer ends with it."""
        return self.stop == "learned"

    @property
    def encoder_size(self) -> int:
        """The hidden size of each of the encoder's directions."""
        return self.hidden_size // 2 if self.bidirectional else self.hidden_size
