"""Foreign files that are damaged, or that need what is not here: an error that names it, and never a crash."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeseq_runtime import load
from edgeseq_runtime._ort import trial
from edgeseq_runtime.errors import UnsupportedFileError
from edgeseq_runtime.wire import half_recurrent
from foreign_models import STYLES, info, model
from onnx import TensorProto, helper

FLIPPED = ("time-major h, c", "fused state", "in a subgraph")

_CHILD = """
import sys, random
sys.path[:0] = {path!r}
import numpy as np
from edgeseq_runtime import load
from edgeseq_runtime.errors import EdgeseqError
from foreign_models import STYLES, FEATURES

for number, name in enumerate({names!r}):
    content, rng, told = STYLES[name].make(), random.Random(number), 0
    for place in range(200):
        damaged = bytearray(content)
        if place % 2:
            damaged = damaged[: rng.randrange(len(content))]
        else:
            bit = rng.randrange(len(content) * 8)
            damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = load(bytes(damaged), values=STYLES[name].fixed)
            if found.signature.streamable:
                found.stream().run(np.zeros((1, 3, FEATURES), np.float32))
        except EdgeseqError:
            told += 1
    print(name, told)
"""


def test_no_flip_and_no_cut_crashes():
    """In a child process, since a crash would end this one; nothing but the errors of edgeseq may come out."""
    code = _CHILD.format(path=sys.path, names=FLIPPED)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    counts = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert set(counts) == set(FLIPPED)
    assert all(100 <= int(told) < 200 for told in counts.values()), counts  # every cut, and many flips


def relu(op="Relu", domain="", **options):
    domains = (domain,) if domain else ()
    node = helper.make_node(op, ["x"], ["y"], domain=domain)
    return model([node], [info("x", [1, 3])], [info("y", [1, 3])], {}, domains=domains, **options)


def of_ir(version):
    changed = onnx.load_from_string(relu())
    changed.ir_version = version
    return changed.SerializeToString()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (relu("Frob"), "needs the operator Frob of opset 18, which onnxruntime .* has not. A newer onnxruntime"),
        (relu("Frob", "acme.ops"), "operator Frob of the domain 'acme.ops'.*library with that domain's operators"),
        (relu("Frob", "com.microsoft"), "operator Frob of the domain 'com.microsoft'.*A newer onnxruntime"),
        (relu(opset=99), "needs opset 99 of ai.onnx, but onnxruntime .* knows up to .*--opset"),
        (of_ir(99), "has the IR version 99, but onnxruntime .* reads up to .*ir_version"),
    ],
)
def test_what_is_not_known_here_is_named(content, message):
    with pytest.raises(UnsupportedFileError, match=message):
        load(content)


def half(op="GRU"):
    rng, gates = np.random.default_rng(1), {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    weights = {name: rng.standard_normal((1, gates * 4, 4)).astype(np.float16) for name in "WR"}
    kind, state = TensorProto.FLOAT16, [1, "batch", 4]
    return model(
        [helper.make_node(op, ["x", "W", "R", "", "", "h"], ["y", "hn"], hidden_size=4)],
        [info("x", ["time", "batch", 4], kind), info("h", state, kind)],
        [info("y", ["time", 1, "batch", 4], kind), info("hn", state, kind)],
        weights,
    )


def test_only_recurrent_operators_in_float16_are_tried_in_a_child(monkeypatch):
    assert [half_recurrent(half(op), "model") for op in ("LSTM", "GRU", "RNN")] == [True] * 3
    assert not any(half_recurrent(STYLES[name].make(), name) for name in STYLES)
    assert not half_recurrent(half()[:60], "model")
    tried = []
    monkeypatch.setattr(trial.subprocess, "run", lambda command, **_: tried.append(command) or _Done(0))
    load(STYLES["layers"].make())
    assert not tried
    assert load(half()).signature.streamable
    assert len(tried) == 1


class _Done:
    def __init__(self, code):
        self.returncode = code


@pytest.mark.parametrize(("codes", "left_out"), [((0,), ()), ((-11, 0), trial.CRASHING), ((-11, -11), None)])
def test_a_crash_is_worked_around_or_told(monkeypatch, codes, left_out):
    answers = iter(codes)
    monkeypatch.setattr(trial.subprocess, "run", lambda *_, **__: _Done(next(answers)))
    if left_out is None:
        with pytest.raises(UnsupportedFileError, match=r"crashes when it opens 'model'.*float32"):
            load(half())
    else:
        assert trial.optimisers_to_leave_out(half(), "model", None) == left_out


def test_the_trial_itself_runs():
    assert trial.optimisers_to_leave_out(half(), "model", None) in ((), trial.CRASHING)
    assert Path(sys.executable).exists()


def test_the_trial_takes_its_onnxruntime_and_not_that_of_the_working_folder(monkeypatch, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("open('run', 'w').close()")
    monkeypatch.chdir(tmp_path)
    test_the_trial_itself_runs()
    assert [path.name for path in tmp_path.iterdir()] == ["onnxruntime.py"]


def test_a_frozen_program_is_not_started_again(monkeypatch):
    """There sys.executable is the program itself."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(trial.subprocess, "run", lambda *_, **__: pytest.fail("it was started"))
    assert trial.optimisers_to_leave_out(half(), "model", None) == ()
