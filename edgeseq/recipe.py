"""Recipes: the schema of recipe.toml, its overrides (--set KEY=VALUE), and its text."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

from edgeseq_runtime.errors import FileError, MissingFileError, UsageError

from edgeseq import schema
from edgeseq.ranges import Choices, Range, distinct, parse
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
    bucket: the examples of so many batches are sorted by length before they are cut into batches, so that each batch
        holds sequences of about one length; 0: they are not. (Of targets where these have lengths.)
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
    bucket: Annotated[int, NOT_NEGATIVE] = 0
    patience: Count = 20
    refit: bool = False
    repeats: Count = 1
    seed: Seed = 0


@dataclass(frozen=True)
class ExportTable:
    """How the trained network is written as ONNX.

    recurrence: the form; the family's own where left out. steps: of the unroll form; where left out the median length,
        for networks that cannot stream the longest.
    part: of an autoencoder, what is written; all of it where left out. stem: the name of checkpoint and file, without
        its suffix; the family's where left out.
    """

    recurrence: Literal["native", "loop", "unroll"] | None = None
    steps: Count | None = None
    part: Literal["full", "encoder", "decoder", "score"] | None = None
    stem: str | None = None
    opset: Count = 18


@dataclass(frozen=True)
class ExpectTable:
    """What the test part must show: at least an accuracy (of answers, or of whole sequences), at most an error.

    test_relative_mae: the mean absolute error, in units of the naive forecast's. test_bits: bits a symbol.
    test_nrmse: the root mean squared error, in units of the values' deviation.
    test_valid_time: at least so many Lyapunov times pass until a free run goes astray.
    test_rebuild_error: the mean squared error of what an autoencoder rebuilds. test_psnr_gain: decibels that it gains
        on a corrupted input. test_bound: the evidence bound at the code's mean, with bce in nats.
    test_event_recall, test_lowest_event_recall, test_peak_distance, test_normal_alarm_share, test_false_alarms_a_week:
        of its alarms, see edgeseq.training.alarms.
    """

    test_accuracy: float | None = None
    test_sequence_accuracy: float | None = None
    test_mae: float | None = None
    test_relative_mae: float | None = None
    test_bits: float | None = None
    test_rmse: float | None = None
    test_nrmse: float | None = None
    test_valid_time: float | None = None
    test_rebuild_error: float | None = None
    test_psnr_gain: float | None = None
    test_bound: float | None = None
    test_event_recall: float | None = None
    test_lowest_event_recall: float | None = None
    test_peak_distance: float | None = None
    test_normal_alarm_share: float | None = None
    test_false_alarms_a_week: float | None = None


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
    "rmse": Figure("root mean squared error", False, ("forecast",)),
    "nrmse": Figure("root mean squared error, in units of the values' deviation,", False, ("forecast",)),
    "valid_time": Figure("Lyapunov times until a free run goes astray (median)", True, ("forecast",)),
    "rebuild_error": Figure("mean squared error of what is rebuilt", False, ("classify", "forecast")),
    "psnr_gain": Figure("decibels gained on the corrupted input", True, ("classify", "forecast")),
    "bound": Figure("evidence bound", True, ("classify", "forecast")),
    "event_recall": Figure("share of the anomalies that are found", True, ("classify",)),
    "lowest_event_recall": Figure("share of the anomalies of a kind that are found, of the worst", True, ("classify",)),
    "peak_distance": Figure("steps from the highest score to the nearest anomaly", False, ("classify",)),
    "normal_alarm_share": Figure("share of normal steps that alarm", False, ("classify",)),
    "false_alarms_a_week": Figure("false alarms a week", False, ("classify",)),
}
"""Those that a recipe can expect, by their name in metrics.json; the table `expect` puts `test_` before it."""


@dataclass(frozen=True)
class HeadTable:
    """labels: how many labelled training examples the classifier on an autoencoder's codes is fitted to."""

    labels: Count


@dataclass(frozen=True)
class TuneTable:
    """What `--tune` searches, and how a setting is judged: by the mean of a figure over the parts held out.

    ranges: by setting of the model, or "train.KEY". folds: the examples that are not for the test are cut into so
        many, each held out once; 1: only the validation part is. seeds: so many networks a fold.
    metric: "loss", or a name of FIGURES.
    """

    ranges: Mapping[str, Range | Choices] = field(default_factory=dict)
    folds: Count = 5
    seeds: Count = 1
    metric: str = "loss"

    @property
    def more_is_better(self) -> bool:
        """Whether the search looks for the largest figure, and not for the smallest."""
        return self.metric in FIGURES and FIGURES[self.metric].at_least

    def plain(self) -> dict[str, Any]:
        """As a recipe writes it."""
        searched = {key: one.plain() for key, one in self.ranges.items()}
        return {**searched, "folds": self.folds, "seeds": self.seeds, "metric": self.metric}


