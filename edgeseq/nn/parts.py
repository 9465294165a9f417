"""What a file can hold of an autoencoder: all of it, the code alone, the generator alone, or the anomaly score."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from edgeseq_runtime.signature import BATCH, TIME, Axis, Limit, Signature
from edgeseq_runtime.signature import Tensor as TensorSpec
from torch import Tensor

if TYPE_CHECKING:
    from edgeseq.nn.autoencoder import Autoencoder

EXAMPLES = "examples"
"""Among the hints how to draw inputs: a few real ones."""

RAW = "raw"
"""Beside what a file gives: what is rebuilt before the output's activation, for loss and figures in PyTorch."""


class Part:
    """Base of the parts. network: whose part it is."""

    def __init__(self, network: "Autoencoder") -> None:
        self.network = network
        self.config: Any = network.config

    def forward(self, *given: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        """Outputs by the signature's names."""
        raise NotImplementedError

    def signature(self) -> Signature:
        """What goes in and out."""
        raise NotImplementedError

    def values(self) -> Mapping[str, float | int]:
        """Named scalars that may be set at load: none."""
        return {}

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Of an example."""
        return (TIME, self.config.shape[-1]) if self.network.ragged else self.config.shape

    def examples_in(self) -> tuple[TensorSpec, ...]:
        """The inputs of a part that reads examples."""
        x = TensorSpec("x", "float32", (BATCH, *self.axes), draw=self.network.drawn("x"))
        return (x, self.lengths("x")) if self.network.ragged else (x,)

    def lengths(self, of: str) -> TensorSpec:
        """The input with the rows' lengths."""
        return TensorSpec("lengths", "int64", (BATCH,), of=of)

    def described(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> Signature:
        """A signature with the hints of the training data, of what does not stream."""
        typical = self.network.hints.typical
        free = {TIME: Limit(1, None)} if self.network.ragged else {}
        kept = (BATCH, TIME) if self.network.ragged else (BATCH,)
        return Signature(
            inputs=inputs,
            outputs=outputs,
            limits={BATCH: Limit(1, None), **free},
            typical={name: typical.get(name, 1) for name in kept},
            reason="it takes whole examples; --part score of windows streams",
        )

    def code_out(self) -> tuple[TensorSpec, ...]:
        """The outputs of a part that gives the code."""
        names = ("code", "log_variance") if self.config.variational else ("code",)
        return tuple(TensorSpec(name, "float32", (BATCH, self.config.code_size), "sequence") for name in names)


class Full(Part):
    """x -> rebuilt, in x's shape and units, and the code; of a variational one its mean, and log_variance.

    In PyTorch also raw, see RAW.
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:  # type: ignore[override]
        """x: (batch, *shape)."""
        code = self.network.encode(x, lengths)
        raw = self.network.rebuild(code.mean, x.shape[1], lengths)
        return {"rebuilt": masked(self.network.shown(raw), lengths), **_named(code), RAW: raw}

    def signature(self) -> Signature:
        """What goes in and out."""
        rebuilt = TensorSpec("rebuilt", "float32", (BATCH, *self.axes), "step" if self.network.ragged else "sequence")
        return self.described(self.examples_in(), (rebuilt, *self.code_out()))


class Encoder(Part):
    """x -> code, and log_variance of a variational one; with a head logits and probabilities of its classes too."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:  # type: ignore[override]
        """x: (batch, *shape)."""
        code = self.network.encode(x, lengths)
        if self.network.head is None:
            return _named(code)
        logits = self.network.head(code.mean)
        return {"logits": logits, "probabilities": logits.softmax(-1), **_named(code)}

    def signature(self) -> Signature:
        """What goes in and out."""
        names = ("logits", "probabilities") if self.network.head is not None else ()
        told = tuple(
            TensorSpec(name, "float32", (BATCH, self.config.classes), "sequence", decision="argmax") for name in names
        )
        return self.described(self.examples_in(), (*told, *self.code_out()))


class Decoder(Part):
    """code -> rebuilt. Of a variational one the code is `noise`, from the standard normal distribution: it generates.

    Sequences of free length are as long as the longest that was trained on, zero behind `steps`, which is an input.
    """

    @property
    def name(self) -> str:
        """Of the input."""
        return "noise" if self.config.variational else "code"

    def inputs(self, x: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
        """The codes of x (batch, *shape), and of sequences their lengths, at most the longest that it tells."""
        code = {self.name: self.network.encode(x, lengths).mean}
        return code if lengths is None else {**code, "steps": lengths.clamp(1, self._shape[0])}

    def forward(self, *given: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        """Code or noise: (batch, code_size); of sequences `steps` int64 (batch,)."""
        named = {**dict(zip((self.name, "steps"), given, strict=False)), **inputs}
        steps = named.get("steps")
        rebuilt = self.network.shown(self.network.rebuild(named[self.name], self._shape[0], steps))
        return {"rebuilt": masked(rebuilt, steps)}

    def signature(self) -> Signature:
        """What goes in and out."""
        code = TensorSpec(self.name, "float32", (BATCH, self.config.code_size), draw={"normal": [0.0, 1.0]})
        rebuilt = TensorSpec("rebuilt", "float32", (BATCH, *self._shape), "sequence")
        steps = TensorSpec("steps", "int64", (BATCH,), range=(1, self._shape[0] + 1))
        return Signature(
            inputs=(code, steps) if self.network.ragged else (code,),
            outputs=(rebuilt,),
            limits={BATCH: Limit(1, None)},
            typical={BATCH: 1},
            reason="it takes one code at a time; there are no steps to stream",
        )

    @property
    def _shape(self) -> tuple[int, ...]:
        if not self.network.ragged:
            return tuple(self.config.shape)
        return self.network.hints.longest or 1, self.config.shape[-1]


class Score(Part):
    """x -> score, of each example, and alarm int64, 1 where it is above `threshold`, or no number at all.

    In PyTorch also alarm_margin.
    """

    def forward(  # type: ignore[override]
        self, x: Tensor, lengths: Tensor | None = None, threshold: Tensor | None = None
    ) -> dict[str, Tensor]:
        """x: (batch, *shape)."""
        score = self.network.scores(x, lengths)
        limit = self.network.threshold if threshold is None else threshold
        return {"score": score, "alarm": above(score, limit).long(), "alarm_margin": (score - limit).abs()}

    def signature(self) -> Signature:
        """What goes in and out."""
        x, *others = self.examples_in()
        outputs = (
            TensorSpec("score", "float32", (BATCH,), "sequence"),
            TensorSpec("alarm", "int64", (BATCH,), "sequence"),
        )
        return self.described((self.realistic(x), *others), outputs)

    def values(self) -> Mapping[str, float | int]:
        """The `threshold`."""
        return {"threshold": float(self.network.threshold)}

    def realistic(self, x: TensorSpec) -> TensorSpec:
        """The input x, drawn as real examples are, with more or less noise: on both sides of the threshold.

        Noise of s deviations adds about s² to a squared error, so that what goes up to twice the threshold's root makes
        scores on both of its sides. It is at most as large as the data's own deviation, feature by feature.
        """
        kept = self.network.hints.draw.get(EXAMPLES)
        if kept is None:
            return x
        deviation = self.network.x_deviation
        if self.config.loss == "mse":
            unit = deviation if self.config.output == "linear" and self.config.standardise else 1.0
            deviation = deviation.minimum(2 * self.network.threshold.clamp(min=0).sqrt() * unit)
        return TensorSpec("x", "float32", x.axes, draw={EXAMPLES: kept, "deviation": deviation.tolist()})


def part_of(network: "Autoencoder") -> Part:
    """The part that the network's config names."""
    from edgeseq.nn.anomaly import WindowScore

    kinds = {"full": Full, "encoder": Encoder, "decoder": Decoder}
    if network.config.part in kinds:
        return kinds[network.config.part](network)
    return Score(network) if network.config.window is None else WindowScore(network)


def above(score: Tensor, threshold: Tensor) -> Tensor:
    """Which scores call for an alarm: a NaN too, since what overflows is nothing to be calm about."""
    return ~(score <= threshold)


def masked(values: Tensor, lengths: Tensor | None) -> Tensor:
    """The same, zero behind a row's end. values: (batch, time, features) where there are lengths."""
    if lengths is None:
        return values
    valid = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
    return torch.where(valid[..., None], values, 0.0)


def in_hops(x: Tensor, hop: int) -> Tensor:
    """Series (batch, time, features) as (batch, hops, hop, features); what is left over at the end is left out."""
    count = x.shape[1] // hop
    return x[:, : count * hop].reshape(x.shape[0], count, hop, x.shape[2])


def _named(code: Any) -> dict[str, Tensor]:
    return {"code": code.mean, **({} if code.log_variance is None else {"log_variance": code.log_variance})}
