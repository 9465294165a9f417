"""Streams of many users: rows that step alone, states that survive a restart, and one thread at a time."""

import itertools
import linecache
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from edgeseq_runtime import Contract, Signature, State, StatePair, Tensor, load
from edgeseq_runtime import foreign_stream as foreign_stream_module
from edgeseq_runtime import stream as stream_module
from edgeseq_runtime.errors import DamagedFileError, FileError, InputError, MissingFileError, StreamError
from edgeseq_runtime.seal import seal
from foreign_models import STYLES
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

WIDE = 4096


@pytest.fixture(scope="module")
def loaded(models):
    return {name: load(models / f"{name}.onnx") for name in ("lstm", "gru", "tokens")}


def frames(model, count, seed=0):
    """Realistic frames of the first input: (count, features), or token ids (count,)."""
    rng = np.random.default_rng(seed)
    tensor = model.signature.inputs[0]
    if tensor.range is not None:
        return rng.integers(*tensor.range, count)
    return rng.standard_normal((count, *tensor.axes[2:])).astype(np.float32)


def copied(stream):
    return {name: array.copy() for name, array in stream.state.arrays.items()}


def equal(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


ROWS = st.lists(st.integers(0, 3), unique=True, max_size=4)


@pytest.mark.parametrize("name", ["lstm", "gru", "tokens"])
@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.one_of(st.none(), ROWS), min_size=1, max_size=8), reset=ROWS, seed=st.integers(0, 99))
def test_each_row_is_its_own_single_stream(loaded, name, steps, reset, seed):
    """Whatever rows step, in whatever order, and whichever are reset on the way."""
    model = loaded[name]
    stream, singles = model.stream(4), [model.stream() for _ in range(4)]
    for number, rows in enumerate(steps):
        if number == len(steps) // 2:
            stream.reset(reset)
            for row in reset:
                singles[row].reset()
        chosen = range(4) if rows is None else rows
        frame = frames(model, len(chosen), seed + number)
        answer = stream.step(frame, rows=rows)
        for place, row in enumerate(chosen):
            expected = singles[row].step(frame[place])
            for key, values in expected.items():
                np.testing.assert_allclose(answer[key][place], values, atol=1e-6)
    after = stream.state.arrays
    for row, single in enumerate(singles):
        for key, values in single.state.arrays.items():
            np.testing.assert_allclose(after[key][:, row], values[:, 0], atol=1e-6)


@pytest.mark.parametrize("rows", [[2, 0], np.array([2, 0]), (row for row in (2, 0)), [True, False, True]])
def test_rows_by_number_or_mask_leave_the_others_as_they_were(loaded, rows):
    model = loaded["gru"]
    stream, frame = model.stream(3), frames(model, 2)
    stream.step(frames(model, 3, 1))
    before = copied(stream)["h0"]
    out = {"values": np.zeros((2, 2), np.float32)}
    by_number = not isinstance(rows, list) or rows[0] is not True
    assert stream.step(frame, out, rows=rows) is out
    after = stream.state.arrays["h0"]
    np.testing.assert_array_equal(after[:, 1], before[:, 1])
    other = model.stream(3)
    other.step(frames(model, 3, 1))
    whole = np.zeros((3, 2), np.float32)
    whole[[2, 0] if by_number else [0, 2]] = frame
    expected = other.step(whole)["values"][[2, 0] if by_number else [0, 2]]
    np.testing.assert_allclose(out["values"], expected, atol=1e-6)


@pytest.mark.parametrize("rows", [[], [False, False], np.zeros(2, bool)])
def test_no_rows_is_a_no_op(loaded, rows):
    model = loaded["lstm"]
    stream = model.stream(2)
    stream.step(frames(model, 2))
    before = copied(stream)
    answer = stream.step(np.zeros((0, 3), np.float32), rows=rows)
    assert {name: array.shape for name, array in answer.items()} == {"logits": (0, 3), "probabilities": (0, 3)}
    assert equal(stream.state.arrays, before)


