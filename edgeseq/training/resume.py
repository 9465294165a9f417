"""The state a killed training resumes from: one file beside the results, gone when training is done."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from edgeseq_runtime.atomic import replacing

from edgeseq.recipe import Recipe

_KEY = "edgeseq"


@dataclass(frozen=True)
class Resumed:
    """A state that was found. phase: which fit; epochs: finished in it; notes: what earlier fits found."""

    phase: str
    epochs: int
    notes: Mapping[str, Any]


class ResumeFile:
    """`.resume-SEED.ckpt` of a folder, for one recipe, data and device; another's state is never resumed.

    kept: whether there is to be such a file at all.
    """

    def __init__(self, folder: Path, recipe: Recipe, data_sha256: str, device: str, kept: bool = True) -> None:
        self._kept = kept
        self.path = folder / f".resume-{recipe.train.seed}.ckpt"
        # the export and expect tables say nothing of training
        decisive = [asdict(recipe.model), asdict(recipe.data), asdict(recipe.train), data_sha256, device]
        self._fingerprint = sha256(repr(decisive).encode()).hexdigest()

    def find(self) -> Resumed | None:
        """The state of a run of the same recipe that did not end, if there is one that can be read."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of foreign files
                state = torch.load(self.path, map_location="cpu", weights_only=True)
            mark = state[_KEY]
            if mark["fingerprint"] != self._fingerprint:
                return None
            return Resumed(mark["phase"], int(mark["epochs"]), mark["notes"])
        except Exception:  # noqa: BLE001  whatever is wrong with the file, training from the start is right
            return None

    def keep(self, trainer: lightning.Trainer) -> None:
        """Write the trainer's state, atomically; `mark` must have been put into it by a callback."""
        if self._kept:
            with replacing(self.path) as temporary:
                trainer.save_checkpoint(temporary)

    def mark(self, phase: str, epochs: int, notes: Mapping[str, Any]) -> dict[str, Any]:
        """What `find` looks for in a state, as an entry of its dict."""
        return {_KEY: {"fingerprint": self._fingerprint, "phase": phase, "epochs": epochs, "notes": dict(notes)}}

    def remove(self) -> None:
        """The training is done."""
        self.path.unlink(missing_ok=True)
