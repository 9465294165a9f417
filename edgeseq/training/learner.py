"""A network as pytorch-lightning trains it: loss, optimiser, schedule, and noise on the inputs."""

from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor

from edgeseq.nn import Recurrent
from edgeseq.recipe import TrainTable
from edgeseq.training.batches import mix


class Learner(lightning.LightningModule):  # type: ignore[misc]  # it has no types
    """Trains `network` by a recipe's `train` table. steps: how many updates there will be at most."""

    def __init__(self, network: Recurrent, table: TrainTable, steps: int) -> None:
        super().__init__()
        self.network = network
        self._table = table
        self._steps = steps

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
        """The loss of a batch with noise."""
        return self.network.loss({**batch, "x": self._disturb(batch["x"])})

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the loss of a batch as `validation_loss`."""
        self.log("validation_loss", self.network.loss(batch), batch_size=len(batch["x"]))

    def _disturb(self, x: Tensor) -> Tensor:
        """Add noise to values and an offset to sequences. x: float32 (batch, time, features), or tokens."""
        if not x.is_floating_point():
            return x
        deviation = self.network.x_deviation
        if self._table.noise:
            x = x + self._table.noise * deviation * torch.randn_like(x)
        if self._table.offset:
            x = x + self._table.offset * deviation * torch.randn_like(x[:, :1])
        return x