@pytest.mark.parametrize(
    ("frame", "rows", "out", "error", "message"),
    [
        (np.ones((1, 2)), [3], None, StreamError, "there is no row 3: the stream has rows 0 to 2"),
        (np.ones((1, 2)), [-1], None, StreamError, "there is no row -1"),
        (np.ones((2, 2)), [1, 1], None, StreamError, r"rows is \[1, 1\], but each of them can take one step at a time"),
        (np.ones((1, 2)), 1, None, StreamError, "rows is 1, but a list of row numbers"),
        (np.ones((1, 2)), [0.0], None, StreamError, r"rows is \[0.0\], but a list of row numbers, or a mask of 3"),
        (np.ones((1, 2)), [True, False], None, StreamError, r"mask of rows has shape \(2,\), but the stream has 3"),
        (np.ones((3, 2)), [0, 2], None, InputError, r"shape \(3, 2\), but this stream takes \(2, 2\), a row for each"),
        (np.ones(2), [0], None, InputError, r"shape \(2,\), but this stream takes \(1, 2\), a row for each of \[0\]"),
        ([[1, np.nan]], [0], None, InputError, r"has nan at \(0, 1\)"),
        (np.ones((1, 2)), [0], {"values": np.zeros(2)}, InputError, r"out\['values'\] is float64 \(2,\), but float32"),
    ],
)
def test_wrong_rows_leave_the_state(loaded, frame, rows, out, error, message):
    model = loaded["gru"]
    stream = model.stream(3)
    stream.step(frames(model, 3))
    before = copied(stream)
    with pytest.raises(error, match=message):
        stream.step(frame, out, rows=rows)
    assert equal(stream.state.arrays, before)
    stream.step(frames(model, 3))  # the error gave the stream back


def test_a_mask_resets_the_rows_it_marks(loaded):
    model = loaded["gru"]
    stream = model.stream(3)
    stream.step(frames(model, 3))
    stream.reset([False, True, False])
    assert stream.state.arrays["h0"].any(axis=(0, 2)).tolist() == [True, False, True]


def test_a_saved_state_goes_on_in_another_stream(loaded, tmp_path):
    model = loaded["lstm"]
    stream, path = model.stream(2), tmp_path / "kept" / "state.npz"
    stream.run(np.ones((2, 5, 3), np.float32))
    stream.state.save(path)
    state = State.load(path)
    assert (state.model, list(state.arrays), state.samples) == (model.sha256, ["h0", "c0"], None)
    other = model.stream(2)
    other.restore(state)
    frame = frames(model, 2)
    np.testing.assert_array_equal(other.step(frame)["logits"], stream.step(frame)["logits"])


def test_names_and_samples_of_any_kind_are_kept(tmp_path):
    arrays = {"layer/h:0": np.ones((1, 2), np.float16), "../c": np.zeros((0, 3)), "n": np.array([7])}
    State("abc", arrays, np.ones((1, 2, 3), np.float32)).save(tmp_path / "s")
    state = State.load(tmp_path / "s")
    assert list(state.arrays) == list(arrays)
    assert equal(arrays, state.arrays)
    assert [a.dtype for a in state.arrays.values()] == [a.dtype for a in arrays.values()]
    np.testing.assert_array_equal(state.samples, np.ones((1, 2, 3)))


def test_a_state_of_another_model_is_refused_by_its_hash(loaded, tmp_path):
    """Two foreign files with states of the same shape are told apart as well: by the hash of their bytes."""
    loaded["lstm"].stream().state.save(tmp_path / "s")
    with pytest.raises(StreamError, match=r"belongs to another model than gru\.onnx"):
        loaded["gru"].stream().restore(State.load(tmp_path / "s"))
    first, second = (load(_running_sum(factor)) for factor in (1, 2))
    assert first.sha256 is second.sha256 is None
    assert first.identity != second.identity == load(_running_sum(2)).identity


