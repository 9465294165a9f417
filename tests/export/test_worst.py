"""The worst case of a proof: kept, saved, read back, and run again with and without the network."""

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from edgeseq_export import Grid, verify
from edgeseq_export.mutant import mutant
from edgeseq_export.sources.module import from_module
from edgeseq_export.worst import replay as replay_against
from edgeseq_export.worst_case import Keeper, open_worst, replay, save
from edgeseq_runtime import load
from edgeseq_runtime.errors import ContractError, DamagedFileError, FileError, MissingFileError, UsageError
from foreign import Layer, foreign

SMALL = Grid(batches=(1, 2), times=(2, 6), chunks=(1,))
STREAMED = Grid(batches=(1,), times=(1,), chunks=(3,))


@pytest.fixture(scope="module")
def wrong(content):
    return mutant(content).content


def kept(file, reference, plan=SMALL):
    keep = Keeper()
    report = verify(file, reference, plan=plan, keep=keep)
    return report, keep.worst


def test_of_a_proof_that_passed_the_nearest_to_its_bound_is_kept(content, source):
    report, worst = kept(content, source)
    assert report.passed
    assert (worst.case, worst.output, worst.provider) == (
        report.worst.case,
        report.worst.output,
        report.worst.provider,
    )
    assert np.abs(worst.actual[worst.output] - worst.expected[worst.output].values).max() == report.worst.max_abs


@pytest.mark.parametrize("plan", [SMALL, STREAMED])
def test_saved_and_read_it_is_the_same(content, source, tmp_path, plan):
    _, worst = kept(content, source, plan)
    save(tmp_path / "w.npz", worst)
    again = open_worst(tmp_path / "w.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]
    for name in ("subject", "reference", "case", "output", "provider", "seed", "chunk", "error", "decisions", "values"):
        assert getattr(again, name) == getattr(worst, name)
    for part in ("inputs", "actual"):
        one, two = getattr(worst, part), getattr(again, part)
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[k], two[k]) and one[k].dtype == two[k].dtype for k in one)
    for name, expected in worst.expected.items():
        assert np.array_equal(again.expected[name].values, expected.values)
        assert again.expected[name].bound == expected.bound


def test_a_failure_fails_again_alone_and_beside_the_network_and_the_right_file_passes(wrong, content, source, tmp_path):
    report, worst = kept(wrong, source)
    save(tmp_path / "w.npz", worst)
    again = open_worst(tmp_path / "w.npz")
    alone, beside = replay(load(wrong), again), replay_against(wrong, source, again)
    for repeated in (alone, beside):
        assert repeated.failures[0].max_abs == pytest.approx(report.failures[0].max_abs, rel=1e-3)
        assert {c.case for c in repeated.comparisons} == {worst.case}
    assert replay(load(content), again).passed
    assert replay_against(content, source, again).passed


def test_a_stream_is_run_again_as_a_stream(content, source):
    plan = Grid(batches=(2,), times=(9,), chunks=(2,))
    keep = Keeper()
    verify(content, source, plan=plan, keep=keep)
    streams = [c for c in verify(content, source, plan=plan).comparisons if "chunks" in c.case]
    assert streams
    from edgeseq_export.proof import compare_case, prepare

    keep = Keeper()
    trial = prepare(content, source, plan=plan, keep=keep)
    list(compare_case(next(case for case in trial.plan if case.chunk == 2), 0, trial))
    assert keep.worst.chunk == 2
    again = Keeper()
    report = replay(load(content), keep.worst, again)
    assert report.passed
    assert (again.worst.chunk, again.worst.reference) == (2, keep.worst.reference)
    assert replay_against(content, source, keep.worst).passed


@pytest.mark.parametrize("axes", [["batch", "time", 4], ["time", "batch", 4]])
def test_a_foreign_file_is_saved_by_its_own_names_and_in_its_own_layout(axes):
    layer = from_module(Layer(), inputs=[f"x:float32[{axes[0]},{axes[1]},4]"])
    file = foreign(axes, name="in")
    _, worst = kept(file, layer, Grid(batches=(2,), times=(5,)))
    assert worst.inputs["in"].shape == ((2, 5, 4) if axes[0] == "batch" else (5, 2, 4))
    assert worst.actual.keys() == worst.expected.keys() == {"y"}
    assert replay(load(file), worst).passed
    assert replay_against(file, layer, worst).passed
    assert replay_against(file, foreign(axes), worst).passed


