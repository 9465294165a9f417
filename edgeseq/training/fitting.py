"""One fit: a network, a training part and perhaps a validation part, through a silent Lightning trainer."""

import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from edgeseq_runtime.errors import MissingError, UsageError

from edgeseq.data import Dataset
from edgeseq.nn import Network
from edgeseq.recipe import TrainTable
from edgeseq.training.batches import Batches
from edgeseq.training.callbacks import Bar, Best, KeepState
from edgeseq.training.learner import Learner
from edgeseq.training.resume import ResumeFile

_LOGGERS = ("pytorch_lightning", "lightning_fabric", "pytorch_lightning.utilities.rank_zero")


@dataclass(frozen=True)
class Fit:
    """What to fit and how. phase: its name; validation: None where the number of epochs is decided."""

    phase: str
    table: TrainTable
    train: Dataset
    validation: Dataset | None
    device: str
    progress: bool

    @property
    def steps(self) -> int:
        """Updates, if it runs to its end."""
        return sum(len(self.batches(partial(int, epoch))) for epoch in range(self.table.epochs))

    def batches(self, epoch: Callable[[], int]) -> Batches:
        """The training part as the epoch orders it."""
        table = self.table
        return Batches(self.train, table.batch_size, table.seed, epoch, table.truncate, table.bucket)


def choose_device(name: str) -> str:
    """Where to train, cpu or cuda; auto takes cuda where there is one. Raises MissingError, UsageError."""
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device '{name}' is not known; choose auto, cpu or cuda")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise MissingError("'cuda' was asked for, but PyTorch finds no CUDA device here; pass --device cpu or auto")
    return "cuda" if available and name != "cpu" else "cpu"


@dataclass(frozen=True)
class Fitted:
    """ran: epochs there were; best: which epoch's weights are kept; early: whether patience ended it."""

    ran: int
    best: int
    early: bool


def fit(plan: Fit, network: Network, file: ResumeFile, notes: Mapping[str, Any], resume: bool) -> Fitted:
    """Fit the network in place; leave it on the CPU, in eval mode, and with a validation part at its best.

    Args:
        file: where the state is kept after each epoch. notes: kept with it. resume: go on from the state
        there.
    """
    best = Best(plan.table.patience)
    callbacks: list[lightning.Callback] = [KeepState(file, plan.phase, notes)]
    if plan.validation is not None:
        callbacks.append(best)
    if plan.progress:
        callbacks.append(Bar(plan.phase))
    with _quiet(), _interruptible():
        trainer = _trainer(plan, callbacks, file.path.parent)
        train = plan.batches(lambda: int(trainer.current_epoch))
        validation = None if plan.validation is None else Batches(plan.validation, 256)
        learner = Learner(network, plan.table, plan.steps)
        trainer.fit(learner, train, validation, ckpt_path=str(file.path) if resume else None)
    network.cpu().eval()
    if plan.validation is None:
        return Fitted(plan.table.epochs, plan.table.epochs, early=False)
    if not best.weights:
        raise UsageError("the validation loss was never a number; lower train.learning_rate, or look at the data")
    network.load_state_dict(best.weights)
    return Fitted(best.ran, best.epochs, best.exhausted)


def _trainer(plan: Fit, callbacks: Sequence[lightning.Callback], folder: Path) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="gpu" if plan.device == "cuda" else "cpu",
        devices=1,
        max_epochs=plan.table.epochs,
        gradient_clip_val=plan.table.clip,
        callbacks=list(callbacks),
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,  # an epoch of truncated rows has a length of its own
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's log lines, tips and warnings off the terminal."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C be a KeyboardInterrupt: Lightning makes it a sys.exit, and ignores the next ones."""
    try:
        before = signal.getsignal(signal.SIGINT)
        yield
    except SystemExit as error:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from error