def test_damaged_states_are_told(loaded, tmp_path):
    """Of 200 cuts and flipped bits each is told, or changed nothing."""
    path, rng = tmp_path / "s.npz", np.random.default_rng(0)
    stream = loaded["lstm"].stream()
    stream.step(np.ones(3, np.float32))
    state = stream.state
    state.save(path)
    content, told = path.read_bytes(), 0
    for trial in range(200):
        broken = bytearray(content)
        if trial % 4 == 0:
            del broken[rng.integers(len(broken)) :]
        else:
            broken[rng.integers(len(broken))] ^= 1 << rng.integers(8)
        path.write_bytes(broken)
        try:
            read = State.load(path)
        except FileError:
            told += 1
            continue
        assert read.model == state.model
        assert equal(state.arrays, read.arrays)
    assert told > 100


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, MissingFileError, "does not exist"),
        (b"", DamagedFileError, "is not a stream's state"),
        (b"\x80\x04\x95", DamagedFileError, "is not a stream's state"),
        ("npz", DamagedFileError, "is not a stream's state, or was cut or changed since State.save wrote it"),
        ("pickle", DamagedFileError, "is not a stream's state.*allow_pickle=False"),
        ("new", FileError, "has version 2, but this runtime reads up to 1. Upgrade"),
    ],
)
def test_what_is_no_state_is_refused(tmp_path, content, error, message):
    path = tmp_path / "s.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "npz":
        np.savez(path, x=np.zeros(3))
    elif content == "pickle":
        np.savez(path, **{"edgeseq.state": np.array([{"version": 1}], object)})
    elif content == "new":
        np.savez(path, **{"edgeseq.state": np.array('{"version": 2}')})
    with pytest.raises(error, match=message):
        State.load(path)


