"""Recipes: the schema of recipe.toml, its overrides (--set KEY=VALUE), and its text."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from edgeseq_runtime.errors import FileError, MissingFileError, UsageError

from edgeseq import schema
from edgeseq.schema import AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE, SHARE

Count = Annotated[int, AT_LEAST_ONE]
Seed = Annotated[int, NOT_NEGATIVE]
Share = Annotated[float, SHARE]
Positive = Annotated[float, POSITIVE]
NotNegative = Annotated[float, NOT_NEGATIVE]


@dataclass(frozen=True)
class ModelTable:
    """family: which network; settings: the family's own keys, checked when the network is built."""

    family: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataTable:
    """Where the data is and how it is divided: either a named source or a path.

    test: the share of examples put aside for the test. validation: the share of the rest on which training decides.
    Both are 0.2 unless the source has such a part of its own. seed: of both draws.
    """

    source: str | None = None
    path: str | None = None
    test: Share | None = None
    validation: Share | None = None
    seed: Seed = 0


@dataclass(frozen=True)
class TrainTable:
    """How the network is trained.

    epochs: at most so many. patience: epochs without a better validation loss before training stops early.
    schedule: the learning rate stays, or rises to its value and falls to zero over the epochs (one cycle).
    clip: the largest gradient norm.
    noise, offset: deviation of what is added to training inputs, to each value or the same to all steps of a
        sequence, in units of each feature's own deviation.
    shift: images are moved by up to so many pixels in each direction.
    truncate: backpropagate through at most so many steps; the states are carried on to the next ones.
    refit: train once more, on training and validation part: for all epochs, or where training was stopped
        early for as many as were best.
    repeats: train so many networks, with the seeds from `seed` on; figures are means over them, and the one kept is
        the one with the lowest validation loss.
    """

    epochs: Count = 60
    batch_size: Count = 32
    learning_rate: Positive = 0.003
    schedule: Literal["constant", "one-cycle"] = "constant"
    weight_decay: NotNegative = 0.01
    clip: Positive = 1.0
    noise: NotNegative = 0.0
    offset: NotNegative = 0.0
    shift: Annotated[int, NOT_NEGATIVE] = 0
    truncate: Count | None = None
    patience: Count = 20
    refit: bool = False
    repeats: Count = 1
    seed: Seed = 0


@dataclass(frozen=True)
class ExportTable:
    """How the trained network is written as ONNX. steps: of the unroll form; the median length where left out."""

    recurrence: Literal["native", "loop", "unroll"] = "native"
    steps: Count | None = None
    opset: Count = 18


@dataclass(frozen=True)
class ExpectTable:
    """What the test part must show: at least an accuracy (of answers, or of whole sequences), at most an error.

    test_relative_mae: the mean absolute error, in units of the naive forecast's. test_bits: bits a symbol.
    """

    test_accuracy: float | None = None
    test_sequence_accuracy: float | None = None
    test_mae: float | None = None
    test_relative_mae: float | None = None
    test_bits: float | None = None


@dataclass(frozen=True)
class Figure:
    """words: what it is. at_least: whether more is better, so that a recipe expects at least so much."""

    words: str
    at_least: bool
    tasks: tuple[str, ...]


FIGURES = {
    "accuracy": Figure("accuracy", True, ("classify",)),
    "sequence_accuracy": Figure("share of sequences that are right as a whole", True, ("transcribe",)),
    "mae": Figure("mean absolute error", False, ("forecast",)),
    "relative_mae": Figure("mean absolute error, relative to the naive forecast's,", False, ("forecast",)),
    "bits": Figure("bits a symbol", False, ("classify",)),
}
"""Those that a recipe can expect, by their name in metrics.json; the table `expect` puts `test_` before it."""


