"""The pytest plugin, as a stranger's test suite sees it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from edgeseq_export import Grid, pytest_plugin
from edgeseq_export.pytest_plugin import assert_parity as imported
from edgeseq_export.sources.module import from_module
from edgeseq_export.worst_case import open_worst
from edgeseq_runtime.errors import UsageError
from foreign import Layer, foreign

HEAVY = ("torch", "onnx", "onnxruntime", "onnx_ir", "onnxscript", "numpy", "edgeseq_runtime.model")
SPEC = ["x:float32[batch,time,4]"]
small = pytest.mark.edgeseq_grid(batches=(1, 2), times=(2,))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A current folder with the files m.onnx and wrong.onnx."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").write_bytes(foreign())
    (tmp_path / "wrong.onnx").write_bytes(foreign(factor=1.001))
    return tmp_path


def test_collecting_imports_nothing_heavy(tmp_path):
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass\n")
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "def pytest_sessionfinish():\n"
        "    assert 'edgeseq_export.pytest_plugin' in sys.modules\n"
        f"    print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-s", "-p", "no:hypothesispytest"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "heavy: []" in result.stdout


@pytest.mark.parametrize("reference", [Layer(), from_module(Layer(), inputs=SPEC), "other.onnx"])
def test_equal_to_a_module_a_source_or_a_file(files, reference):
    (files / "other.onnx").write_bytes(foreign(name="in"))
    said = {"inputs": SPEC} if isinstance(reference, Layer) else {}
    assert imported("m.onnx", reference, **said).passed


def test_what_is_no_reference_is_told(files):
    with pytest.raises(UsageError, match=r"3 was given, but an nn\.Module, a Source or the path of an ONNX file"):
        imported("m.onnx", 3)


@small
def test_the_marker_chooses_the_grid(files, assert_parity):
    assert assert_parity is imported
    assert {c.case for c in assert_parity("m.onnx", Layer(), inputs=SPEC).comparisons} == {"1×2", "2×2"}
    chosen = assert_parity("m.onnx", Layer(), inputs=SPEC, plan=Grid(batches=(3,), times=(1,)))
    assert {c.case for c in chosen.comparisons} == {"3×1"}


@pytest.mark.edgeseq_grid(sizes=(1,))
def test_a_marker_that_is_no_grid_is_told(files, assert_parity):
    with pytest.raises(UsageError, match="the marker edgeseq_grid takes batches, times and chunks, each a tuple"):
        assert_parity("m.onnx", Layer(), inputs=SPEC)


@small
def test_a_failure_shows_the_worst_comparisons_and_where_the_worst_case_is(files, request, monkeypatch):
    monkeypatch.setattr(request.config.option, "edgeseq_worst", str(files / "worst"))
    with pytest.raises(AssertionError) as caught:
        imported("wrong.onnx", Layer(), inputs=SPEC)
    (worst,) = (files / "worst").iterdir()
    assert worst.name.endswith(f"{request.node.name}-wrong.npz")
    head, empty, columns, *rows = str(caught.value).splitlines()
    assert head == "wrong.onnx does not equal Layer in PyTorch, float64: 2 of 2 comparisons failed"
    assert not empty
    assert re.split("  +", columns) == [
        *("case", "output", "provider", "max abs", "allowed", "max rel", "RMS ratio", "SNR dB", "equal classes")
    ]
    assert {row.split()[0] for row in rows[:2]} == {"1×2", "2×2"}
    assert rows[-2:] == [
        f"the worst case is in {worst}; to run it again:",
        f"  edgeseq verify wrong.onnx --replay {worst}",
    ]
    assert open_worst(worst).case == rows[0].split()[0]


def test_many_failures_are_counted_and_refusals_told(files):
    (files / "frozen.onnx").write_bytes(foreign(["batch", 7, 4]))
    with pytest.raises(AssertionError) as caught:
        imported("frozen.onnx", Layer(), inputs=SPEC, worst="here.npz")
    assert re.search(r"^and \d+ more$", str(caught.value), re.M)
    assert "no answer: input 'x' has 1 along axis 1, but frozen.onnx takes 7" in str(caught.value)
    assert "fixes the axis 'time' of 'x' at 7" in str(caught.value)
    assert open_worst("here.npz").error


@pytest.mark.parametrize("running", [True, False])
def test_without_a_folder_the_worst_case_is_in_pytests_cache_or_a_temporary_one(files, request, running, monkeypatch):
    token = pytest_plugin._running.set(request.node if running else None)
    monkeypatch.setattr(request.config, "cache", _Cache(files) if running else None)
    try:
        with pytest.raises(AssertionError, match=r"the worst case is in (.*\.npz);") as caught:
            imported("wrong.onnx", Layer(), inputs=SPEC)
    finally:
        pytest_plugin._running.reset(token)
    path = Path(re.search(r"the worst case is in (.*\.npz);", str(caught.value))[1])
    assert path.exists()
    assert (files in path.parents) is running
    path.unlink()


class _Cache:
    """pytest's, in another folder."""

    def __init__(self, folder):
        self.folder = folder

    def mkdir(self, name):
        (self.folder / name).mkdir()
        return self.folder / name


@small
def test_an_export_is_made_once_and_known_by_class_attributes_weights_and_options(
    exported, edgeseq_export_cache, monkeypatch
):
    assert exported is edgeseq_export_cache
    first = exported(Layer(), inputs=SPEC)
    assert imported(first, Layer()).passed  # what goes in is in the file
    written = []
    monkeypatch.setattr("edgeseq_export.pipeline.export", lambda source, path, **options: written.append(path))
    assert exported(Layer(), inputs=SPEC) == first
    assert not written

    class Other(Layer):
        pass

    sharper = Layer()
    sharper.sharpness = 2
    for network, options in [(Layer(2.0), {}), (Other(), {}), (sharper, {}), (Layer(), {"opset": 20})]:
        exported(network, inputs=SPEC, **options)
    assert len(set(written)) == 4
