"""Recipes: the schema, the overrides, and the errors that name the key."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from edgeseq_runtime.errors import FileError, MissingFileError, UsageError

from edgeseq import recipe
from edgeseq.nn import FAMILIES
from edgeseq.nn.autoencoder_config import CodeConfig
from edgeseq.ranges import Choices, Range
from edgeseq.recipe import Recipe

TEXT = """
model = { family = "lstm", hidden_size = 8, head = "last" }
data = { source = "japanese-vowels" }
train = { epochs = 3, learning_rate = 1 }
expect = { test_accuracy = 0.5 }
"""


def written(folder: Path, text: str = TEXT) -> Path:
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


def test_a_recipe_is_read_with_its_defaults(tmp_path: Path) -> None:
    read = recipe.load(written(tmp_path))
    assert (read.model.family, read.model.settings) == ("lstm", {"hidden_size": 8, "head": "last"})
    assert (read.train.epochs, read.train.learning_rate, read.train.batch_size) == (3, 1.0, 32)
    assert (read.export.recurrence, read.expect.test_accuracy, read.data.test) == (None, 0.5, None)
    assert (read.tune, read.compare.settings) == (None, {})
    assert read.text == TEXT
    assert recipe.load(tmp_path) == read  # a folder stands for the recipe inside it


@pytest.mark.parametrize(
    ("override", "table", "key", "expected"),
    [
        ("train.epochs=5", "train", "epochs", 5),
        ("train.learning_rate=1e-3", "train", "learning_rate", 0.001),
        ("train.refit=true", "train", "refit", True),
        ("train.schedule=one-cycle", "train", "schedule", "one-cycle"),
        ("export.opset=20", "export", "opset", 20),
        ("export.recurrence=loop", "export", "recurrence", "loop"),
        ("expect.test_mae=2", "expect", "test_mae", 2.0),
        ("expect.test_rmse=0.1", "expect", "test_rmse", 0.1),
        ("expect.test_nrmse=0.1", "expect", "test_nrmse", 0.1),
        ("expect.test_valid_time=5", "expect", "test_valid_time", 5.0),
        ("data.source=other", "data", "source", "other"),
    ],
)
def test_set_overrides_a_value(tmp_path: Path, override: str, table: str, key: str, expected: object) -> None:
    read = recipe.load(written(tmp_path), [override])
    assert getattr(getattr(read, table), key) == expected
    assert read.text is None


def test_set_reaches_the_family_and_swaps_the_data(tmp_path: Path) -> None:
    read = recipe.load(written(tmp_path), ["model.head=mean", "data.path=mine.csv"])
    assert read.model.settings["head"] == "mean"
    assert read.data.source is None
    assert read.data.path == str(Path.cwd() / "mine.csv")


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (TEXT, ["train.epohs=3"], "unknown key 'epohs'; known are epochs, batch_size"),
        (
            TEXT,
            ["trian.epochs=3"],
            "unknown table 'trian'; known are model, data, train, export, expect, tune, compare",
        ),
        (TEXT, ["train.epochs=0"], "'epochs' of table 'train'.* is 0, but it must be at least 1"),
        (TEXT, ["train.epochs=many"], "'epochs' .* is 'many', but it must be a whole number"),
        (TEXT, ["train.epochs=true"], "is True, but it must be a whole number"),
        (TEXT, ["train.learning_rate=nan"], "is nan, but it must be more than 0"),
        (TEXT, ["data.test=1.0"], "is 1.0, but it must be more than 0 and less than 1"),
        (TEXT, ["export.recurrence=scan"], "is 'scan', but it must be 'native'"),
        (TEXT, ["export.opset=0"], "'opset' .* at least 1"),
        (TEXT, ["epochs=3"], "write TABLE.KEY=VALUE, such as train.epochs=5"),
        (TEXT, ["train.epochs"], "write TABLE.KEY=VALUE"),
        (TEXT, ["train.a.b=1"], "write TABLE.KEY=VALUE"),
        (TEXT, ["tune.folds=3"], "table 'tune' .* has no setting to search, such as"),
        (TEXT, ["tune.folds=0"], "'folds' of table 'tune' .* is 0, but it must be at least 1"),
        (TEXT, ["tune.metric=speed"], "'metric' .* is 'speed', but it must be loss or accuracy, sequence_accuracy"),
        (TEXT, ["tune.hidden_size=8"], "'hidden_size' of table 'tune' .* is 8, but it must be a range such as"),
        (TEXT, ["tune.hidden_size=[8]"], r"is \[8\], but it must be a range .* a list of at least two choices"),
        (TEXT, ["tune.hidden_size=[8, 4]"], "runs from 8 to 4, but the first must be the smaller"),
        (TEXT, ["tune.dropout=[0.1, inf]"], "runs from 0.1 to inf, .* of two finite numbers"),
        (TEXT, ["tune.dropout={ low = 0.0, high = 1.0, log = true }"], "a logarithmic range must start above 0"),
        (TEXT, ["tune.dropout={ low = 0.1, high = 1.1, step = 1 }", "tune.x={ low = 1 }"], "lacks the key 'high'"),
        (TEXT, ["tune.dropout={ low = 0.1, high = 4.1, step = 2 }"], "by 2, but a step is for whole numbers"),
        (TEXT, ["tune.dropout={ low = 1, high = 4, step = 2 }"], "leading from the first to the last"),
        (TEXT, ["tune.dropout={ low = 1, hihg = 4 }"], "unknown key 'hihg'; known are low, high, log, step"),
        (TEXT, ['tune.head=["last", "mean", "last"]'], "'head' of table 'tune' .* names 'last' twice"),
        (TEXT + 'tune = { "train.epohs" = [1, 2] }', [], "unknown key 'train.epohs'; known are .* train.epochs"),
        (TEXT + 'tune = { "train.seed" = [1, 2] }', [], "unknown key 'train.seed'"),
        (TEXT, ["compare.head=last"], "'head' of table 'compare' .* is 'last', but it must be a list of the values"),
        (TEXT, ["compare.head=[]"], r"is \[\], but it must be a list of the values to compare"),
        (TEXT, ["compare.head=[1, 1]"], "'head' of table 'compare' .* names 1 twice"),
        (
            TEXT + 'compare = { "train.epochs" = [1] }',
            [],
            "unknown key 'train.epochs'; compare is of settings",
        ),
        (TEXT, ["tune.dropout=[0.1, 0.2, inf]"], "names inf, but a choice must be a finite number"),
        (TEXT, ["tune.train.=[1, 2]"], "write TABLE.KEY=VALUE"),
        (TEXT, ["tune.train.a.b=[1, 2]"], "write TABLE.KEY=VALUE"),
        ("tune = 3\n" + TEXT, [], "'tune' .* must be a table"),
        ("train = 3\n" + TEXT.replace("train =", "export ="), [], "'train' .* must be a table"),
        ('data = { source = "x" }', [], "lacks the key 'family'"),
        ('model = { family = "lstm" }', [], "needs a 'source' or a 'path'"),
        (TEXT.replace("source", 'path = "a.npz", source'), [], "needs a 'source' or a 'path', and not both"),
    ],
)
def test_a_wrong_recipe_names_its_key(tmp_path: Path, text: str, overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recipe.load(written(tmp_path, text), overrides)


def test_a_file_that_is_missing_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is no recipe"):
        recipe.load(tmp_path)
    with pytest.raises(FileError, match="is not TOML"):
        recipe.load(written(tmp_path, "model = {"))


SEARCHED = """
tune = { hidden_size = [4, 16], dropout = { low = 0.01, high = 0.5, log = true }, head = ["last", "mean"], folds = 3, "train.learning_rate" = [0.001, 0.1] }
compare = { head = ["last", "mean"], hidden_size = [4] }
"""  # noqa: E501


def test_what_is_searched_and_compared(tmp_path: Path) -> None:
    read = recipe.load(written(tmp_path, TEXT + SEARCHED), ["tune.num_layers=[1, 2, 3]"])
    assert read.tune is not None
    assert read.tune.ranges == {
        "hidden_size": Range(4, 16),
        "dropout": Range(0.01, 0.5, log=True),
        "head": Choices(("last", "mean")),
        "train.learning_rate": Range(0.001, 0.1),
        "num_layers": Choices((1, 2, 3)),
    }
    assert (read.tune.folds, read.tune.seeds, read.tune.metric) == (3, 1, "loss")
    assert read.compare.settings == {"head": ("last", "mean"), "hidden_size": (4,)}


@pytest.mark.parametrize(
    ("one", "inside", "outside"),
    [
        (Range(4, 16), [4, 9, 16], [3, 17, 4.0, 9.5, None, True]),
        (Range(0.5, 2.0), [0.5, 1, 2.0], [0.4, 3, None, "1"]),
        (Range(32, 96, step=32), [32, 64, 96], [33, 128]),
        (Choices(("last", "mean")), ["mean"], ["step", None]),
        (Choices((1, 2, 4)), [2], [3, 2.0, True]),
    ],
)
def test_what_a_range_holds(one: Range | Choices, inside: list[object], outside: list[object]) -> None:
    assert [value for value in [*inside, *outside] if one.holds(value)] == inside


def test_a_logarithmic_range_is_written_as_one(tmp_path: Path) -> None:
    read = recipe.load(written(tmp_path, TEXT + SEARCHED), ["tune.train.clip={ low = 0.1, high = 1.0, log = true }"])
    assert read.tune is not None
    assert read.tune.plain()["dropout"] == {"low": 0.01, "high": 0.5, "log": True}
    assert read.tune.ranges["train.clip"] == Range(0.1, 1.0, log=True)


def test_other_settings_for_model_and_training(tmp_path: Path) -> None:
    read = recipe.load(written(tmp_path)).with_settings({"head": "mean", "units": 3, "train.epochs": 7})
    assert read.model.settings == {"hidden_size": 8, "head": "mean", "units": 3}
    assert (read.train.epochs, read.train.learning_rate, read.text) == (7, 1.0, None)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.hidden_size=16", "train.clip=0.5", 'model.head="me\\"an"', "tune.x={ low = 2, high = 8, step = 3 }"),
        ("model.a=inf", "model.b=[1.0, -inf]", "compare.a=[inf, 0.5]", "tune.train.epochs=[1, 2]"),
    ],
)
def test_the_text_in_effect_reads_back_as_the_same_recipe(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    def tables(read: Recipe) -> list[object]:
        return [read.model, read.data, read.train, read.export, read.expect, read.tune, read.compare]

    first = recipe.load(written(tmp_path, TEXT + SEARCHED), overrides)
    again = recipe.load(written(tmp_path, first.to_toml()))
    assert tables(again) == tables(first)


def test_recipes_load_no_torch() -> None:
    code = "import sys, edgeseq.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_other_data_is_not_held_to_what_the_recipe_expects_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(TEXT + SEARCHED)
    other = recipe.load(tmp_path, ["data.path=mine.csv"])
    assert (other.compare.settings, other.tune is None) == ({}, False)
    assert recipe.load(tmp_path, ["data.path=mine.csv", "compare.x=[1]"]).compare.settings == {"x": (1,)}
    assert recipe.load(tmp_path, ["train.epochs=2"]).expect.test_accuracy == 0.5
    assert recipe.load(tmp_path, ["data.path=mine.csv"]).expect.test_accuracy is None
    assert recipe.load(tmp_path, ["expect.test_mae=3.0", "data.path=mine.csv"]).expect.test_mae == 3.0


DECIDED = {
    *("cell", "input_size", "output_size", "task", "vocabulary_size"),
    *("input_shape", "alphabet_size", "letters", "arity", "typical_height", "typical_width", "baseline"),
    *("stepwise", "support_vectors", "max_length", "classes"),
}
"""Keys that the data or the family's name decides; `cell` is a key of some families all the same."""


def test_the_page_names_every_key_and_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    told, first = {}, ""
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        first = cells[0] or first
        if line[:1] == "|" and len(cells) == 4:
            told[first, cells[1]] = cells[2]
    tables = {"data": recipe.DataTable, "train": recipe.TrainTable, "export": recipe.ExportTable}
    tables |= {"expect": recipe.ExpectTable, "tune": recipe.TuneTable}
    families = {"model" if name in ("rnn", "lstm", "gru") else name: entry.config for name, entry in FAMILIES.items()}
    families["ae"] = families.pop("vae")
    common = [field.name for field in dataclasses.fields(CodeConfig)]
    for table, kind in {**tables, "autoencoders": CodeConfig, **families}.items():
        for field in dataclasses.fields(kind):
            if kind is not CodeConfig and issubclass(kind, CodeConfig) and field.name in common:
                continue
            if field.name in DECIDED or (table, field.name) == ("tune", "ranges"):
                continue
            assert (table, field.name) in told, f"{field.name} of {table}"
            default = field.default_factory() if callable(field.default_factory) else field.default
            if default not in (dataclasses.MISSING, None) and field.name not in ("head", "test"):
                assert told[table, field.name] == str(default).lower(), f"{field.name} of {table}"
