"""What the autoencoders share: the code, what training does to it and to the input, their loss and figures."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import Signature
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edgeseq.data import Dataset
from edgeseq.nn.array import statistics_shape
from edgeseq.nn.corruption import corrupted
from edgeseq.nn.family import Batch, Hints, Outputs
from edgeseq.nn.head import fitted_head
from edgeseq.nn.network import Network
from edgeseq.nn.parts import EXAMPLES, RAW, Decoder, Part, in_hops, masked, part_of
from edgeseq.nn.windows import windows
from edgeseq.threshold import threshold_of

Array = NDArray[Any]

_BATCH = 256

_EXAMPLES = 4
"""So many of the training part are kept, so that a file can be proven at what it meets."""


class Code(NamedTuple):
    """What examples are coded as, (batch, code_size); of a variational one mean and logarithm of the variance."""

    mean: Tensor
    log_variance: Tensor | None = None


class Taught(NamedTuple):
    """What the loss starts from. raw: what is rebuilt, before the output's activation, (batch, *shape)."""

    raw: Tensor
    code: Code


class Autoencoder(Network):
    """Base of the autoencoders; subclasses give `features` and `rebuild`.

    What goes in and out is that of the part which the config names, see edgeseq.nn.parts and edgeseq.nn.anomaly.

    feature_size: of what `features` gives.
    """

    timeless: ClassVar[bool | None] = None
    fixes_axes: ClassVar[bool] = False  # without a recurrence there is nothing to repeat
    export_settings: ClassVar[tuple[str, ...]] = ("part", "hold", "hop")

    threshold: Tensor
    updates: Tensor

    def __init__(self, config: Any, hints: Hints | None, family: str, feature_size: int) -> None:
        hints = hints or Hints()
        if not config.head_labels:
            hints = replace(hints, labels=None)  # it tells no classes apart
        per_feature = config.window is not None or len(config.shape) == 1
        super().__init__(config, hints, family, (config.shape[-1],) if per_feature else statistics_shape(config.shape))
        self.to_code = nn.Linear(feature_size, config.code_size * (2 if config.variational else 1))
        self.head = nn.Linear(config.code_size, config.classes) if config.head_labels else None
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """The shape of an example, and the classes where each example has one. Raises UsageError for token ids."""
        if data.tokens:
            raise UsageError("an autoencoder rebuilds numbers, but x holds token ids; save x as float32")
        classes = len(data.labels or ()) if data.task == "classify" and not data.stepwise else 0
        return {"input_shape": list(data.x.shape[1:]), "classes": classes}

    def features(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """What the code is made of, (batch, feature_size). x: standardised, (batch, *shape)."""
        raise NotImplementedError

    def rebuild(self, code: Tensor, steps: int, lengths: Tensor | None = None) -> Tensor:
        """The example before the output's activation, (batch, *shape).

        steps, lengths int64 (batch,): of sequences of free length.
        """
        raise NotImplementedError

    @property
    def ragged(self) -> bool:
        """Whether examples are sequences of unequal length."""
        return False

    @property
    def used(self) -> Part:
        """The part that the config names."""
        return part_of(self)

    def forward(self, *given: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        """Outputs by the signature's names; none in training, as `loss` corrupts the input and draws the code."""
        return {} if self.training else self.used.forward(*given, **inputs)

    def signature(self) -> Signature:
        """What goes in and out."""
        return self.used.signature()

    def settings(self) -> Mapping[str, Any]:
        """Which part it is; of the score of windows for how many an alarm holds, and how far they are apart.

        And how many steps a window has, where there are windows: this an export cannot choose.
        """
        window = {} if self.config.window is None else {"window": self.config.window}
        return {**{name: getattr(self.config, name) for name in self.export_settings}, **window}

    def values(self) -> Mapping[str, float | int]:
        """Of an anomaly score the `threshold`, above which there is an alarm."""
        return self.used.values()

    def standardise(self, data: Dataset) -> None:
        """As Network. Raises UsageError for values that are not from 0 to 1, where a sigmoid is to give them."""
        low, high = float(data.values.min()), float(data.values.max())
        if self.config.output == "sigmoid" and not 0 <= low <= high <= 1:
            raise UsageError(
                f"the output is a sigmoid, for values from 0 to 1, but x goes from {low:g} to {high:g}; scale it, or "
                "set output = 'linear'"
            )
        super().standardise(data)

    def examples(self, data: Dataset) -> Dataset:
        """What is learnt from and scored one by one: windows, sequences, or arrays of one shape."""
        if self.config.window is not None:
            return windows(data, self.config.window)
        return data if self.ragged or data.lengths is None else data.timeless()

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """The batch by the signature's input names; a decoder takes the codes of x, the score of windows x in hops."""
        used = self.used
        if isinstance(used, Decoder):
            return used.inputs(batch["x"], self._lengths(batch))
        given = super().inputs(batch)
        if self.config.part == "score" and self.config.hop > 1:
            given["x"] = in_hops(batch["x"], self.config.hop)
        return given

    @property
    def unit(self) -> Tensor | float:
        """Of figures of errors: the data's; of several features that may be unlike, the deviation of each, (features,).

        Values from 0 to 1, for a sigmoid, are alike.
        """
        unlike = self.x_deviation.numel() > 1 and self.config.output != "sigmoid"
        return self.x_deviation if unlike else 1.0

    def encode(self, x: Tensor, lengths: Tensor | None = None) -> Code:
        """x: (batch, *shape), in the data's units."""
        found = self.to_code(self.features(self.standardised(x), lengths))
        if not self.config.variational:
            return Code(found)
        mean, log_variance = found.chunk(2, -1)
        return Code(mean, log_variance)

    def shown(self, raw: Tensor) -> Tensor:
        """What `rebuild` gives, in the data's units."""
        if self.config.output == "sigmoid":
            return torch.sigmoid(raw)
        return raw * self.x_deviation + self.x_mean if self.config.standardise else raw

    def taught(self, x: Tensor, lengths: Tensor | None = None) -> Taught:
        """In training a corrupted x, rebuilt by a code that is drawn; else x itself, by the code's mean."""
        config = self.config
        shown = corrupted(x, config.corruption, config.corruption_level, lengths=lengths) if self.training else x
        code = self.encode(shown, lengths)
        drawn = code.mean
        if self.training and code.log_variance is not None:
            drawn = drawn + torch.exp(code.log_variance / 2) * torch.randn_like(drawn)
        return Taught(self.rebuild(drawn, x.shape[1], lengths), code)

    def errors(self, raw: Tensor, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """How far each value is from being rebuilt, in the shape of x, zero behind a row's end.

        Binary cross entropy, or the squared error: of values from 0 to 1 as they are, of others standardised; of a
        variational autoencoder half of it, as of a normal distribution with a deviation of 1. The cross entropy is of
        x cut off at 0 and 1, and to it comes the square of what was cut off: there it would fall without end.
        """
        if self.config.loss == "bce":
            inside = x.clamp(0, 1)
            # as log(sigmoid) it would be infinite in a file where torch's is not
            found = F.softplus(raw) - inside * raw + (x - inside).square()
        else:
            missed = torch.sigmoid(raw) - x if self.config.output == "sigmoid" else raw - self.standardised(x)
            found = missed.square() * (0.5 if self.config.variational else 1.0)
        return masked(found, lengths)

    def scores(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """How anomalous each example is, (batch,): the mean error of its values, of those of its last step, or the
        negative evidence bound at the code's mean, a value.
        """
        raw, code = self.taught(x, lengths)
        errors = self.errors(raw, x, lengths)
        if self.config.score == "last":
            return errors[:, -1].mean(-1)
        total = errors.flatten(1).sum(1)
        if self.config.score == "bound":
            total = total + divergence(code)
        found: Tensor = total / values_of(x, lengths)
        return found

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The error a value, with the weighted penalties of the code."""
        x, lengths = batch["x"], self._lengths(batch)
        raw, code = self._taught(outputs, x, lengths)
        count = values_of(x, lengths)
        loss = (self.errors(raw, x, lengths).flatten(1).sum(1) / count).mean()
        if self.config.variational:
            risen = self.config.warm_up and self.training
            weight = torch.clamp(self.updates / self.config.warm_up, max=1.0) if risen else 1.0
            loss = loss + self.config.beta * weight * (divergence(code) / count).mean()
        if self.training:
            self.updates += 1
        penalised: Tensor = loss + self.config.sparsity * code.mean.abs().mean()
        return penalised

    def scored(self, outputs: Outputs, batch: Batch) -> int:
        """Examples."""
        return len(batch["x"])

    def metrics(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """`rebuild_error`, the mean squared error of a value in the `unit`.

        Of a variational one also `bound`, the evidence bound of an example with the code's mean in place of draws of
        it: no bound in the strict sense, and mostly above it. With the loss bce it is in nats, with mse up to a
        constant. With corruption `noisy_error`, of corrupted examples, and `clean_error`, of what is rebuilt from
        those. With a head `accuracy`.
        """
        x, lengths = batch["x"], self._lengths(batch)
        raw, code = self._taught(outputs, x, lengths)
        count = values_of(x, lengths)

        def error(rebuilt: Tensor) -> Tensor:
            missed = (rebuilt - x) / self.unit
            return (masked(missed.square(), lengths).flatten(1).sum(1) / count).mean()

        figures = {"rebuild_error": error(self.shown(raw))}
        if self.config.variational:
            figures["bound"] = -(self.errors(raw, x, lengths).flatten(1).sum(1) + divergence(code)).mean()
        if self.config.corruption != "none":
            generator = torch.Generator(x.device).manual_seed(len(x))
            noisy = corrupted(x, self.config.corruption, self.config.corruption_level, generator, lengths)
            figures["noisy_error"] = error(noisy)
            figures["clean_error"] = error(
                self.shown(self.rebuild(self.encode(noisy, lengths).mean, x.shape[1], lengths))
            )
        if self.head is not None:
            figures["accuracy"] = (self.head(code.mean).argmax(-1) == batch["y"]).float().mean()
        return figures

    def decisions(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """Predicted and true classes, where there is a head."""
        if self.head is None:
            return None
        code = outputs["code"] if "code" in outputs else self.encode(batch["x"], self._lengths(batch)).mean
        return self.head(code).argmax(-1), batch["y"]

    def finish(self, train: Dataset, held_out: Dataset | None) -> None:
        """Set the threshold, by the scores of what is held out, and fit the head to training codes.

        Where nothing is held out, as after a refit, the threshold is chosen on examples that were trained on. Some
        examples are kept in the hints, from that of the lowest score to that of the highest: a file is proven at them.
        """
        of = train if held_out is None else held_out
        chosen = threshold_of(
            self._each(of, self.scores), self.config.threshold_quantile, self.config.threshold_deviations
        )
        self.threshold.fill_(chosen)
        rows = np.argsort(self._each(train, self.scores))[np.linspace(0, len(train) - 1, _EXAMPLES).astype(int)]
        kept = [[float(f"{value:.4g}") for value in train.x[row].ravel()] for row in rows]
        self.hints = replace(self.hints, draw={**self.hints.draw, EXAMPLES: kept})
        if self.head is not None:
            codes = self._each(train, lambda x, lengths: self.encode(x, lengths).mean)
            weight, bias = fitted_head(codes, train.y, self.config.classes, self.config.head_labels)
            self.head.weight.data.copy_(torch.from_numpy(weight.T))
            self.head.bias.data.copy_(torch.from_numpy(bias))

    def _each(self, data: Dataset, of: Callable[[Tensor, Tensor | None], Tensor]) -> Array:
        """What `of` gives of all examples, a batch at a time."""
        found, training = [], self.training
        self.eval()  # in training examples are corrupted, and codes drawn
        with torch.no_grad():
            for start in range(0, len(data), _BATCH):
                rows = data.rows(np.arange(start, min(start + _BATCH, len(data))))
                lengths = torch.from_numpy(rows.lengths) if self.ragged else None
                found.append(of(torch.from_numpy(rows.x), lengths).numpy())
        self.train(training)
        return np.concatenate(found)

    def _taught(self, outputs: Outputs, x: Tensor, lengths: Tensor | None) -> Taught:
        """As `taught`, by what `forward` has computed already where it holds that."""
        if RAW not in outputs:
            return self.taught(x, lengths)
        return Taught(outputs[RAW], Code(outputs["code"], outputs.get("log_variance")))

    def _lengths(self, batch: Batch) -> Tensor | None:
        return batch["lengths"] if self.ragged else None


def divergence(code: Code) -> Tensor:
    """Of the code's distribution from the standard normal one, in nats, (batch,) (Kingma and Welling 2014, app. B)."""
    log_variance = cast(Tensor, code.log_variance)
    return 0.5 * (code.mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)


def values_of(x: Tensor, lengths: Tensor | None) -> Tensor | int:
    """How many values an example has: all, or of sequences those before their end, (batch,)."""
    return x[0].numel() if lengths is None else lengths * x.shape[2]
