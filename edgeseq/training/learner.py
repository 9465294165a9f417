"""A network as pytorch-lightning trains it: loss, optimiser, schedule, carried states, and disturbed inputs."""

from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor
from torch.nn import functional as F

from edgeseq.nn import Network
from edgeseq.recipe import TrainTable
from edgeseq.training.batches import CONTINUES, mix


class Learner(lightning.LightningModule):  # type: ignore[misc]  # it has no types
    """Trains `network` by a recipe's `train` table. steps: how many updates there will be at most."""

    def __init__(self, network: Network, table: TrainTable, steps: int) -> None:
        super().__init__()
        self.network = network
        self._table = table
        self._steps = steps
        self._states = network.signature().states
        self._carried: dict[str, Tensor] = {}

    def configure_optimizers(self) -> Any:
        """AdamW (Loshchilov and Hutter 2019); one-cycle schedule (Smith and Topin 2018) if asked for."""
        rate = self._table.learning_rate
        optimiser = torch.optim.AdamW(self.network.parameters(), lr=rate, weight_decay=self._table.weight_decay)
        if self._table.schedule == "constant":
            return optimiser
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=self._steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Let a step's dropout and noise depend on its number alone: a resumed training repeats them."""
        torch.manual_seed(mix(self._table.seed + 1, self.global_step))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The loss of a batch with noise; a batch that continues the last starts from its states."""
        batch = {**batch, "x": self._disturb(batch["x"])}
        states = self._carried if CONTINUES in batch else {}
        outputs = self.network(**self.network.inputs(batch), **states)
        if self._table.truncate is not None:
            self._carried = {state.input: outputs[state.output].detach() for state in self._states}
        return self.network.loss(outputs, batch)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the loss of a batch as `validation_loss`."""
        outputs = self.network(**self.network.inputs(batch))
        self.log("validation_loss", self.network.loss(outputs, batch), batch_size=len(batch["x"]))

    def _disturb(self, x: Tensor) -> Tensor:
        """Add noise to values and an offset to sequences, and move images. x: float32 (batch, …), or tokens."""
        if not x.is_floating_point():
            return x
        deviation = self.network.x_deviation
        if self._table.noise:
            x = x + self._table.noise * deviation * torch.randn_like(x)
        if self._table.offset:
            x = x + self._table.offset * deviation * torch.randn_like(x[:, :1])
        return _moved(x, self._table.shift) if self._table.shift else x


def _moved(x: Tensor, most: int) -> Tensor:
    """Each image (batch, …, height, width) moved by up to `most` pixels, with what its edge shows behind it."""
    images = x.reshape(len(x), -1, *x.shape[-2:])
    padded = F.pad(images, (most, most, most, most), mode="replicate")
    down, right = torch.randint(0, 2 * most + 1, (2, len(x), 1), device=x.device)
    rows = down + torch.arange(x.shape[-2], device=x.device)
    columns = right + torch.arange(x.shape[-1], device=x.device)
    each = torch.arange(len(x), device=x.device)[:, None, None]
    return padded[each, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1).reshape(x.shape)
