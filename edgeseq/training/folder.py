"""The folder a training leaves behind: checkpoint, recipe, sample, figures and card."""

import io
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgeseq_runtime import __version__
from edgeseq_runtime.atomic import write_bytes

from edgeseq import checkpoint
from edgeseq.data import Dataset, Parts
from edgeseq.data.dataset import Array
from edgeseq.json_text import to_text
from edgeseq.nn import Autoencoder, Network, with_settings
from edgeseq.recipe import Recipe
from edgeseq.training.batches import Batches
from edgeseq.training.card import card
from edgeseq.training.examples import examples
from edgeseq.training.pictures import Picture

METRICS_VERSION = 1

_SAMPLES = 8


@dataclass(frozen=True)
class Outcome:
    """A finished training. confusion: int64 (classes, classes) on the test part; None for a forecast.

    pictures: by file name.
    """

    network: Network
    parts: Parts
    metrics: Mapping[str, Any]
    confusion: Array | None
    pictures: Mapping[str, Picture] = field(default_factory=dict)


def write_folder(folder: Path, recipe: Recipe, outcome: Outcome) -> Path:
    """Write everything, each file atomically; returns the path of the checkpoint, FAMILY.pt."""
    path = folder / f"{recipe.export.stem or recipe.model.family}.pt"
    metrics = {name: value for name, value in outcome.metrics.items() if name != "seconds"}
    sample = _sample(outcome.network, outcome.parts.test, recipe.export.part)
    files = {"sample.npz": sample, **_figures(folder, recipe, outcome)}
    files |= {name: picture.content for name, picture in outcome.pictures.items()}
    if recipe.text is None or recipe.folder.resolve() != folder.resolve():
        files["recipe.toml"] = _recipe_text(recipe, folder).encode()
    checkpoint.save(path, outcome.network, metrics, _provenance(recipe, outcome.parts, metrics["seed"]))
    _write(folder, files)
    return path


def write_figures(folder: Path, recipe: Recipe, outcome: Outcome) -> None:
    """Write metrics.json and card.md alone: the network is there already, and more is known of it."""
    _write(folder, _figures(folder, recipe, outcome))


def _figures(folder: Path, recipe: Recipe, outcome: Outcome) -> dict[str, bytes]:
    text = to_text({"version": METRICS_VERSION, **outcome.metrics}, indent=2)
    shown = examples(outcome.network, outcome.parts.test)
    told = card(folder.name, recipe, outcome.parts, outcome.metrics, outcome.confusion, shown, outcome.pictures)
    return {"metrics.json": text.encode() + b"\n", "card.md": told.encode()}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        write_bytes(folder / name, content)


def _provenance(recipe: Recipe, parts: Parts, seed: int) -> dict[str, Any]:
    """How the checkpoint came to be; of the user's own file only its name, no path of this machine."""
    named = recipe if recipe.data.path is None else recipe.with_data_path(Path(recipe.data.path).name)
    return {
        "edgeseq": __version__,
        "torch": str(torch.__version__),
        "recipe": named.text or named.to_toml(),
        "data": {"name": parts.about.name, "sha256": parts.about.sha256},
        "seed": seed,
        "export": asdict(recipe.export),
    }


def _recipe_text(recipe: Recipe, folder: Path) -> str:
    """The recipe as it took effect; a relative data path is made to start in its new place."""
    if recipe.data.path is not None:
        moved = os.path.relpath(recipe.folder / recipe.data.path, folder)
        recipe = recipe.with_data_path(Path(moved).as_posix())
    return recipe.text or recipe.to_toml()


def _sample(network: Network, test: Dataset, part: str | None) -> bytes:
    """A few test examples, evenly spread: the network's own inputs by name, and y. part: of an autoencoder."""
    if isinstance(network, Autoencoder):
        network = with_settings(network, {"part": part or "full"})
    test = network.examples(test) if not network.signature().streamable else test
    rows = np.unique(np.linspace(0, len(test) - 1, _SAMPLES).astype(int))
    (batch,) = Batches(test.rows(rows), _SAMPLES)
    kept = {"y": batch["y"], **({"y_lengths": batch["y_lengths"]} if "y_lengths" in batch else {})}
    with torch.no_grad():  # a decoder's input is what the encoder gives
        given = network.inputs(batch)
    ragged = "lengths" in batch and bool((batch["lengths"] < batch["x"].shape[1]).any())
    if network.signature().streamable and ragged:  # of scores of windows too, which take no lengths
        given.setdefault("lengths", batch["lengths"] // getattr(network.config, "hop", 1))
    arrays = {name: tensor.numpy() for name, tensor in {**given, **kept}.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
