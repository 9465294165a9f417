"""What the families share: standardisation in the graph, answers that are classes or values, their loss and figures."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Axis, Kind, Signature
from edgeseq_runtime.signature import Tensor as TensorSpec
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edgeseq.data import Dataset
from edgeseq.nn.family import Batch, Hints, Outputs

Array = NDArray[Any]

BASELINE = "baseline"
"""The input with a first forecast at every step, float32 (batch, time, outputs), in the units of the values."""


class Network(nn.Module):
    """Base of the families.

    Subclasses give `forward`, `signature` and `sizes`; the rest fits networks that answer with `logits` and
    `probabilities` (task "classify") or with `values` (task "forecast"), once a row or once a step.

    Args:
        config: plain values; it has `task`, `output_size`, and `standardise` where x is floats.
        family: its name. features: the shape of what one mean and deviation is kept of in x; None for tokens.
    """

    timeless: ClassVar[bool | None] = False
    recurrence: ClassVar[str] = "native"
    fixes_axes: ClassVar[bool] = True
    export_settings: ClassVar[tuple[str, ...]] = ()
    own_lengths: ClassVar[bool] = False

    x_mean: Tensor
    x_deviation: Tensor
    y_mean: Tensor
    y_deviation: Tensor

    def __init__(self, config: Any, hints: Hints | None, family: str, features: tuple[int, ...] = (1,)) -> None:
        super().__init__()
        self.config = config
        self.hints = hints or Hints()
        self.family = family
        self.task: str = config.task
        labels = self.hints.labels
        if labels is not None and self.task != "forecast" and len(labels) != config.output_size:
            raise UsageError(f"there are {len(labels)} labels, but output_size is {config.output_size}")
        self.register_buffer("x_mean", torch.zeros(features))
        self.register_buffer("x_deviation", torch.ones(features))
        self.register_buffer("y_mean", torch.zeros(config.output_size))
        self.register_buffer("y_deviation", torch.ones(config.output_size))

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """The keys of the config that the data decides: here output_size and task.

        Raises:
            UsageError: the answers are sequences of values, of a length of their own, and the family gives none.
        """
        if data.task == "forecast" and data.y_lengths is not None and not cls.own_lengths:
            raise UsageError("y has lengths of its own (y_lengths); the family 'seq2seq' answers with such sequences")
        outputs = len(data.labels) if data.labels is not None else data.y.shape[-1]
        return {"output_size": outputs, "task": data.task}

    def initialise(self) -> None:
        """Draw what takes long to draw and is stored: called once for a fresh network, never for one that is loaded."""

    def signature(self) -> Signature:
        """What goes in and out."""
        raise NotImplementedError

    def vocabulary(self) -> Mapping[str, Any] | None:
        """How text becomes token ids; None: no input is text."""
        return None

    def decoding(self) -> Mapping[str, Any] | None:
        """How a sequence is generated: none is."""
        return None

    def settings(self) -> Mapping[str, Any]:
        """The `export_settings` in effect, where `decoding` does not tell them: none."""
        return {}

    def values(self) -> Mapping[str, float | int]:
        """Named scalars that may be set at load, with their defaults: none."""
        return {}

    def initial_values(self) -> dict[str, Array]:
        """Learned initial states: none."""
        return {}

    @property
    def weight_count(self) -> int:
        """How many weights there are, those that are drawn once and kept included."""
        return sum(p.numel() for p in self.parameters())

    @property
    def carries(self) -> bool:
        """Whether states can be carried on from one piece of a sequence to the next."""
        return bool(self.signature().states)

    @property
    def unscored(self) -> int:
        """How many steps at each sequence's start are left out of loss and metrics: none."""
        return 0

    def standardise(self, data: Dataset) -> None:
        """Set mean and deviation of inputs and forecast values to the data's own."""
        if not data.tokens:
            self._set("x", *self.x_statistics(data))
        if self.task == "forecast":
            y = data.y - baseline_of(data) if self.corrects else data.y
            self._set("y", *statistics(y[data.answered], 1))

    def x_statistics(self, data: Dataset) -> tuple[Array, Array]:
        """Mean and deviation of x, of the shape of `x_mean`."""
        return statistics(data.values, self.x_mean.dim())

    def examples(self, data: Dataset) -> Dataset:
        """What is learnt from and scored one by one: the data as it is."""
        return data

    def finish(self, train: Dataset, held_out: Dataset | None) -> None:
        """Set what follows from the trained weights and the data, each as `examples` gives it: nothing."""

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """The batch by the signature's input names; the first is x. A row that has ended is given as one step."""
        first, *others = self.signature().inputs
        given = {first.name: batch["x"]}
        for tensor in others:
            if tensor.of is not None:
                given[tensor.name] = batch["lengths"].clamp(min=1)
            elif tensor.name in batch:
                given[tensor.name] = batch[tensor.name]
        return given

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Cross entropy, or the mean squared error of standardised values; of scored steps where those have answers."""
        predicted, y = self._pairs(outputs, batch)
        if self.task == "classify":
            return F.cross_entropy(predicted, y)
        return F.mse_loss((predicted - self.y_mean) / self.y_deviation, (y - self.y_mean) / self.y_deviation)

    def scored(self, outputs: Outputs, batch: Batch) -> int:
        """How many answers of the batch are scored: rows, or the valid steps of rows that have one a step."""
        return len(batch["x"]) if self.task == "transcribe" else len(self._pairs(outputs, batch)[1])

    def metrics(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """`accuracy`; or `mae` and `mse`, in the data's own units, and `naive_mae` where it has a naive forecast."""
        predicted, y = self._pairs(outputs, batch)
        if self.task == "classify":
            return {"accuracy": (predicted.argmax(-1) == y).float().mean()}
        error = predicted - y
        figures = {"mae": error.abs().mean(), "mse": error.square().mean()}
        if "naive" in batch:
            naive, _ = self._pairs({"values": batch["naive"]}, batch)
            figures["naive_mae"] = (naive - y).abs().mean()
        return figures

    def decisions(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """Predicted and true classes of rows, or of scored steps."""
        if self.task != "classify":
            return None
        predicted, y = self._pairs(outputs, batch)
        return predicted.argmax(-1), y

    def standardised(self, x: Tensor) -> Tensor:
        """X (batch, …) with mean 0 and deviation 1 over the training data, where the config asks for it."""
        return (x - self.x_mean) / self.x_deviation if self.config.standardise else x

    @property
    def corrects(self) -> bool:
        """Whether the network is given a first forecast, the input `baseline`, and answers with a better one."""
        return bool(getattr(self.config, "baseline", False))

    def answer(self, result: Tensor, baseline: Tensor | None = None) -> dict[str, Tensor]:
        """What the last layer gives as the outputs: classes as logits and probabilities, values in the data's units.

        baseline: of the same shape, what the values are added to.
        """
        if self.task == "classify":
            return {"logits": result, "probabilities": torch.softmax(result, -1)}
        if self.config.standardise:
            result = result * self.y_deviation + self.y_mean
        return {"values": result if baseline is None else baseline + result}

    def answers(self, kind: Kind) -> tuple[TensorSpec, ...]:
        """The outputs of `answer` for a signature."""
        axes: tuple[Axis, ...] = (BATCH, TIME) if kind == "step" else (BATCH,)
        axes = (*axes, self.config.output_size)
        if self.task == "classify":
            return (
                TensorSpec("logits", "float32", axes, kind, decision="argmax"),
                TensorSpec("probabilities", "float32", axes, kind, decision="argmax"),
            )
        return (TensorSpec("values", "float32", axes, kind),)

    def drawn(self, name: str) -> Any:
        """How to draw a realistic input of that name: as the training data is, else from the normal distribution."""
        return self.hints.draw.get(name, {"normal": [0.0, 1.0]})

    def _pairs(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits or values beside their targets, rows flattened over scored steps where there are several."""
        predicted = outputs["logits" if self.task == "classify" else "values"]
        y = batch["y"]
        if predicted.dim() < 3:
            return predicted, y
        count = min(predicted.shape[1], y.shape[1])  # a target may be longer than what is generated, or shorter
        predicted, y = predicted[:, :count], y[:, :count]
        steps = torch.arange(count, device=predicted.device)
        own = torch.tensor([count], device=predicted.device)
        lengths = batch.get("y_lengths", batch.get("lengths", own))
        scored = ((steps >= self.unscored) & (steps < lengths[:, None])).expand(predicted.shape[:2])
        return predicted[scored], y[scored]

    def _set(self, name: str, mean: Array, deviation: Array) -> None:
        getattr(self, f"{name}_mean").copy_(torch.as_tensor(mean))
        getattr(self, f"{name}_deviation").copy_(torch.as_tensor(deviation))


def statistics(values: Array, axes: int) -> tuple[Array, Array]:
    """Mean and deviation, float64, over all but the last `axes` axes of values; a deviation of 1 for a constant."""
    over = tuple(range(values.ndim - axes))
    mean, deviation = values.mean(over, dtype=np.float64), values.std(over, dtype=np.float64)
    return mean, np.where(deviation > 1e-6 * np.abs(mean) + 1e-12, deviation, 1.0)


def baseline_of(data: Dataset) -> Array:
    """The first forecasts that the answers of `data` are to correct, of the shape of its y."""
    given = data.more[BASELINE]
    return given if data.stepwise or data.lengths is None else given[np.arange(len(data)), data.lengths - 1]


def check_sequences(data: Dataset, family: str) -> None:
    """Raise UsageError where x is anything but sequences of features."""
    if data.tokens or data.lengths is None or data.x.ndim != 3:
        raise UsageError(f"the family '{family}' takes sequences (n, time, features), but x has shape {data.x.shape}")


def one_answer(data: Dataset) -> None:
    """Raise UsageError where the data has an answer for every step, or transcripts."""
    if data.stepwise or data.y_lengths is not None:
        raise UsageError(f"this family gives one answer an example, but y has shape {data.y.shape}")


def last_step(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The last valid step of each row. x: (batch, time, features) -> (batch, features)."""
    if lengths is None:
        return x[:, -1]
    steps = (lengths - 1)[:, None, None].expand(-1, 1, x.shape[2])
    return x.gather(1, steps).squeeze(1)


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise UsageError where a config's value is none of those allowed."""
    if value not in allowed:
        raise UsageError(f"{name} is {value!r}, but it must be one of {', '.join(allowed)}")


def check_positive(config: Any, *names: str) -> None:
    """Raise UsageError where one of a config's whole numbers is below 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise UsageError(f"{name} is {getattr(config, name)}, but at least 1 is needed")


def check_common(config: Any) -> None:
    """Raise UsageError where the keys that all configs have are out of range."""
    check_choice("task", config.task, ("classify", "forecast", "transcribe"))
    check_positive(config, "output_size")
    if config.task == "classify" and config.output_size < 2:
        raise UsageError(f"output_size is {config.output_size}, but there are at least 2 classes to choose from")
    if not 0 <= getattr(config, "dropout", 0.0) < 1:
        raise UsageError(f"dropout is {config.dropout}, but it must be at least 0 and less than 1")
