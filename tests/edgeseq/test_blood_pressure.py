"""The blood pressure with one anomaly: what the files hold, and that no part has a point of another."""

import numpy as np
import pytest
from edgeseq_runtime.errors import DamagedFileError

from edgeseq.data import blood_pressure
from edgeseq.data.blood_pressure import parse
from edgeseq.data.packages import package_file

HEADER = "timestamp,value,is_anomaly\n"
LINES = [f"{t},{60 + t % 7}.5,0" for t in range(1200)]


@pytest.fixture(scope="module")
def parts():
    found = blood_pressure.load()
    return found.whole, found.validation, found.test


def test_the_parts_are_the_series_in_order_of_time(parts):
    path = package_file("aeon", "1.6.0", "135_UCR_Anomaly_InternalBleeding16_TEST.csv")
    series = np.loadtxt(path, delimiter=",", skiprows=1)
    assert [data.x.shape for data in parts] == [(1, 900, 1), (1, 300, 1), (1, 6301, 1)]
    np.testing.assert_array_equal(np.concatenate([data.x[0, :, 0] for data in parts]), series[:, 1].astype(np.float32))
    np.testing.assert_array_equal(np.concatenate([data.y[0] for data in parts]), series[:, 2])
    for data in parts:
        assert (data.x.dtype, data.y.dtype, data.task, data.stepwise) == (np.float32, np.int64, "classify", True)
        assert data.labels == ("normal", "anomaly")
        assert data.lengths.tolist() == [data.x.shape[1]]


def test_only_the_test_part_has_an_anomaly(parts):
    train, validation, test = parts
    assert not train.y.any()
    assert not validation.y.any()
    assert np.flatnonzero(test.y[0]).tolist() == list(range(4187 - 1200, 4199 - 1200))


def test_a_beat_lasts_as_long_as_documented(parts):
    x = parts[2].x[0, :, 0] - parts[2].x.mean()
    likeness = [float((x[lag:] * x[:-lag]).mean()) for lag in range(100, 300)]
    assert 100 + int(np.argmax(likeness)) == 183


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has the columns ''"),
        ("timestamp,value\n0,1\n", "but timestamp,value,is_anomaly are expected"),
        (HEADER, "three numbers a line"),
        (HEADER + "0,1,0\n", "more than 900 values"),
        (HEADER + "\n".join([*LINES, "1200,61"]), "three numbers a line"),
        (HEADER + "\n".join([*LINES, "1200,high,0"]), "three numbers a line"),
        (HEADER + "\n".join([*LINES, "1200,nan,0"]), "each marked with 0 or 1"),
        (HEADER + "\n".join([*LINES, "1200,61,2"]), "each marked with 0 or 1"),
        (HEADER + "\n".join(f"{line},0" for line in LINES), "three numbers a line"),
    ],
)
def test_another_file_is_refused(content, message):
    with pytest.raises(DamagedFileError, match=message):
        parse(content.encode(), "test.csv")


@pytest.mark.parametrize(
    ("change", "refused"), [({}, False), ({5: "5,99,0"}, True), ({5: "5,65.5,1"}, True), ({1250: "1250,99,1"}, False)]
)
def test_training_points_must_be_those_that_are_cut_off_the_test(monkeypatch, tmp_path, change, refused):
    whole = [f"{t},{60 + t % 7}.5,0" for t in range(1300)]
    for row, line in change.items():
        whole[row] = line
    for name, lines in zip(blood_pressure._NAMES, (LINES, whole), strict=True):
        (tmp_path / name).write_text(HEADER + "\n".join(lines))
    monkeypatch.setattr(blood_pressure, "package_file", lambda package, version, name: tmp_path / name.split("/")[-1])
    if refused:
        with pytest.raises(DamagedFileError, match="does not begin with the 1200 clean points"):
            blood_pressure.load()
    else:
        assert blood_pressure.load().test.x.shape == (1, 100, 1)
