"""Streams: chunked equals whole, the state survives whatever goes wrong, and rows are independent."""

import dataclasses
import gc
import subprocess
import sys

import numpy as np
import onnxruntime as ort
import pytest
from edgeseq_runtime import load
from edgeseq_runtime.errors import InputError, StreamError
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def lstm(models):
    return load(models / "lstm.onnx")


@pytest.fixture(scope="module")
def gru(models):
    return load(models / "gru.onnx")


@pytest.fixture(scope="module")
def tokens(models):
    return load(models / "tokens.onnx")


def x(batch, time, features, seed=0):
    return np.random.default_rng(seed).standard_normal((batch, time, features)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    chunks=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    batch=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_chunked_equals_whole(gru, chunks, batch, seed):
    time = max(sum(chunks), 1)
    whole = x(batch, time, 2, seed)
    expected = gru.run(whole, states=True)
    stream, at, pieces = gru.stream(batch), 0, []
    for size in [*chunks, time - sum(chunks)]:
        pieces.append(stream.run(whole[:, at : at + size])["values"])
        at += size
    np.testing.assert_allclose(np.concatenate(pieces, 1), expected["values"], atol=1e-6)
    np.testing.assert_allclose(stream.state.arrays["h0"], expected["h0_next"], atol=1e-6)


@pytest.mark.parametrize("provider", ["CPUExecutionProvider", "CUDAExecutionProvider"])
@pytest.mark.parametrize("batch", [1, 3])
def test_steps_equal_whole(lstm, gru, batch, provider, monkeypatch):
    """On whatever comes first: a bound buffer is read at every run on the CPU alone, elsewhere each run copies."""
    monkeypatch.setattr(ort.InferenceSession, "get_providers", lambda session: [provider])
    for model, features in ((lstm, 3), (gru, 2)):
        sequence = x(batch, 12, features)
        stream = model.stream(batch)
        gc.collect()  # bound buffers that nobody holds would be gone now
        steps = [stream.step(sequence[:, t]) for t in range(12)]
        whole = model.run(sequence)
        for tensor in model.signature.outputs:
            expected = whole[tensor.name]
            answers = np.stack([s[tensor.name] for s in steps], 1) if tensor.kind == "step" else steps[-1][tensor.name]
            np.testing.assert_allclose(answers, expected, atol=1e-6)


def test_steps_and_chunks_may_alternate(gru):
    sequence = x(1, 9, 2)
    stream = gru.stream()
    stream.step(sequence[:, 0])
    stream.run(sequence[:, 1:5])
    stream.step(sequence[0, 5])
    last = stream.run(sequence[:, 6:])["values"]
    np.testing.assert_allclose(last, gru.run(sequence)["values"][:, 6:], atol=1e-6)


@pytest.mark.parametrize(
    ("frame", "shape"),
    [
        (np.ones(2, np.float32), (2,)),
        (np.ones((1, 2), np.float32), (1, 2)),
        (np.ones(2), (2,)),
        ([1.0, 1.0], (2,)),
        ({"x": [1.0, 1.0]}, (2,)),
    ],
)
def test_a_frame_without_a_batch_axis_is_answered_without_one(gru, frame, shape):
    assert gru.stream().step(frame)["values"].shape == shape


@pytest.mark.parametrize(("frame", "shape"), [(3, (3,)), (np.int64(3), (3,)), (np.array([3]), (1, 3))])
def test_token_frames(tokens, frame, shape):
    assert tokens.stream().step(frame)["logits"].shape == shape


def test_out_reuses_the_callers_arrays(gru):
    out = {"values": np.zeros(2, np.float32)}
    expected = gru.stream().step(np.ones(2))["values"]
    answer = gru.stream().step(np.ones(2, np.float32), out=out)
    assert answer["values"] is out["values"]
    np.testing.assert_array_equal(out["values"], expected)


def test_answers_are_fresh_arrays(gru):
    stream = gru.stream()
    first = stream.step(np.ones(2))["values"]
    kept = first.copy()
    for _ in range(3):
        stream.step(np.zeros(2))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("how", ["step", "step64", "run", "dict"])
def test_non_finite_input_leaves_the_state(gru, bad, how):
    stream = gru.stream()
    stream.step(np.ones(2))
    before = stream.state.arrays
    frame = np.array([0.0, bad], np.float32)
    calls = {
        "step": lambda: stream.step(frame),
        "step64": lambda: stream.step(frame.astype(np.float64)),
        "run": lambda: stream.run(frame[None, None]),
        "dict": lambda: stream.step({"x": frame}),
    }
    with pytest.raises(InputError, match=r"has -?(nan|inf) at"):
        calls[how]()
    np.testing.assert_array_equal(stream.state.arrays["h0"], before["h0"])
    assert np.isfinite(stream.step(np.ones(2))["values"]).all()


def test_huge_finite_values_are_taken(gru):
    assert np.isfinite(gru.stream().step(np.full(2, 1e30, np.float32))["values"]).all()


def test_nan_is_taken_when_allowed(gru):
    stream = gru.stream(allow_nonfinite=True)
    assert stream.step(np.array([np.nan, 0], np.float32))["values"].shape == (2,)


@pytest.mark.parametrize(
    "frame", [np.ones(3), np.ones((2, 2)), np.ones((1, 1, 2)), {"x": np.ones(2), "z": 1}, {"z": 1}]
)
def test_wrong_frames_leave_the_state(gru, frame):
    stream = gru.stream()
    stream.step(np.ones(2))
    before = stream.state.arrays["h0"]
    with pytest.raises(InputError, match=r"this stream takes \(1, 2\) or \(2,\)|a frame of gru.onnx has x"):
        stream.step(frame)
    np.testing.assert_array_equal(stream.state.arrays["h0"], before)


def test_reset_twice_is_reset_once_and_rows_are_independent(gru):
    sequence = x(3, 5, 2)
    stream = gru.stream(3)
    stream.run(sequence)
    stream.reset([1])
    state = stream.state.arrays["h0"]
    assert not state[:, 1].any()
    assert state[:, 0].any()
    assert state[:, 2].any()
    stream.reset()
    stream.reset()
    assert not stream.state.arrays["h0"].any()
    np.testing.assert_allclose(stream.run(sequence)["values"], gru.run(sequence)["values"], atol=1e-6)


def test_restore_goes_on_where_the_state_was_taken(gru):
    sequence = x(1, 8, 2)
    stream = gru.stream()
    stream.run(sequence[:, :5])
    state = stream.state
    expected = stream.run(sequence[:, 5:])["values"]
    other = gru.stream()
    other.restore(state)
    np.testing.assert_array_equal(other.run(sequence[:, 5:])["values"], expected)


def test_wrong_states_are_refused(gru, lstm):
    with pytest.raises(StreamError, match="another model"):
        gru.stream().restore(lstm.stream().state)
    with pytest.raises(StreamError, match=r"'h0' is float32 \(1, 2, 8\), but this stream's is float32 \(1, 1, 8\)"):
        gru.stream().restore(gru.stream(2).state)
    with pytest.raises(StreamError, match="rows 0 to 0"):
        gru.stream().reset([1])
    with pytest.raises(InputError, match="carries its states itself"):
        gru.stream().run({"x": x(1, 2, 2), "h0": np.zeros((1, 1, 8), np.float32)})


def test_bidirectional_refuses_with_the_reason(models):
    with pytest.raises(StreamError, match="cannot be streamed: it reads the sequence in both directions"):
        load(models / "bidirectional.onnx").stream()


def test_empty_chunk_is_a_no_op(gru, lstm):
    stream = gru.stream(2)
    stream.run(x(2, 3, 2))
    before = stream.state.arrays["h0"]
    assert stream.run(np.zeros((2, 0, 2), np.float32))["values"].shape == (2, 0, 2)
    np.testing.assert_array_equal(stream.state.arrays["h0"], before)
    assert lstm.stream().run(np.zeros((1, 0, 3), np.float32)) == {}


def test_ragged_chunk_leaves_each_row_at_its_end(lstm):
    sequence = x(2, 6, 3)
    stream = lstm.stream(2)
    stream.run({"x": sequence, "lengths": [2, 6]})
    answer = stream.run(sequence)["logits"][0]
    alone = lstm.stream()
    alone.run(sequence[:1, :2])
    np.testing.assert_allclose(answer, alone.run(sequence[:1])["logits"][0], atol=1e-6)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ({"values": np.zeros(3, np.float32)}, r"out\['values'\] is float32 \(3,\), but float32 \(2,\) is needed"),
        ({"values": np.zeros((4, 2), np.float32)}, r"out\['values'\] is float32 \(4, 2\)"),
        ({"values": np.zeros(2, np.int64)}, r"out\['values'\] is int64"),
        ({"valuse": np.zeros(2, np.float32)}, "out has 'valuse', but the outputs are values"),
        ({"values": [0.0, 0.0]}, r"out\['values'\] is list"),
        ({"values": np.broadcast_to(np.float32(0), 2)}, r"out\['values'\] is read-only"),
    ],
)
def test_out_that_does_not_fit_leaves_the_state(gru, out, message):
    stream = gru.stream()
    stream.step(np.ones(2))
    before = stream.state.arrays["h0"]
    with pytest.raises(InputError, match=message):
        stream.step(np.ones(2), out=out)
    np.testing.assert_array_equal(stream.state.arrays["h0"], before)


