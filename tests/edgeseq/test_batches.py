"""Batches: every example once, cut to its longest, in pieces that follow each other."""

import numpy as np
import pytest
import torch

from edgeseq.data import Dataset
from edgeseq.training.batches import CONTINUES, Batches

LENGTHS = np.array([5, 2, 7, 3, 7])
X = np.arange(5 * 7, dtype=np.float32).reshape(5, 7, 1)


def dataset(**changes):
    arrays = {"x": X, "y": np.zeros((5, 7), np.int64), "lengths": LENGTHS, "labels": ("a", "b"), **changes}
    return Dataset(**arrays)


def test_time_axes_are_cut_after_the_longest():
    more = {"table": np.zeros((5, 7, 2), np.int64), "extra": np.zeros((5, 7), np.int64)}
    first, second = list(Batches(dataset(more=more), 2))[:2]
    assert {name: tuple(tensor.shape) for name, tensor in first.items()} == {
        **{"x": (2, 5, 1), "y": (2, 5), "lengths": (2,)},
        **{"table": (2, 5, 2), "extra": (2, 5)},
    }
    assert second["x"].shape == (2, 7, 1)


def test_without_a_time_axis_nothing_is_cut():
    (batch,) = Batches(dataset(lengths=None, y=np.zeros(5, np.int64)), 8)
    assert set(batch) == {"x", "y"}
    assert batch["x"].shape == X.shape


@pytest.mark.parametrize(("seed", "truncate"), [(None, None), (1, None), (1, 3)])
def test_several_right_answers_are_handed_on_as_they_are(seed, truncate):
    """They are longer than any sequence and than y, so that they would be cut with those."""
    table = torch.full((5, 2, 9), -1)
    table[:, 0, :8] = torch.arange(5)[:, None]
    data = dataset(y=np.zeros((5, 3), np.int64), y_lengths=np.full(5, 3), accepted=table.numpy())
    for batch in Batches(data, 2, seed=seed, truncate=truncate):
        rows = (batch["x"][:, 0, 0] / 7).long()
        assert torch.equal(batch["accepted"], table[rows])
        assert batch["y"].shape[1] == 3


@pytest.mark.parametrize("steps", [1, 3, 4, 100])
def test_pieces_put_together_are_the_whole(steps):
    pieces = list(Batches(dataset(), 5, truncate=steps))
    assert len(pieces) == len(Batches(dataset(), 5, truncate=steps)) == -(-7 // steps)
    assert [CONTINUES in piece for piece in pieces] == [False] + [True] * (len(pieces) - 1)
    assert torch.equal(torch.cat([piece["x"] for piece in pieces], 1), torch.from_numpy(X))
    assert torch.equal(sum(piece["lengths"] for piece in pieces), torch.from_numpy(LENGTHS))


def test_pieces_are_counted_for_the_order_of_their_epoch():
    data = dataset(x=np.repeat(X, 9, 0), y=np.zeros((45, 7), np.int64), lengths=np.tile(LENGTHS, 9))
    epochs = []
    batches = Batches(data, 4, seed=3, epoch=lambda: len(epochs), truncate=2)
    counts = []
    for epoch in range(8):
        epochs.append(epoch)
        counts.append(len(batches))
        assert len(list(batches)) == counts[-1]
    assert len(set(counts)) > 1


def ragged(count=103, targets=False):
    """Sequences whose first value is their row; with targets, these have lengths of another order."""
    rng = np.random.default_rng(4)
    lengths, other = rng.integers(1, 10, (2, count))
    x = np.repeat(np.arange(count, dtype=np.float32), 9).reshape(count, 9, 1)
    more = {"y_lengths": other} if targets else {}
    return Dataset(x, np.zeros((count, 9), np.int64), lengths, ("a", "b"), **more)


def rows_of(batches):
    """The rows of each batch, in order."""
    return [batch["x"][:, 0, 0].int().tolist() for batch in batches]


@pytest.mark.parametrize(("targets", "counted"), [(False, "lengths"), (True, "y_lengths")])
@pytest.mark.parametrize("bucket", [1, 3, 100])
def test_buckets_are_sorted_by_length_and_their_batches_shuffled(targets, counted, bucket):
    """A pool is what as many batches would hold without buckets; of equal lengths the earlier row comes first."""
    data = ragged(targets=targets)
    lengths = getattr(data, counted)
    order = [row for batch in rows_of(Batches(data, 8, seed=3)) for row in batch]
    expected = []
    for start in range(0, len(order), 8 * bucket):
        pool = sorted(order[start : start + 8 * bucket], key=lambda row: lengths[row])
        expected += [pool[i : i + 8] for i in range(0, len(pool), 8)]
    found = rows_of(Batches(data, 8, seed=3, bucket=bucket))
    assert sorted(found) == sorted(expected)
    assert found != expected
    assert sorted(row for batch in found for row in batch) == list(range(103))


def test_the_order_of_buckets_is_that_of_seed_and_epoch():
    data = ragged()
    one, again, later, other = (
        rows_of(Batches(data, 8, seed=seed, epoch=lambda epoch=epoch: epoch, bucket=4))
        for seed, epoch in ((3, 0), (3, 0), (3, 1), (4, 0))
    )
    assert one == again
    assert all(sorted(map(sorted, one)) != sorted(map(sorted, each)) for each in (later, other))


def test_buckets_need_lengths_and_an_order():
    fixed = dataset(lengths=None, y=np.zeros(5, np.int64))
    for data, seed in ((fixed, 3), (ragged(), None)):
        without, found = (Batches(data, 2, seed=seed, bucket=bucket) for bucket in (0, 4))
        assert rows_of(found) == rows_of(without)


def test_pieces_of_buckets_are_counted():
    batches = Batches(ragged(), 8, seed=3, truncate=2, bucket=4)
    assert len(list(batches)) == len(batches)


def test_truncated_training_on_ragged_rows_keeps_its_schedule(tmp_path):
    """The learning rate's cycle knows every update, and each epoch ends with a validation."""
    from edgeseq import recipe
    from edgeseq.training import train

    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 12, 2)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x=x, y=(x.sum(-1) > 0).astype(int), lengths=rng.integers(1, 13, 150))
    text = """
    model = { family = "rnn", hidden_size = 4 }
    data = { path = "mine.npz" }
    train = { epochs = 5, schedule = "one-cycle", truncate = 3, batch_size = 8 }
    """
    (tmp_path / "recipe.toml").write_text(text)
    result = train(recipe.load(tmp_path), tmp_path / "out", device="cpu")
    assert result.metrics["search"] == {"ran": 5, "best": 5}


def test_truncated_training_carries_the_states(tmp_path):
    """One long row: only a carried state can tell what stood at its start."""
    from edgeseq import recipe
    from edgeseq.training import train

    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, 120)
    x = np.zeros((120, 6, 1), np.float32)
    x[:, 0, 0] = 2 * first - 1
    np.savez(tmp_path / "mine.npz", x=x, y=np.repeat(first[:, None], 6, 1))
    text = """
    model = { family = "gru", hidden_size = 8 }
    data = { path = "mine.npz" }
    train = { epochs = 12, learning_rate = 0.03, truncate = 2 }
    """
    (tmp_path / "recipe.toml").write_text(text)
    result = train(recipe.load(tmp_path), tmp_path / "out", device="cpu")
    assert result.metrics["test"]["accuracy"] > 0.95
