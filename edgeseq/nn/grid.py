"""The grid family: a recurrent network that sweeps an image in four directions, rows first and then columns.

Graves, Fernández and Schmidhuber, "Multi-Dimensional Recurrent Neural Networks", 2007, for the idea of recurrence along
both axes; Visin et al., "ReNet: A Recurrent Neural Network Based Alternative to Convolutional Networks", 2015, for this
construction of it from one-dimensional sweeps.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from edgeseq_export.ops import RecurrentLayer
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, Limit, Signature
from edgeseq_runtime.signature import Tensor as TensorSpec
from torch import Tensor, nn
from torch.nn import functional as F

from edgeseq.data import Dataset
from edgeseq.nn.cells import cell_of, zero_states
from edgeseq.nn.family import Hints
from edgeseq.nn.network import Network, check_choice, check_common, check_positive, one_answer

HEIGHT, WIDTH = "height", "width"


@dataclass(frozen=True)
class GridConfig:
    """How a grid network is built.

    output_size: classes, or values to forecast. task: "classify" gives logits and probabilities, "forecast" values.
    cell, nonlinearity: the recurrence of every sweep; the nonlinearity is of the plain RNN alone.
    hidden_size: of one direction. num_layers: how often rows and then columns are swept.
    patch_size: so many by so many pixels are one step of the first sweep.
    pooling: the answer is made from the mean over the last sweep, or from the ends of its columns, averaged over them.
    standardise: whether pixels (and forecast values) are standardised in the network, all pixels alike.
    typical_height, typical_width: of the images trained on; it takes others too.
    """

    output_size: int
    cell: Literal["rnn", "lstm", "gru"] = "gru"
    hidden_size: int = 48
    num_layers: int = 1
    patch_size: int = 1
    nonlinearity: Literal["tanh", "relu", "sigmoid"] = "tanh"
    dropout: float = 0.0
    pooling: Literal["mean", "ends"] = "mean"
    task: Literal["classify", "forecast"] = "classify"
    standardise: bool = True
    typical_height: int = 28
    typical_width: int = 28

    def __post_init__(self) -> None:
        check_common(self)
        check_choice("cell", self.cell, ("rnn", "lstm", "gru"))
        check_choice("nonlinearity", self.nonlinearity, ("tanh", "relu", "sigmoid"))
        check_choice("pooling", self.pooling, ("mean", "ends"))
        check_positive(self, "hidden_size", "num_layers", "patch_size", "typical_height", "typical_width")


class Grid(Network):
    """Pairs of bidirectional recurrent layers over an image, between standardisation and a head.

    Input: `x` float32 (batch, height, width), of any height and width; behind the lower and the right edge zeros are
    added where the patch size does not divide them.
    """

    timeless: ClassVar[bool] = True

    def __init__(self, config: GridConfig, hints: Hints | None = None) -> None:
        super().__init__(config, hints, "grid", ())
        cell, width = cell_of(config), 2 * config.hidden_size
        sizes = [config.patch_size**2] + [width] * (config.num_layers - 1)
        self.rows = nn.ModuleList(RecurrentLayer(cell, size, config.hidden_size, bidirectional=True) for size in sizes)
        self.columns = nn.ModuleList(RecurrentLayer(cell, width, config.hidden_size, bidirectional=True) for _ in sizes)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(width, config.output_size)

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """Classes or values, and how large images are.

        Raises:
            UsageError: anything but images of one channel with one answer each.
        """
        if data.tokens or data.x.ndim != 3:
            raise UsageError(f"the family 'grid' takes images (batch, height, width), but x has shape {data.x.shape}")
        one_answer(data)
        return {**super().sizes(data), "typical_height": data.x.shape[1], "typical_width": data.x.shape[2]}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """x: (batch, height, width). Outputs by the signature's names."""
        grid = self._patches(x)
        for index, (rows, columns) in enumerate(zip(self.rows, self.columns, strict=True)):
            across, _ = self._sweep(rows, self.dropout(grid) if index else grid)
            down, ends = self._sweep(columns, self.dropout(across.transpose(0, 1)))
            grid = down.transpose(0, 1)
        pooled = grid.mean((0, 1)) if self.config.pooling == "mean" else ends.mean(0)
        return self.answer(self.head(self.dropout(pooled)))

    def signature(self) -> Signature:
        """What goes in and out, with the hints of the training data."""
        return Signature(
            inputs=(TensorSpec("x", "float32", (BATCH, HEIGHT, WIDTH), draw=self.drawn("x")),),
            outputs=self.answers("sequence"),
            limits={axis: Limit(1, None) for axis in (BATCH, HEIGHT, WIDTH)},
            typical={BATCH: 1, HEIGHT: self.config.typical_height, WIDTH: self.config.typical_width},
            reason="it sweeps the image in all four directions, so it needs the whole",
        )

    def _patches(self, x: Tensor) -> Tensor:
        """An image (batch, height, width) as steps of the first sweep: (columns, rows, batch, pixels of a patch)."""
        size = self.config.patch_size
        padded = self.standardised(F.pad(x, (0, -x.shape[2] % size, 0, -x.shape[1] % size)))
        patches = torch.unflatten(torch.unflatten(padded, 2, (-1, size)), 1, (-1, size))
        return patches.permute(3, 1, 0, 2, 4).flatten(3)  # from (batch, rows, size, columns, size)

    def _sweep(self, layer: nn.Module, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Run both directions along the first axis of a grid; the lines beside each other are rows of one batch.

        grid: (steps, lines, batch, features). Returns: the same with 2 · hidden_size features; and the states after
        each direction's last step, (lines, batch, 2 · hidden_size).
        """
        steps, lines, batch, features = grid.shape
        flat = grid.reshape(steps, lines * batch, features)
        y, last = layer(flat, zero_states(self.config, 2, flat))
        ends = torch.cat([last[0][0], last[0][1]], -1)
        return y.reshape(steps, lines, batch, -1), ends.reshape(lines, batch, -1)