@pytest.mark.parametrize("bad", [-1, 5, 100])
def test_tokens_outside_the_vocabulary_leave_the_state(tokens, bad):
    stream = tokens.stream()
    stream.step(1)
    before = stream.state.arrays["h0"]
    for call in (
        lambda: stream.step(bad),
        lambda: stream.step(np.array([bad])),
        lambda: stream.run([[1, bad]]),
        lambda: tokens.run([[1, bad]]),
        lambda: tokens.run(np.array([[1, bad]])),
    ):
        with pytest.raises(InputError, match=rf"'tokens' has {bad}.*, but its values go from 0 to 4"):
            call()
    np.testing.assert_array_equal(stream.state.arrays["h0"], before)


def test_a_good_batch_of_tokens_does_not_open_the_door_to_a_bad_one(tokens):
    tokens.run(np.array([[1, 2]]))
    with pytest.raises(InputError, match="values go from 0 to 4"):
        tokens.run(np.array([[1, -1]]))


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (np.zeros((2, 3, 2), np.float32), "'x' has 2 rows, but this stream has 1"),
        (np.zeros((1, 3, 5), np.float32), "'x' has 5 features"),
        (np.zeros((1, 0, 5), np.float32), "a frame of 'x' has shape"),
        ([[[1.0, 2.0], [3.0]]], "'x' is not a regular array"),
        ({"z": np.zeros((1, 2, 2), np.float32)}, "'x' of gru.onnx is missing"),
    ],
)
def test_wrong_chunks_leave_the_state(gru, chunk, message):
    stream = gru.stream()
    stream.step(np.ones(2))
    before = stream.state.arrays["h0"]
    with pytest.raises(InputError, match=message):
        stream.run(chunk)
    np.testing.assert_array_equal(stream.state.arrays["h0"], before)


