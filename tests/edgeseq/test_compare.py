"""A recipe's table `compare`: which combinations are trained, which share a network, and which are kept or refused."""

import numpy as np
import pytest
from edgeseq_runtime.errors import FileError

from edgeseq.data import Dataset, Parts
from edgeseq.data.dataset import About
from edgeseq.recipe import CompareTable, DataTable, ModelTable, Recipe, TrainTable
from edgeseq.training import compare as module
from edgeseq.training.network import network_for

OWN = {"hidden_size": 8, "decode": "greedy", "beam_width": 2}
RNG = np.random.default_rng(0)
SYMBOLS = {"a": "A", "b": "B", "c": "C"}
WORDS = Dataset(
    x=RNG.integers(0, 3, (12, 4)),
    y=RNG.integers(0, 3, (12, 4)),
    lengths=np.full(12, 4),
    labels=tuple(SYMBOLS.values()),
    y_lengths=np.full(12, 4),
    vocabulary={"tokens": tuple(SYMBOLS)},
)
PARTS = Parts(WORDS, WORDS, WORDS, About("words", ""))
METRICS = {"test": {"beam": 0.5}, "validation": {"beam": 0.4}}


def asked(settings, repeats=1):
    """A recipe that compares, and its network."""
    train = TrainTable(repeats=repeats)
    recipe = Recipe(ModelTable("seq2seq", OWN), DataTable("words"), train, compare=CompareTable(settings))
    return recipe, network_for(recipe.model, WORDS, 0).eval()


def compared(monkeypatch, settings, metrics=METRICS, repeats=1):
    """The rows, and (hidden_size, seed) of each network that was trained.

    Training is left out, and the figures say which settings a network has.
    """
    trained = []

    def fresh(recipe, parts, device):
        network = network_for(recipe.model, parts.train, recipe.train.seed).eval()
        trained.append((network.config.hidden_size, recipe.train.seed))
        return network

    def figures(network, data):
        config = network.config
        return {"hidden_size": config.hidden_size, "beam": config.decode == "beam", "beam_width": config.beam_width}

    monkeypatch.setattr(module, "_network", fresh)
    monkeypatch.setattr(module, "evaluate", figures)
    return module.compare(*asked(settings, repeats), metrics, PARTS, "cpu", False), trained


@pytest.mark.parametrize(
    ("settings", "repeats", "expected"),
    [
        ({"hidden_size": (8,), "decode": ("greedy", "beam")}, 1, []),
        ({"hidden_size": (8, 6), "decode": ("greedy", "beam")}, 1, [(6, 0)]),
        ({"decode": ("beam", "greedy", "sample"), "hidden_size": (6, 4)}, 1, [(6, 0), (4, 0)]),
        (
            {"hidden_size": (6,), "beam_width": (1, 2, 3), "n_best": (1, 2), "length_penalty": (0.0, 1.0)},
            1,
            [(6, 0)],
        ),
        ({"hidden_size": (8, 6), "decode": ("greedy", "beam")}, 2, [(8, 0), (8, 1), (6, 0), (6, 1)]),
        ({"hidden_size": (8,), "decode": ("greedy",)}, 2, []),
    ],
)
def test_combinations_that_differ_in_no_weight_share_one_training(monkeypatch, settings, repeats, expected):
    rows, trained = compared(monkeypatch, settings, repeats=repeats)
    assert trained == expected
    assert len(rows) == np.prod([len(values) for values in settings.values()])
    for row in rows:
        if "own" not in row:
            given = {**OWN, **row["settings"]}
            assert row["test"] == {
                "hidden_size": given["hidden_size"],
                "beam": given["decode"] == "beam",
                "beam_width": given["beam_width"],
            }
            assert ("deviation" in row) == (repeats > 1)


@pytest.mark.parametrize("more", [{}, {"deviation": {"test": {"beam": 0.1}}}])
def test_the_recipes_own_are_marked_and_keep_their_figures(monkeypatch, more):
    rows, _ = compared(monkeypatch, {"decode": ("beam", "greedy"), "beam_width": (2, 3)}, {**METRICS, **more})
    assert [row.get("own", False) for row in rows] == [False, False, True, False]
    own = {"settings": {"decode": "greedy", "beam_width": 2}, "own": True, "test": METRICS["test"], **more}
    assert rows[2] == own


def test_combinations_that_cannot_be_are_kept_with_the_reason(monkeypatch):
    """Of a width that stands first with settings that cannot be, the others are trained all the same."""
    settings = {"hidden_size": (7, 6, 8), "decode": ("beam", "greedy"), "beam_width": (9, 2)}
    rows, trained = compared(monkeypatch, settings)
    assert trained == [(6, 0)]
    found = {tuple(row["settings"].values()): row.get("refused") for row in rows}
    odd = "hidden_size is 7, but two directions take half of it each: make it even"
    assert [found[7, decode, width] for decode in ("beam", "greedy") for width in (9, 2)] == [odd] * 4
    for hidden_size in (6, 8):
        assert found[hidden_size, "beam", 9].startswith("beam_width is 9, but there are only 4 symbols")
        assert [found[hidden_size, "beam", 2], found[hidden_size, "greedy", 2]] == [None, None]
        assert found[hidden_size, "greedy", 9] is None  # without a beam its width means nothing
    assert all("test" not in row for row in rows if "refused" in row)


def test_a_file_that_cannot_be_read_is_no_fault_of_the_settings(monkeypatch):
    def missing(*_):
        raise FileError("it cannot be read")

    monkeypatch.setattr(module, "_network", missing)
    with pytest.raises(FileError, match="it cannot be read"):
        module.compare(*asked({"hidden_size": (6,)}), METRICS, PARTS, "cpu", False)
