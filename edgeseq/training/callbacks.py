"""What happens between epochs: the best weights are kept, a state to resume from, and progress is shown."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as lightning
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from edgeseq.training.learner import Learner
from edgeseq.training.resume import ResumeFile


class Best(lightning.Callback):  # type: ignore[misc]  # it has no types
    """Keeps the weights of the lowest validation loss; stops after `patience` epochs without a lower one.

    epochs: how many epochs led to `weights`. ran: how many there were.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.loss = float("inf")
        self.epochs = self.ran = 0
        self.weights: dict[str, Tensor] = {}

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.ran - self.epochs >= self.patience

    def on_train_start(self, trainer: lightning.Trainer, learner: Learner) -> None:
        """Stop at once where a resumed training had already run out of patience."""
        trainer.should_stop = self.exhausted

    def on_validation_end(self, trainer: lightning.Trainer, learner: Learner) -> None:
        """Compare this epoch with the best."""
        loss = float(trainer.callback_metrics["validation_loss"])
        self.ran = trainer.current_epoch + 1
        if loss < self.loss:
            self.loss, self.epochs = loss, self.ran
            self.weights = {k: v.detach().cpu().clone() for k, v in learner.network.state_dict().items()}
        trainer.should_stop = self.exhausted

    def state_dict(self) -> dict[str, Any]:
        """For the state to resume from."""
        return {"loss": self.loss, "epochs": self.epochs, "ran": self.ran, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Read what `state_dict` wrote."""
        self.loss, self.weights = state_dict["loss"], state_dict["weights"]
        self.epochs, self.ran = state_dict["epochs"], state_dict["ran"]


class KeepState(lightning.Callback):  # type: ignore[misc]
    """Keeps the state after every epoch. phase, notes: which fit it is, and what earlier ones found."""

    def __init__(self, file: ResumeFile, phase: str, notes: Mapping[str, Any]) -> None:
        self._file, self._phase, self._notes = file, phase, notes

    def on_train_epoch_end(self, trainer: lightning.Trainer, learner: Learner) -> None:
        """Keep weights, optimiser, schedule and the best so far."""
        self._file.keep(trainer)

    def on_save_checkpoint(self, trainer: lightning.Trainer, learner: Learner, checkpoint: dict[str, Any]) -> None:
        """Say whose state it is."""
        checkpoint.update(self._file.mark(self._phase, trainer.current_epoch + 1, self._notes))


class Bar(lightning.Callback):  # type: ignore[misc]
    """A progress bar over the epochs, on standard error. label: what is going on."""

    def __init__(self, label: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task(label)

    def on_train_start(self, trainer: lightning.Trainer, learner: Learner) -> None:
        """Show the bar, from where a resumed training goes on."""
        self._progress.update(self._task, total=trainer.max_epochs, completed=trainer.current_epoch)
        self._progress.start()

    def on_train_epoch_end(self, trainer: lightning.Trainer, learner: Learner) -> None:
        """One epoch on."""
        self._progress.advance(self._task)

    def on_train_end(self, trainer: lightning.Trainer, learner: Learner) -> None:
        """Leave the bar as it is."""
        self._progress.stop()

    def on_exception(self, trainer: lightning.Trainer, learner: Learner, exception: BaseException) -> None:
        """Give the terminal back."""
        self._progress.stop()
