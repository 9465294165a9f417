"""The seq2seq family: an encoder reads a sequence, a decoder writes another of its own length, all in one graph.

Sutskever, Vinyals and Le, "Sequence to Sequence Learning with Neural Networks", 2014; attention as in
edgeseq.nn.attention; scheduled sampling in two parallel passes as in Mihaylova and Martins, "Scheduled Sampling for
Transformers", 2019.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from edgeseq_export.ops import OperatorLayer, RecurrentLayer
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Axis, Limit, Signature
from edgeseq_runtime.signature import Tensor as TensorSpec
from torch import Tensor, nn
from torch.nn import functional as F

from edgeseq.data import Dataset
from edgeseq.nn.attention import Attention
from edgeseq.nn.cells import cell_of
from edgeseq.nn.decoder import Output, States
from edgeseq.nn.decoding import Decoding
from edgeseq.nn.edits import edit_figures
from edgeseq.nn.family import Batch, Hints, Outputs
from edgeseq.nn.reader import Reader
from edgeseq.nn.seq2seq_config import END, PADDING, SPECIAL, START, UNKNOWN, Seq2SeqConfig


class Seq2Seq(Reader):
    """An encoder, a decoder that starts from its final states, attention between them, and decoding in the graph.

    Inputs: `x` float32 (batch, time, input_size), or `tokens` int64 (batch, time); `lengths` int64 (batch,); where
    symbols are drawn, `noise` float32 (batch, max_length), uniform in [0, 1).
    Outputs: `generated` int64 (batch, max_length), of a beam search (batch, n_best, max_length), the best first: the
    symbols said, the end symbol, then padding; `scores` float32 (batch,) or (batch, n_best): their log probability, of
    a beam search divided by the length penalty. Of values: `values` float32 (batch, max_length, output_size); with a
    learned stop also `answer_length` int64 (batch,), behind which the values are zero.
    In PyTorch also `generated_margin` or `answer_length_margin`, by how much each choice was clear.
    """

    recurrence: ClassVar[str] = "unroll"
    fixes_axes: ClassVar[bool] = False
    own_lengths: ClassVar[bool] = True
    export_settings: ClassVar[tuple[str, ...]] = ("decode", "beam_width", "n_best", "length_penalty", "max_length")

    def __init__(self, config: Seq2SeqConfig, hints: Hints | None = None) -> None:
        super().__init__(config, hints, "seq2seq")
        width, directions = config.hidden_size, 2 if config.bidirectional else 1
        sizes = [self.width] + [width] * (config.num_layers - 1)
        self.encoder = nn.ModuleList(
            OperatorLayer(cell_of(config), size, config.encoder_size, directions == 2) for size in sizes
        )
        symbols = config.output_size + len(SPECIAL)
        self.says = config.task == "transcribe"
        self.target = nn.Embedding(symbols, config.embedding_size, PADDING) if self.says else None
        self.start = None if self.says else nn.Parameter(torch.zeros(config.output_size))
        first = config.embedding_size if self.says else config.output_size
        self.decoder = nn.ModuleList(
            RecurrentLayer(cell_of(config), size, width) for size in [first] + [width] * (config.num_layers - 1)
        )
        attention = Attention(config.attention, width) if config.attention != "none" else None
        gives = symbols if self.says else config.output_size + config.learns_stop
        self.output = Output(attention, width, gives, config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.generation = Decoding(self.target, cast(list[RecurrentLayer], list(self.decoder)), self.output, config)

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """As Reader.sizes, and how long a target is at most.

        Raises:
            UsageError: there are no target sequences.
        """
        if data.y_lengths is None:
            raise UsageError(
                f"the family 'seq2seq' learns target sequences (with y_lengths), but the data asks to {data.task}"
            )
        return {**super().sizes(data), "max_length": int(data.y_lengths.max()) + (data.task == "transcribe")}

    def forward(
        self,
        x: Tensor | None = None,
        lengths: Tensor | None = None,
        tokens: Tensor | None = None,
        noise: Tensor | None = None,
        **values: Tensor,
    ) -> dict[str, Tensor]:
        """Outputs by the signature's names; none while it is trained, as `loss` has the decoder read the target."""
        if self.training:
            return {}
        states, fixed = self._encoded(x, tokens, lengths)
        like = states[0]
        chance = None if noise is None else (noise, *self._chance(noise, values))
        exponent = values.get("length_penalty", like.new_tensor(self.config.length_penalty))
        start = None if self.start is None else self.start.expand(like.shape[0], -1)
        found = self.generation(states, fixed, start, chance, exponent)
        return found if self.says else {**found, **self._in_units(found)}

    def signature(self) -> Signature:
        """What goes in and out."""
        source = self.main_input()
        inputs = [source, TensorSpec("lengths", "int64", (BATCH,), of=source.name)]
        if self.config.decode == "sample":
            axes = (BATCH, self.config.max_length)
            inputs.append(TensorSpec("noise", "float32", axes, draw={"uniform": [0.0, 1.0]}))
        return Signature(
            inputs=tuple(inputs),
            outputs=self._outputs(),
            limits={TIME: Limit(1, None, self.hints.longest), BATCH: Limit(1, None)},
            typical=dict(self.hints.typical),
            reason="it answers when it has read the whole sequence",
        )

    def vocabulary(self) -> Mapping[str, Any] | None:
        """How text becomes tokens, and what is generated becomes text."""
        found: dict[str, Any] = {}
        if self.hints.vocabulary is not None and "tokens" in self.hints.vocabulary:
            found["tokens"] = _reading(list(self.hints.vocabulary["tokens"]))
        if self.says and self.hints.labels is not None:
            special = {"padding": PADDING, "start": START, "end": END}
            kind = _kind(self.hints.labels)
            found["generated"] = {"symbols": [*SPECIAL, *self.hints.labels], "kind": kind, **special}
        return found or None

    def decoding(self) -> Mapping[str, Any]:
        """How long the answer is, and of symbols the settings in effect, and the numbers of start, end and padding."""
        config = self.config
        if not self.says:
            return {"max_length": config.max_length, "stop": config.stop}
        search = ("beam_width", "n_best", "length_penalty") if config.decode == "beam" else ()
        settings = {name: getattr(config, name) for name in ("decode", *search, "max_length")}
        return {**settings, "start": START, "end": END, "padding": PADDING}

    def values(self) -> Mapping[str, float | int]:
        """Of a beam search `length_penalty`; where symbols are drawn `temperature` and `top_k`, as of a charlm."""
        if self.config.decode == "sample":
            return {"temperature": 1.0, "top_k": 0}
        return {"length_penalty": self.config.length_penalty} if self.config.decode == "beam" else {}

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Beside the known target: cross entropy of a symbol, or the mean squared error of standardised values.

        With a learned stop, the binary cross entropy of whether a step is the last is added. In evaluation a forecast
        of a fixed length is judged by what the network gives by itself, without the target as input.
        """
        if not (self.says or self.training or self.config.learns_stop):
            truth, valid = (each[:, : self.config.max_length] for each in self._values(batch))
            given = (outputs["values"][:, : truth.shape[1]] - self.y_mean) / self.y_deviation
            return F.mse_loss(given[valid], truth[valid])
        inputs = self.inputs(batch)
        states, fixed = self._encoded(inputs.get("x"), inputs.get("tokens"), inputs["lengths"])
        truth, before, valid = self._shifted(batch)
        given = self._taught(before, states, fixed)
        if self.training and self.config.scheduled_sampling:
            own = given.detach() if self.says else self._free(before, states, fixed)
            given = self._taught(self._mixed(before, own), states, fixed)
        if self.says:
            return F.cross_entropy(given[valid], truth[valid])
        loss = F.mse_loss(given[..., : self.config.output_size][valid], truth[valid])
        if self.config.learns_stop:
            last = torch.arange(truth.shape[1], device=truth.device) == batch["y_lengths"][:, None] - 1
            loss = loss + F.binary_cross_entropy_with_logits(given[..., -1][valid], last[valid].to(given.dtype))
        return loss

    def metrics(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Of symbols `sequence_accuracy`, `edits` and `symbols`, see `edit_figures`.

        Of values as in Network, over the steps of the targets. With a learned stop only those that the answer has too
        are compared: then, a step of the targets, the sums of the errors, how many are `answered`, by how many steps
        the answers are too long or too short, `length_edits`, and the `rows`.
        """
        if not self.says:
            return self._compared(outputs, batch) if self.config.learns_stop else super().metrics(outputs, batch)
        best = outputs["generated"] if self.config.decode != "beam" else outputs["generated"][:, 0]
        return edit_figures([_classes(said) for said in best.tolist()], _answers(batch))

    def decisions(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """None: what is said cannot be set beside the truth one by one."""
        return None

    def _in_units(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values in the data's units, zero behind the end of each answer."""
        values = self.answer(found["values"])["values"]
        if self.config.learns_stop:
            made = torch.arange(values.shape[1], device=values.device) < found["answer_length"][:, None]
            values = torch.where(made[..., None], values, 0.0)
        return {"values": values}

    def _compared(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The figures of answers that end by themselves, see `metrics`."""
        steps, lengths = self.scored(outputs, batch), outputs["answer_length"]
        both = {**batch, "y_lengths": torch.minimum(batch["y_lengths"], lengths)}
        share = torch.tensor(self.scored(outputs, both) / steps)
        figures = {name: value * share for name, value in super().metrics(outputs, both).items()}
        edits = (lengths - batch["y_lengths"]).abs().sum() / steps
        return {**figures, "answered": share, "length_edits": edits, "rows": torch.tensor(len(lengths) / steps)}

    def _encoded(self, x: Tensor | None, tokens: Tensor | None, lengths: Tensor | None) -> tuple[States, States]:
        """The decoder's first states, (batch, hidden_size) each; and what all its steps read: keys, memory and bias."""
        y = self.embed(x, tokens).transpose(0, 1)
        directions = 2 if self.config.bidirectional else 1
        zeros = y.new_zeros(directions, y.shape[1], self.config.encoder_size)
        final: list[Tensor] = []
        for layer in self.encoder:
            y, last = layer(self.dropout(y), (zeros, zeros) if self.config.cell == "lstm" else (zeros,), lengths)
            final += (state.transpose(0, 1).flatten(1) for state in last)  # both directions side by side
        memory = y.transpose(0, 1)
        keys = self.output.keys(memory)
        if not keys:
            return tuple(final), ()
        bias = memory.new_zeros(memory.shape[:2])
        if lengths is not None:
            behind = torch.arange(memory.shape[1], device=memory.device) >= lengths[:, None]
            bias = torch.where(behind, -torch.inf, bias)
        return tuple(final), (*keys, bias)

    def _shifted(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """What is to be said (batch, steps, …), what the decoder reads before each of it, and which steps count."""
        if self.start is not None:
            truth, valid = self._values(batch)
            return truth, torch.cat([self.start.expand(len(truth), 1, -1), truth[:, :-1]], 1), valid
        y, lengths = batch["y"], batch["y_lengths"]
        place = torch.arange(int(lengths.max()) + 1, device=y.device)
        ids = F.pad(y + len(SPECIAL), (0, 1))[:, : len(place)]
        ended = torch.where(place == lengths[:, None], END, PADDING)
        truth = torch.where(place < lengths[:, None], ids, ended)
        return truth, F.pad(truth[:, :-1], (1, 0), value=START), truth != PADDING

    def _values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Standardised target values (batch, steps, outputs), zero behind their end, and which steps count."""
        steps = int(batch["y_lengths"].max())
        valid = torch.arange(steps, device=batch["y"].device) < batch["y_lengths"][:, None]
        truth = (batch["y"][:, :steps] - self.y_mean) / self.y_deviation
        return torch.where(valid[..., None], truth, 0.0), valid

    def _free(self, before: Tensor, states: States, fixed: States) -> Tensor:
        """Values from a pass that has read no truth: the decoder reads its start at every step."""
        with torch.no_grad():
            return self._taught(before[:, :1].expand_as(before), states, fixed)

    def _taught(self, before: Tensor, states: States, fixed: States) -> Tensor:
        """Scores or values (batch, steps, …) of a decoder that reads `before`, one entry a step."""
        y = (before if self.target is None else self.target(before)).transpose(0, 1)
        quantities = len(states) // len(self.decoder)
        for index, layer in enumerate(self.decoder):
            given = states[index * quantities : (index + 1) * quantities]
            y, _ = layer(self.dropout(y), tuple(state[None] for state in given))
        return cast(Tensor, self.output(y.transpose(0, 1), *fixed))

    def _mixed(self, before: Tensor, scores: Tensor) -> Tensor:
        """A share of what the decoder reads exchanged for what it would have said itself."""
        said = scores.argmax(-1) if self.says else scores[..., : self.config.output_size]
        own = torch.cat([before[:, :1], said[:, :-1]], 1)
        chosen = torch.rand(before.shape[:2], device=before.device) < self.config.scheduled_sampling
        return torch.where(chosen if self.says else chosen[..., None], own, before)

    def _outputs(self) -> tuple[TensorSpec, ...]:
        config = self.config
        if not self.says:
            values = TensorSpec("values", "float32", (BATCH, config.max_length, config.output_size), "sequence")
            ends = TensorSpec("answer_length", "int64", (BATCH,), "sequence")
            return (values, ends) if config.learns_stop else (values,)
        symbols = config.output_size + len(SPECIAL)
        row: tuple[Axis, ...] = (BATCH, config.n_best) if config.decode == "beam" else (BATCH,)
        return (
            TensorSpec("generated", "int64", (*row, config.max_length), "sequence", range=(0, symbols)),
            TensorSpec("scores", "float32", row, "sequence"),
        )

    def _chance(self, noise: Tensor, values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        temperature = values.get("temperature", noise.new_tensor(1.0))
        return temperature, values.get("top_k", torch.tensor(0, device=noise.device))


def _kind(symbols: Sequence[str]) -> str:
    """Whether a text is its characters, or words (phonemes) between spaces."""
    return "character" if all(len(symbol) == 1 for symbol in symbols) else "word"


def _reading(symbols: list[str]) -> dict[str, Any]:
    """The vocabulary of the source.

    A text of characters is cut at its spaces where there is no symbol for one, and put into small letters where there
    are no others.
    """
    known = [symbol for symbol in symbols if symbol != UNKNOWN]
    found: dict[str, Any] = {"symbols": symbols, "kind": _kind(known)}
    if UNKNOWN in symbols:
        found["unknown"] = symbols.index(UNKNOWN)
    if not any(symbol != symbol.lower() for symbol in known):
        found["lower"] = True
    if found["kind"] == "character" and not any(symbol.isspace() for symbol in known):
        found["split"] = True
    return found


def _answers(batch: Batch) -> list[list[list[int]]]:
    """Of each row all answers that count as right, as lists of classes."""
    if "accepted" not in batch:
        pairs = zip(batch["y"].tolist(), batch["y_lengths"].tolist(), strict=True)
        return [[y[:length]] for y, length in pairs]
    rows = batch["accepted"].tolist()
    return [[[c for c in each if c >= 0] for each in row if each[0] >= 0] for row in rows]


def _classes(said: list[int]) -> list[int]:
    """The classes of the symbols before the end."""
    end = said.index(END) if END in said else len(said)
    return [symbol - len(SPECIAL) for symbol in said[:end]]