def test_a_refusal_is_kept_and_refused_again():
    layer = from_module(Layer(), inputs=["x:float32[batch,time,4]"])
    file = foreign(["batch", 7, 4])
    _, worst = kept(file, layer, Grid(batches=(1,), times=(7, 9)))
    assert worst.inputs["x"].shape == (1, 9, 4)
    assert not worst.actual
    assert "has 9 along axis 1" in worst.error
    assert "has 9 along axis 1" in replay(load(file), worst).failures[0].error
    assert replay(load(foreign()), worst).passed


def test_the_vectors_in_the_file_are_kept_too(content, wrong, tmp_path):
    keep = Keeper()
    load(content).verify(keep=keep)
    save(tmp_path / "w.npz", keep.worst)
    assert replay(load(content), open_worst(tmp_path / "w.npz")).passed
    keep = Keeper()
    load(wrong).verify(keep=keep)
    assert not replay(load(wrong), keep.worst).passed


@pytest.mark.parametrize("other", ["gru", "bidirectional", "tokens"])
def test_a_case_of_another_model_is_refused(content, source, models, other):
    _, worst = kept(content, source, STREAMED)
    with pytest.raises(UsageError, match="the saved case is of another model"):
        replay(load(models / f"{other}.onnx"), worst)


def archive(**entries):
    buffer = io.BytesIO()
    np.savez(buffer, **entries)
    return buffer.getvalue()


def told(**changes):
    about = {
        "format": 1,
        **dict.fromkeys(("subject", "reference", "case", "output", "provider", "error"), "y"),
        **{"seed": None, "chunk": None, "decisions": [], "values": {}},
        "expected": {"y": {"bound": 1.0, "stride": 1, "shape": [2]}},
    }
    return np.array(json.dumps({**about, **changes}))


class Marks:
    """Pickled, it makes a file when it is read."""

    def __reduce__(self):
        import os

        return os.system, ("touch marked",)


GOOD = {"about": told(), "input/x": np.zeros(2), "expected/y": np.zeros(2)}
COMPRESSED = io.BytesIO()
np.savez_compressed(COMPRESSED, **GOOD)


def empty_zip():
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", DamagedFileError, "is not a case that"),
        (b"not an archive", DamagedFileError, "is not a case that"),
        (archive(**GOOD)[:-30], DamagedFileError, "is not a case that"),
        (empty_zip(), DamagedFileError, "'about'"),
        (archive(x=np.zeros(2)), DamagedFileError, "'about'"),
        (archive(about=np.array("{")), DamagedFileError, "JSONDecodeError"),
        (archive(**{**GOOD, "about": told(format=2)}), ContractError, "format 2, but this runtime reads 1"),
        (archive(about=told(), **{"input/x": np.zeros(2)}), DamagedFileError, "nothing is expected"),
        (archive(**{**GOOD, "expected/y": np.zeros(3)}), DamagedFileError, "do not fit the shape"),
        (archive(**{**GOOD, "about": told(chunk=-1)}), DamagedFileError, "-1 is not a whole number"),
        (archive(**{**GOOD, "other/y": np.zeros(2)}), DamagedFileError, "KeyError"),
        (archive(**{**GOOD, "input/x": np.array([Marks()])}), DamagedFileError, "Object arrays cannot be loaded"),
        (COMPRESSED.getvalue(), DamagedFileError, "is compressed"),
    ],
)
def test_what_is_no_saved_case_is_refused_and_runs_nothing(tmp_path, monkeypatch, content, error, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(error, match=message):
        open_worst("w.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]


def test_the_good_one_of_that_table_is_read(tmp_path):
    (tmp_path / "w.npz").write_bytes(archive(**GOOD))
    assert open_worst(tmp_path / "w.npz").case == "y"


def test_a_case_that_is_not_there(tmp_path):
    with pytest.raises(MissingFileError, match="does not exist"):
        open_worst(tmp_path / "none.npz")
    with pytest.raises(FileError, match="cannot read"):
        open_worst(tmp_path)


def test_it_is_run_again_where_there_is_no_pytorch(content, source, tmp_path):
    _, worst = kept(content, source, STREAMED)
    save(tmp_path / "w.npz", worst)
    (tmp_path / "m.onnx").write_bytes(content)
    code = """
import sys
sys.modules.update(dict.fromkeys(("torch", "onnx", "typer")))
from edgeseq_runtime import load
from edgeseq_export.worst_case import open_worst, replay
print(replay(load("m.onnx"), open_worst("w.npz")).passed)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "True"