@dataclass(frozen=True)
class Recipe:
    """A whole recipe. folder: where relative data paths start; text: the file's own, None once overridden."""

    model: ModelTable
    data: DataTable
    train: TrainTable = TrainTable()
    export: ExportTable = ExportTable()
    expect: ExpectTable = ExpectTable()
    folder: Path = Path()
    text: str | None = None

    def to_toml(self) -> str:
        """The recipe with every value in effect, one table a line; values that are not set are left out."""
        model = {"family": self.model.family, **self.model.settings}
        tables = {name: asdict(getattr(self, name)) for name in ("data", "train", "export", "expect")}
        lines = [f"{name:6} = {_inline(values)}" for name, values in {"model": model, **tables}.items()]
        return "\n".join(lines) + "\n"

    def with_data_path(self, path: str) -> "Recipe":
        """The same recipe with its data looked for at `path`."""
        return replace(self, data=replace(self.data, path=path), text=None)


def load(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; a folder stands for the recipe.toml inside it.

    Args:
        overrides: KEY=VALUE with a dotted key ("train.epochs=5"), the value read as TOML or else as text. Other
            data (data.path, data.source) leaves out what the recipe expects of its own.

    Raises:
        MissingFileError: there is no such file. FileError: it is not TOML.
        UsageError: an unknown or missing key, a value of the wrong type or out of range, a malformed
        override.
    """
    file = Path(path) / "recipe.toml" if Path(path).is_dir() else Path(path)
    text = _read(file)
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileError(f"'{file}' is not TOML: {error}") from error
    if any(override.split("=")[0].strip() in ("data.path", "data.source") for override in overrides):
        tables.pop("expect", None)  # what the recipe expects, it expects of its own data
    for override in overrides:
        _override(tables, override)
    return _recipe(tables, str(file), file.parent, None if overrides else text)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no recipe '{file}'") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"the recipe '{file}' cannot be read: {error}") from error


def _recipe(tables: Mapping[str, Any], file: str, folder: Path, text: str | None) -> Recipe:
    kinds = {"data": DataTable, "train": TrainTable, "export": ExportTable, "expect": ExpectTable}
    if unknown := [name for name in tables if name not in ("model", *kinds)]:
        raise UsageError(f"{file} has the unknown table '{unknown[0]}'; known are model, {', '.join(kinds)}")
    if wrong := [name for name, table in tables.items() if not isinstance(table, dict)]:
        raise UsageError(f"'{wrong[0]}' of {file} is {tables[wrong[0]]!r}, but it must be a table of keys and values")
    settings = dict(tables.get("model", {}))
    family = settings.pop("family", None)
    if not isinstance(family, str):
        raise UsageError(f"table 'model' of {file} lacks the key 'family', such as \"lstm\"")
    parts: dict[str, Any] = {
        name: schema.build(kind, tables.get(name, {}), f"table '{name}' of {file}") for name, kind in kinds.items()
    }
    recipe = Recipe(ModelTable(family, settings), folder=folder, text=text, **parts)
    if (recipe.data.source is None) == (recipe.data.path is None):
        raise UsageError(f"table 'data' of {file} needs a 'source' or a 'path', and not both")
    return recipe


def _override(tables: dict[str, Any], override: str) -> None:
    """Put one KEY=VALUE into the tables, in place."""
    key, equals, text = override.partition("=")
    table, dot, name = key.strip().partition(".")
    if not (equals and dot and table and name) or "." in name:
        raise UsageError(f"--set {override!r} is not understood; write TABLE.KEY=VALUE, such as train.epochs=5")
    if not isinstance(tables.setdefault(table, {}), dict):
        raise UsageError(f"--set {override!r}: '{table}' is not a table")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # bare words need no quotes on a command line
    if (table, name) == ("data", "path"):
        value = str(Path(str(value)).absolute())  # a command line's paths start where it was typed
    if table == "data" and name in ("path", "source"):
        tables[table].pop("source" if name == "path" else "path", None)
    tables[table][name] = value


def _inline(values: Mapping[str, Any]) -> str:
    pairs = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
    return "{ " + ", ".join(pairs) + " }" if pairs else "{}"


def _toml(value: Any) -> str:
    """A value as TOML: JSON's text is TOML's for strings, numbers, truth values and arrays of them."""
    if isinstance(value, Mapping):
        return _inline(value)
    return json.dumps(value, ensure_ascii=False)
