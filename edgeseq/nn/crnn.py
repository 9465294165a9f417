"""The crnn family: convolutions over the image of a line, then a recurrence along it, and what it reads as classes.

Shi, Bai and Yao, "An End-to-End Trainable Neural Network for Image-Based Sequence Recognition", 2015, with the loss and
the best-path decoding of connectionist temporal classification (edgeseq.nn.ctc).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from edgeseq_export.ops import RecurrentLayer
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature
from edgeseq_runtime.signature import Tensor as TensorSpec
from torch import Tensor, nn
from torch.nn import functional as F

from edgeseq.data import Dataset
from edgeseq.nn.cells import cell_of, zero_states
from edgeseq.nn.ctc import ctc_loss, greedy
from edgeseq.nn.edits import edit_figures
from edgeseq.nn.family import Batch, Hints, Outputs
from edgeseq.nn.network import Network, check_choice, check_common, check_positive

FRAMES = "frames"


@dataclass(frozen=True)
class CrnnConfig:
    """How a crnn network is built.

    input_size: the height of a line in pixels. output_size: classes, without the blank, which is added behind them.
    channels: one convolution each; behind every one the height is halved.
    reduce: how many steps of the input make one frame; behind the first convolutions the width is halved until then.
    kernel_size: of the convolutions, along both axes, odd. batch_norm: whether each is followed by normalisation.
    cell, nonlinearity, hidden_size, num_layers, bidirectional: the recurrence over the frames.
    """

    input_size: int
    output_size: int
    channels: list[int]
    reduce: Literal[1, 2, 4, 8] = 4
    kernel_size: int = 3
    batch_norm: bool = True
    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    nonlinearity: Literal["tanh", "relu", "sigmoid"] = "tanh"
    hidden_size: int = 64
    num_layers: int = 1
    bidirectional: bool = True
    dropout: float = 0.0
    task: Literal["transcribe"] = "transcribe"
    standardise: bool = True

    def __post_init__(self) -> None:
        check_common(self)
        check_choice("cell", self.cell, ("rnn", "lstm", "gru"))
        check_choice("nonlinearity", self.nonlinearity, ("tanh", "relu", "sigmoid"))
        check_positive(self, "input_size", "hidden_size", "num_layers", "kernel_size")
        if not self.channels or min(self.channels) < 1:
            raise UsageError(f"channels is {self.channels}, but one number of at least 1 a convolution is needed")
        if self.kernel_size % 2 == 0:
            raise UsageError(f"kernel_size is {self.kernel_size}, but it must be odd")
        if 2 ** len(self.channels) < self.reduce:
            raise UsageError(
                f"reduce is {self.reduce}, but {len(self.channels)} convolutions halve the width at most "
                f"to a {2 ** len(self.channels)}th; add channels"
            )


class Block(nn.Module):
    """Convolution, normalisation, ReLU, and pooling by two along the height and, where asked for, the width.

    What lies behind a row's end is set to zero before each convolution and before pooling, so that a row gives the same
    answer beside longer ones as alone, once trained: a convolution sees the zeros it would add at the edge, and the
    maximum of a last odd step and a zero is that step, since nothing is negative. (In training the statistics of the
    normalisation count what lies behind, too.)
    """

    def __init__(self, before: int, after: int, kernel_size: int, batch_norm: bool, halve: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel_size, padding=kernel_size // 2, bias=not batch_norm)
        self.norm = nn.BatchNorm2d(after) if batch_norm else nn.Identity()
        self.halve = halve

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """x: (batch, channels, steps, height), zero behind lengths. Returns: the same, pooled; steps are rounded up."""
        y = masked(F.relu(self.norm(self.conv(x))), lengths)
        y = F.pad(y, (0, y.shape[3] % 2, 0, 1 if self.halve else 0))
        return F.max_pool2d(y, (2 if self.halve else 1, 2)), (lengths + 1) // 2 if self.halve else lengths


class Crnn(Network):
    """Convolutions, a recurrence over their columns, and a class or the blank for every frame.

    Inputs: `x` float32 (batch, time, input_size), time along the line; `lengths` int64 (batch,).
    Outputs: `logits` (batch, frames, classes + 1), the blank last; `labels` int64 (batch, frames), the classes of each
    line, packed to the left, -1 behind; `label_lengths` int64 (batch,). frames: time / reduce, rounded up.
    """

    own_lengths: ClassVar[bool] = True

    def __init__(self, config: CrnnConfig, hints: Hints | None = None) -> None:
        super().__init__(config, hints, "crnn", ())
        channels = [1, *config.channels]
        self.blocks = nn.ModuleList(
            Block(before, after, config.kernel_size, config.batch_norm, 2**index < config.reduce)
            for index, (before, after) in enumerate(zip(channels, config.channels, strict=False))
        )
        height = -(-config.input_size // 2 ** len(config.channels))
        self.directions = 2 if config.bidirectional else 1
        width = self.directions * config.hidden_size
        sizes = [channels[-1] * height] + [width] * (config.num_layers - 1)
        self.layers = nn.ModuleList(
            RecurrentLayer(cell_of(config), size, config.hidden_size, config.bidirectional) for size in sizes
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(width, config.output_size + 1)

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """The height of a line, and its classes.

        Raises:
            UsageError: there are no transcripts, or x is anything but lines.
        """
        if data.task != "transcribe" or data.tokens:
            raise UsageError(f"the family 'crnn' learns transcripts (with y_lengths), but the data asks to {data.task}")
        if data.lengths is None or data.x.ndim != 3:
            raise UsageError(f"the family 'crnn' takes lines (n, time, height), but x has shape {data.x.shape}")
        return {"input_size": data.x.shape[2], "output_size": len(data.labels or ()), "task": "transcribe"}

    def standardise(self, data: Dataset) -> None:
        """Set mean and deviation of all pixels to the data's own.

        Raises:
            UsageError: every line has more labels than frames, so that there is nothing to learn.
        """
        if data.lengths is not None and data.y_lengths is not None:
            reduce, longest = self.config.reduce, int(data.lengths.max())
            if (-(-data.lengths // reduce) < data.y_lengths).all():
                raise UsageError(
                    f"no line has as many frames as labels: lines have up to {longest} steps, and reduce = {reduce} "
                    "makes one frame of so many steps; reduce less"
                )
        super().standardise(data)

    def forward(self, x: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """x: (batch, time, input_size), lengths: (batch,). Outputs by the signature's names."""
        y = masked(self.standardised(x)[:, None], lengths)
        for block in self.blocks:
            y, lengths = block(y, lengths)
        frames = y.permute(2, 0, 1, 3).flatten(2)
        for layer in self.layers:
            frames, _ = layer(self.dropout(frames), zero_states(self.config, self.directions, frames), lengths)
        logits = self.head(self.dropout(frames)).transpose(0, 1)
        labels, label_lengths = greedy(logits, lengths)
        return {"logits": logits, "labels": labels, "label_lengths": label_lengths}

    def signature(self) -> Signature:
        """What goes in and out, with the hints of the training data."""
        classes = self.config.output_size + 1
        return Signature(
            inputs=(
                TensorSpec("x", "float32", (BATCH, TIME, self.config.input_size), draw=self.drawn("x")),
                TensorSpec("lengths", "int64", (BATCH,), of="x"),
            ),
            outputs=(
                TensorSpec("logits", "float32", (BATCH, FRAMES, classes), "sequence", decision="argmax"),
                TensorSpec("labels", "int64", (BATCH, FRAMES), "sequence"),
                TensorSpec("label_lengths", "int64", (BATCH,), "sequence"),
            ),
            limits={TIME: Limit(1, None), BATCH: Limit(1, None)},
            typical=dict(self.hints.typical),
            reason="its convolutions look ahead along the line",
            derived={FRAMES: (TIME, self.config.reduce, 0)},
        )

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The CTC loss a label, averaged over lines."""
        frames = -(-batch["lengths"] // self.config.reduce)
        return ctc_loss(outputs["logits"], frames, batch["y"], batch["y_lengths"])

    def metrics(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """`sequence_accuracy`, `edits` and `symbols`, see `edit_figures`."""
        read, truth = zip(*_transcripts(outputs, batch), strict=True)
        return edit_figures(read, [[each] for each in truth])

    def decisions(self, outputs: Outputs, batch: Batch) -> None:
        """None: what is read cannot be set beside the truth one by one."""
        return


def masked(x: Tensor, lengths: Tensor) -> Tensor:
    """The same with zeros behind each row's end. x: (batch, channels, steps, height); lengths: int64 (batch,)."""
    valid = torch.arange(x.shape[2], device=x.device) < lengths[:, None]
    return torch.where(valid[:, None, :, None], x, x.new_zeros(()))


def _transcripts(outputs: Outputs, batch: Batch) -> Any:
    """What was read and what is true, row by row, as lists of classes."""
    for labels, count, y, length in zip(
        outputs["labels"], outputs["label_lengths"], batch["y"], batch["y_lengths"], strict=True
    ):
        yield labels[:count].tolist(), y[:length].tolist()