def test_a_failed_save_leaves_the_older_state(loaded, tmp_path, monkeypatch):
    path = tmp_path / "s.npz"
    state = loaded["gru"].stream().state
    state.save(path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(FileError, match="No space left on device"):
        state.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s.npz"]


CALLS = {
    "step": lambda stream: stream.step(np.ones(2, np.float32)),
    "rows": lambda stream: stream.step(np.ones((1, 2), np.float32), rows=[0]),
    "push": lambda stream: stream.push(np.ones(2, np.float32)),
    "run": lambda stream: stream.run(np.ones((1, 3, 2), np.float32)),
    "reset": lambda stream: stream.reset(),
    "state": lambda stream: stream.state,
    "restore": lambda stream: stream.restore(None),
}


@pytest.mark.parametrize("second", CALLS)
def test_a_second_thread_is_refused_and_the_first_goes_on(loaded, monkeypatch, second):
    stream = loaded["gru"].stream()
    expected = loaded["gru"].stream().step(np.ones(2, np.float32))["values"]
    entered, leave, answers = threading.Event(), threading.Event(), []
    run = stream._direction.run
    monkeypatch.setattr(stream._direction, "run", lambda: (entered.set(), leave.wait(10), run()))
    first = threading.Thread(target=lambda: answers.append(CALLS["step"](stream)["values"]))
    first.start()
    assert entered.wait(10)
    try:
        with pytest.raises(StreamError, match="two threads use it at once"):
            CALLS[second](stream)
    finally:
        leave.set()
        first.join()
    np.testing.assert_array_equal(answers[0], expected)
    np.testing.assert_array_equal(stream.state.arrays["h0"][0, 0].any(), True)


FRAME = np.ones((2, 3), np.float32)

INTERRUPTED = {
    "step": lambda stream, _: stream.step(FRAME),
    "rows": lambda stream, _: stream.step(FRAME[:1], rows=[1]),
    "run": lambda stream, _: stream.run(np.ones((2, 3, 3), np.float32)),
    "reset": lambda stream, _: stream.reset([0]),
    "restore": lambda stream, other: stream.restore(other),
}


ATOMIC = ("try:", "self.busy = False")
"""Lines before which the interpreter looks for no interrupt, since there is no call and no loop between."""


def interrupted(call, at):
    """Whether Ctrl-C came, at the n-th line of what the call runs of a stream's own code."""
    files = (stream_module.__file__, foreign_stream_module.__file__)
    left = at

    def trace(frame, event, _):
        nonlocal left
        code = frame.f_code
        if code.co_filename not in files:
            return None
        line = linecache.getline(code.co_filename, frame.f_lineno).strip()
        if event == "line" and line not in ATOMIC:
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("name", INTERRUPTED)
@pytest.mark.parametrize("context", [0, 2])
def test_an_interrupt_changes_all_states_or_none(loaded, name, context):
    """Wherever it comes; and the stream can be used after it. With a context: a file of another exporter."""
    model = load(STYLES["time-major h, c"].make()) if context else loaded["lstm"]
    start, other = (model.stream(2, context=context) for _ in range(2))
    start.step(FRAME)
    other.step(2 * FRAME)
    call = INTERRUPTED[name]
    done = model.stream(2, context=context)
    done.restore(start.state)
    call(done, other.state)
    ends = [copied(start), copied(done)]
    assert not equal(*ends)
    for line in itertools.count():
        stream = model.stream(2, context=context)
        stream.restore(start.state)
        came = interrupted(lambda one=stream: call(one, other.state), line)
        assert equal(copied(stream), ends[0]) or equal(copied(stream), ends[1]), f"mixed at line {line}"
        if not came:
            break
        call(stream, other.state)
    assert line > 5


def test_with_out_no_array_is_allocated():
    """A frame, a state and an output of 16 KB each: none of them is made anew, not even for a moment."""
    stream = load(_running_sum(1, contract=True)).stream()
    frame, out = np.ones(WIDE, np.float32), {"y": np.zeros(WIDE, np.float32)}
    stream.step(frame, out)
    made, kept = [], []
    tracemalloc.start()
    try:
        stream.step(frame, out)
        for _ in range(3):  # another thread of the process, such as a test runner's, may allocate beside it
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(100):
                stream.step(frame, out)
            after, peak = tracemalloc.get_traced_memory()
            made.append(peak - before)
            kept.append(after - before)
        tracemalloc.reset_peak()
        stream.step(frame)
        _, fresh = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert out["y"][0] == 302
    assert min(made) < 2000, "an array was made"
    assert min(kept) < 500, "something was kept"
    assert fresh - after > 4 * WIDE, "tracemalloc does not see numpy's arrays, so nothing was proven"


def _running_sum(factor, contract=False):
    """sum' = sum + factor · x, y = sum', each step; a foreign file, or one with a contract."""
    axes = ["batch", "time", WIDE]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, axes),
        helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["batch", 1, WIDE]),
    ]
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, axes),
        helper.make_tensor_value_info("sum_next", TensorProto.FLOAT, ["batch", 1, WIDE]),
    ]
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "sum"], ["sum_next"]),
        helper.make_node("Identity", ["sum_next"], ["y"]),
    ]
    factors = [numpy_helper.from_array(np.array(factor, np.float32), "factor")]
    graph = helper.make_graph(nodes, "sum", inputs, outputs, factors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    if not contract:
        return model.SerializeToString()
    signature = Signature(
        (Tensor("x", "float32", ("batch", "time", WIDE)),),
        (Tensor("y", "float32", ("batch", "time", WIDE), "step"),),
        (StatePair("sum", "sum_next", ("batch", 1, WIDE)),),
        streamable=True,
    )
    helper.set_model_props(model, {"edgeseq.contract": Contract(signature, "sum", "forecast").to_json()})
    return seal(model.SerializeToString())