def test_a_restore_that_fails_changes_nothing(lstm):
    stream = lstm.stream()
    stream.step(np.ones(3))
    before = stream.state
    broken = dataclasses.replace(before, arrays={"h0": before.arrays["h0"] + 1, "c0": np.zeros(3)})
    with pytest.raises(StreamError, match="'c0' is float64"):
        stream.restore(broken)
    np.testing.assert_array_equal(stream.state.arrays["h0"], before.arrays["h0"])


def test_rows_to_reset_may_come_from_anything_that_yields_numbers(gru):
    stream = gru.stream(2)
    stream.run(x(2, 3, 2))
    stream.reset(row for row in (0, 1))
    assert not stream.state.arrays["h0"].any()


def test_non_finite_input_is_an_input_error_where_numpy_raises(gru):
    stream = gru.stream()
    with np.errstate(all="raise"), pytest.raises(InputError):
        stream.step(np.array([np.inf, -np.inf], np.float32))


OUT_OF_MEMORY = """
import resource, sys
import subprocess
import sys

import numpy as np
from edgeseq_runtime import load
from edgeseq_runtime.errors import InputError

model = load(sys.argv[1])
long = np.zeros((1, 4_000_000, 2), np.float32)
stream = model.stream()
stream.run(long[:, :10] + 1)
before = stream.state.arrays["h0"]
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 100_000_000,) * 2)
for run in (model.run, stream.run):
    try:
        run(long)
    except InputError as error:
        print(str(error)[:50])
print((stream.state.arrays["h0"] == before).all(), sorted(stream.run(long[:, :3])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits its own memory as Linux does")
def test_out_of_memory_is_told_and_leaves_the_state(models):
    command = [sys.executable, "-c", OUT_OF_MEMORY, str(models / "gru.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = "out of memory; take fewer rows or steps at a time."
    assert done.stdout.splitlines() == [told, told, "True ['values']"]