@dataclass(frozen=True)
class CompareTable:
    """Which settings of the model are tried beside the recipe's own, every combination of them."""

    settings: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As a recipe writes it."""
        return {key: list(values) for key, values in self.settings.items()}


_TRAIN = "train."


@dataclass(frozen=True)
class Recipe:
    """A whole recipe. folder: where relative data paths start; text: the file's own, None once overridden."""

    model: ModelTable
    data: DataTable
    train: TrainTable = TrainTable()
    export: ExportTable = ExportTable()
    expect: ExpectTable = ExpectTable()
    tune: TuneTable | None = None
    compare: CompareTable = CompareTable()
    folder: Path = Path()
    text: str | None = None

    def to_toml(self) -> str:
        """The recipe with every value in effect, one table a line; values that are not set are left out."""
        model = {"family": self.model.family, **self.model.settings}
        tables = {name: asdict(getattr(self, name)) for name in ("data", "train", "export", "expect")}
        if self.tune is not None:
            tables["tune"] = self.tune.plain()
        if self.compare.settings:
            tables["compare"] = self.compare.plain()
        lines = [f"{name:6} = {_inline(values)}" for name, values in {"model": model, **tables}.items()]
        return "\n".join(lines) + "\n"

    def with_data_path(self, path: str) -> "Recipe":
        """The same recipe with its data looked for at `path`."""
        return replace(self, data=replace(self.data, path=path), text=None)

    def with_settings(self, settings: Mapping[str, Any]) -> "Recipe":
        """The same recipe with other values: settings of the model by their names, those of training as "train.KEY"."""
        training = {key.removeprefix(_TRAIN): value for key, value in settings.items() if key.startswith(_TRAIN)}
        model = {key: value for key, value in settings.items() if not key.startswith(_TRAIN)}
        table = replace(self.model, settings={**self.model.settings, **model})
        return replace(self, model=table, train=replace(self.train, **training), text=None)


def load(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; a folder stands for the recipe.toml inside it.

    Args:
        overrides: KEY=VALUE with a dotted key ("train.epochs=5"), the value read as TOML or else as text. Other
            data (data.path, data.source) leaves out what the recipe expects of its own, and what it compares.

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
        for name in ("expect", "compare"):  # what the recipe expects and compares is of its own data
            tables.pop(name, None)
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
    known = ("model", *kinds, "tune", "compare", "head")
    if unknown := [name for name in tables if name not in known]:
        raise UsageError(f"{file} has the unknown table '{unknown[0]}'; known are {', '.join(known)}")
    if wrong := [name for name, table in tables.items() if not isinstance(table, dict)]:
        raise UsageError(f"'{wrong[0]}' of {file} is {tables[wrong[0]]!r}, but it must be a table of keys and values")
    settings = dict(tables.get("model", {}))
    family = settings.pop("family", None)
    if not isinstance(family, str):
        raise UsageError(f"table 'model' of {file} lacks the key 'family', such as \"lstm\"")
    if "head" in tables:
        settings["head_labels"] = schema.build(HeadTable, tables["head"], f"table 'head' of {file}").labels
    parts: dict[str, Any] = {
        name: schema.build(kind, tables.get(name, {}), f"table '{name}' of {file}") for name, kind in kinds.items()
    }
    if "tune" in tables:
        parts["tune"] = _tune(tables["tune"], f"table 'tune' of {file}")
    parts["compare"] = _compare(tables.get("compare", {}), f"table 'compare' of {file}")
    recipe = Recipe(ModelTable(family, settings), folder=folder, text=text, **parts)
    if (recipe.data.source is None) == (recipe.data.path is None):
        raise UsageError(f"table 'data' of {file} needs a 'source' or a 'path', and not both")
    return recipe


def _tune(table: Mapping[str, Any], where: str) -> TuneTable:
    reserved = [f.name for f in fields(TuneTable) if f.name != "ranges"]
    found = schema.build(TuneTable, {key: table[key] for key in reserved if key in table}, where)
    if found.metric not in ("loss", *FIGURES):
        raise UsageError(f"'metric' of {where} is {found.metric!r}, but it must be loss or {', '.join(FIGURES)}")
    searched = {key: value for key, value in table.items() if key not in reserved}
    if not searched:
        raise UsageError(f"{where} has no setting to search, such as hidden_size = [32, 128]")
    for key in searched:
        _check_searched(key, where)
    return replace(found, ranges={key: parse(value, f"'{key}' of {where}") for key, value in searched.items()})


def _check_searched(key: str, where: str) -> None:
    """Raise UsageError for a dotted key that is none of training's; the family knows the others."""
    trained = [_TRAIN + f.name for f in fields(TrainTable) if f.name not in ("refit", "repeats", "seed")]
    if "." in key and key not in trained:
        raise UsageError(
            f"{where} has the unknown key '{key}'; known are the settings of the model, by their names alone, and "
            f"{', '.join(trained)}"
        )


def _compare(table: Mapping[str, Any], where: str) -> CompareTable:
    for key, values in table.items():
        if "." in key:
            raise UsageError(f"{where} has the unknown key '{key}'; compare is of settings of the model")
        if type(values) is not list or not values:
            raise UsageError(f"'{key}' of {where} is {values!r}, but it must be a list of the values to compare")
    return CompareTable({key: distinct(values, f"'{key}' of {where}") for key, values in table.items()})


def _override(tables: dict[str, Any], override: str) -> None:
    """Put one KEY=VALUE into the tables, in place."""
    key, equals, text = override.partition("=")
    table, dot, name = key.strip().partition(".")
    bare = name.removeprefix(_TRAIN) if table == "tune" else name  # tune.train.epochs is the key "train.epochs"
    if not (equals and dot and table and bare) or "." in bare:
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
    pairs = [f"{_key(key)} = {_toml(value)}" for key, value in values.items() if value is not None]
    return "{ " + ", ".join(pairs) + " }" if pairs else "{}"


def _key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _toml(value: Any) -> str:
    """A value as TOML: JSON's text is TOML's for strings, finite numbers and truth values."""
    if isinstance(value, Mapping):
        return _inline(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float) and not isfinite(value):
        return str(value)  # inf and nan, where JSON has Infinity and NaN
    return json.dumps(value, ensure_ascii=False)
