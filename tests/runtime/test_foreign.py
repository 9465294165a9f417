"""Files of other exporters: their states are found or refused, and streamed as onnxruntime driven by hand does."""

import pickle

import numpy as np
import pytest
from edgeseq_runtime import load
from edgeseq_runtime.errors import ContractError, InputError, StreamError, UsageError
from edgeseq_runtime.foreign_stream import ForeignStream
from edgeseq_runtime.layout import Laid
from foreign_models import FEATURES, STYLES, by_hand, info, model
from onnx import TensorProto, helper

CASES = [(name, rows) for name, style in STYLES.items() for rows in ((1, 3) if style.rows else (1,))]


@pytest.fixture(scope="module")
def contents():
    return {name: style.make() for name, style in STYLES.items()}


def opened(style, content, **options):
    return load(content, values=style.fixed, **options)


def frames(rows, time, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, time, FEATURES)).astype(np.float32)


@pytest.mark.parametrize("name", STYLES)
def test_states_are_found(contents, name):
    found = opened(STYLES[name], contents[name])
    assert {p.input: p.output for p in found.pairs} == STYLES[name].states
    assert all(p.why for p in found.pairs)
    assert found.signature.streamable


@pytest.mark.parametrize(("name", "rows"), CASES)
def test_streams_as_onnxruntime_by_hand(contents, name, rows):
    style, x = STYLES[name], frames(rows, 7)
    expected, states = by_hand(style, contents[name], x)
    found = opened(style, contents[name])
    answer = found.signature.outputs[0].name
    stepped, chunked = found.stream(rows), found.stream(rows)
    steps = np.stack([stepped.step(x[:, t].astype(found.signature.inputs[0].dtype))[answer] for t in range(7)], 1)
    pieces = np.concatenate([chunked.run(x[:, a:b])[answer] for a, b in ((0, 3), (3, 3), (3, 4), (4, 7))], 1)
    for answers in (steps,) if style.by_call else (steps, pieces, found.run(x)[answer]):
        np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-6)
    for stream in (stepped,) if style.by_call else (stepped, chunked):
        for state, array in states.items():
            np.testing.assert_allclose(stream.state.arrays[state].ravel(), array.ravel(), rtol=1e-5, atol=1e-6)
    if rows > 1 and not style.by_call:
        stepped.reset([1])
        again = stepped.step(x[:, 0])[answer]
        np.testing.assert_allclose(again[1], expected[1, 0], rtol=1e-5, atol=1e-6)
        assert np.abs(again[0] - expected[0, 0]).max() > 1e-4
        some = found.stream(rows)
        for t in range(4):
            some.step(x[:2, t].astype(found.signature.inputs[0].dtype), rows=[2, 0])
        whole = some.step(x[:, 4].astype(found.signature.inputs[0].dtype))[answer]
        alone = by_hand(style, contents[name], np.concatenate([x[[1, 0], :4], x[[0, 2], 4:5]], 1))[0][:, 4]
        np.testing.assert_allclose(whole[[0, 2]], alone, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(whole[1], by_hand(style, contents[name], x[:, 4:5])[0][1, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, style in STYLES.items() if not style.rows])
def test_rows_do_not_step_alone_where_a_call_takes_all(contents, name):
    found = opened(STYLES[name], contents[name])
    frame = np.zeros((0, FEATURES), found.signature.inputs[0].dtype)
    with pytest.raises(StreamError, match=r"takes 1 rows? in every call"):
        found.stream().step(frame, rows=[])


def test_a_stream_of_another_file_is_refused(contents):
    one, other = (load(contents[name]).stream() for name in ("time-major h, c", "outputs in another order"))
    with pytest.raises(StreamError, match="another model"):
        one.restore(other.state)


def test_foreign_models_are_pickled_with_what_they_were_told(contents):
    found = load(contents["fused state"], values={"sr": 8000}, states={"state": "stateN"})
    copy = pickle.loads(pickle.dumps(found))
    assert copy.values == {"sr": 8000}
    assert [(p.input, p.output, p.why) for p in copy.pairs] == [("state", "stateN", "as was asked for")]
    x = frames(1, 4)
    np.testing.assert_array_equal(copy.run(x)["output"], found.run(x)["output"])
    assert (
        np.abs(load(contents["fused state"], values={"sr": 16000}).run(x)["output"] - found.run(x)["output"]).max()
        > 0.01
    )


def wired(inputs, outputs, wires):
    """Outputs that are inputs, as the wires say: of each output, the input."""
    nodes = [helper.make_node("Identity", [source], [name]) for (name, _), source in zip(outputs, wires, strict=True)]
    return model(nodes, [info(n, s) for n, s in inputs], [info(n, s) for n, s in outputs], {})


SAME = [1, 1, 4]

X, H = ("x", [1, 1, 9]), ("h", SAME)
A, B = ("a", SAME), ("b", SAME)
P, Q, R = (("p", SAME), ("q", SAME), ("r", SAME))
Y = ("y", [1, 1, 9])

UNCLEAR = {
    "both could be the data": ([A, B], [P, Q], "ab", "any could be the data"),
    "three outputs for two": ([X, A, B], [P, Q, R], "abb", "'a' and 'b' may become 'p' and 'q' and 'r'"),
    "one output for two": ([X, A, B], [("y", SAME)], "a", "'a' and 'b' may become 'y'"),
    "all of one shape": ([X, A], [Y, P], "xa", "any could be the data.*x=y, a=p"),
    "nothing left to answer": ([X, H], [("hn", SAME)], "h", "none would be left for the answer"),
    "a state that does not come out": ([X, H], [Y], "x", "'h' is called like a state"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_is_unclear_is_refused_with_the_candidates(name):
    inputs, outputs, wires, why = UNCLEAR[name]
    found = load(wired(inputs, outputs, wires))
    assert found.pairs == ()
    with pytest.raises(StreamError, match=why):
        found.stream()
    given = {n: np.zeros(s, np.float32) for n, s in inputs}
    assert set(found.run(given)) == {n for n, _ in outputs}


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([("audio_in", ["batch", "samples"])], [("audio_out", ["batch", "samples"])]),
        ([("x", [1, 4])], [("y", [1, 4])]),
        ([("x", ["batch", "time", 3]), ("mask", ["batch", "time"])], [("y", ["batch", "time"]), ("z", [1, 2])]),
    ],
)
def test_filters_have_no_states(inputs, outputs):
    found = load(
        model(
            [
                helper.make_node("Identity", [inputs[min(i, len(inputs) - 1)][0]], [n])
                for i, (n, _) in enumerate(outputs)
            ],
            [info(n, s) for n, s in inputs],
            [info(n, s) for n, s in outputs],
            {},
        )
    )
    assert found.pairs == ()
    assert not found.signature.streamable


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"q": "hn"}, "there is no input 'q'; there is x, h, c"),
        ({"h": "q"}, "there is no output 'q'; there is y, hn, cn"),
        ({"x": "hn"}, "one type and one shape"),
        ({"h": "hn", "c": "hn"}, "next value of two states"),
    ],
)
def test_given_states_are_checked(contents, states, message):
    with pytest.raises(UsageError, match=message):
        load(contents["time-major h, c"], states=states)


def test_given_states_take_the_place_of_what_is_found(contents):
    swapped = load(contents["time-major h, c"], states={"h": "cn", "c": "hn"})
    assert {p.input: p.output for p in swapped.pairs} == {"h": "cn", "c": "hn"}
    none = load(contents["time-major h, c"], states={})
    with pytest.raises(StreamError, match="no contract"):
        none.stream()


def test_a_contract_says_its_states_itself(models):
    with pytest.raises(UsageError, match="has a contract"):
        load(models / "lstm.onnx", states={"h0": "h0_next"})
    with pytest.raises(StreamError, match="context"):
        load(models / "lstm.onnx").stream(context=3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 1}, "has no value 'rate'; its inputs are input, state, sr"),
        ({"sr": 0.5}, "is 0.5, but 'sr' is int64"),
        ({"sr": "fast"}, "is 'fast', but 'sr' is int64"),
        ({"sr": [1, 2]}, r"has the shape \(2,\)"),
    ],
)
def test_values_are_checked(contents, values, message):
    with pytest.raises(UsageError, match=message):
        load(contents["fused state"], values=values)


def test_pairs_of_two_shapes_are_told_when_the_file_declares_none():
    nodes = [
        helper.make_node("Slice", ["h", "from", "n", "axis"], ["hn"]),
        helper.make_node("Identity", ["x"], ["y"]),
    ]
    content = model(
        nodes,
        [info("x", ["batch", 3]), info("h", ["batch", 4]), info("n", [1], TensorProto.INT64)],
        [info("y", ["batch", 3]), info("hn", ["batch", None])],
        {"from": np.array([0]), "axis": np.array([1])},
    )
    assert load(content, values={"n": 4}).signature.streamable
    with pytest.raises(StreamError, match=r"given as \(2, 4\), but 'hn' came out as \(2, 3\)"):
        load(content, values={"n": 3}).stream()


def moving_sum():
    """The sum of a chunk, (batch, samples) → (batch, 1), beside a running total: a model that wants context."""
    nodes = [
        helper.make_node("ReduceSum", ["input", "axis"], ["output"], keepdims=1),
        helper.make_node("Add", ["state", "output"], ["stateN"]),
    ]
    inputs, outputs = (
        [info("input", [None, None]), info("state", [None, 1])],
        [
            info("output", [None, 1]),
            info("stateN", [None, 1]),
        ],
    )
    return model(nodes, inputs, outputs, {"axis": np.array([1])})


@pytest.mark.parametrize("rows", [1, 2])
def test_context_is_put_before_each_chunk(rows):
    x = np.random.default_rng(3).standard_normal((rows, 20)).astype(np.float32)
    padded = np.concatenate([np.zeros((rows, 3), np.float32), x], 1)
    stream = load(moving_sum()).stream(rows, context=3)
    bounds = [(0, 5), (5, 6), (6, 8), (8, 20)]
    got = [stream.run(x[:, a:b])["output"] for a, b in bounds]
    expected = [padded[:, a : b + 3].sum(1, keepdims=True) for a, b in bounds]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    kept = stream.state
    after = stream.run(x[:, :4])["output"]
    stream.restore(kept)
    np.testing.assert_array_equal(stream.run(x[:, :4])["output"], after)
    stream.reset()
    np.testing.assert_allclose(stream.run(x[:, :5])["output"], got[0], atol=1e-6)


def test_rows_keep_their_states_and_contexts():
    x = np.random.default_rng(5).standard_normal((3, 6)).astype(np.float32)
    stream, alone = load(moving_sum()).stream(3, context=2), [load(moving_sum()).stream(context=2) for _ in range(3)]
    for t, rows in enumerate(([0, 2], [1], [], [2, 1, 0], [True, False, True], [0, 1, 2])):  # one is a mask
        numbers = np.flatnonzero(rows).tolist() if t == 4 else rows
        got = stream.step(x[numbers, t], rows=rows)["output"]
        expected = [alone[row].step(x[row : row + 1, t])["output"][0] for row in numbers]
        np.testing.assert_allclose(got, np.reshape(expected, got.shape), atol=1e-6)
    before = stream.state
    for rows, out, error in (([0, 0], None, StreamError), ([3], None, StreamError), ([1], np.zeros(7), InputError)):
        with pytest.raises(error):
            stream.step(np.ones(len(rows), np.float32), None if out is None else {"output": out}, rows=rows)
    assert all((stream.state.arrays[name] == array).all() for name, array in before.arrays.items())


def test_a_second_thread_is_refused(monkeypatch):
    stream = load(moving_sum()).stream(context=3)
    monkeypatch.setattr(Laid, "run_checked", lambda *_: stream.step(np.ones(1, np.float32)))
    with pytest.raises(StreamError, match="two threads use it at once"):
        stream.run(np.ones((1, 4), np.float32))
    monkeypatch.undo()
    assert stream.run(np.ones((1, 4), np.float32))["output"] == 4


def test_context_within_a_step_of_fixed_size():
    nodes = [
        helper.make_node("ReduceSum", ["input", "axis"], ["output"], keepdims=1),
        helper.make_node("Add", ["state", "output"], ["stateN"]),
    ]
    content = model(
        nodes,
        [info("input", [1, 7]), info("state", [1, 1])],
        [info("output", [1, 1]), info("stateN", [1, 1])],
        {"axis": np.array([1])},
    )
    x = np.random.default_rng(4).standard_normal(20).astype(np.float32)
    padded = np.concatenate([np.zeros(3, np.float32), x])
    expected = [padded[i : i + 7].sum() for i in range(0, 20, 4)]
    stepped, chunked = (load(content, states={"state": "stateN"}).stream(context=3) for _ in range(2))
    steps = [stepped.step(x[i : i + 4])["output"].item() for i in range(0, 20, 4)]
    np.testing.assert_allclose(steps, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(chunked.run(x.reshape(1, 5, 4))["output"].ravel(), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(StreamError, match="a context of 7"):
        load(content).stream(context=7)


def test_a_bad_chunk_leaves_state_and_context(contents):
    stream = load(moving_sum()).stream(context=3)
    stream.run(np.ones((1, 4), np.float32))
    before = stream.state
    for bad, message in (
        (np.full((1, 4), np.nan, np.float32), "stay in the state"),
        (np.ones((2, 4), np.float32), "2 rows"),
        (np.ones((1, 4, 1), np.float32), "3 axes"),
        (np.ones((1, 4), np.complex64), "complex64"),
    ):
        with pytest.raises(InputError, match=message):
            stream.run(bad)
    assert all((stream.state.arrays[name] == array).all() for name, array in before.arrays.items())


def test_zero_sizes_scalars_and_every_type():
    kinds = {
        "f16": TensorProto.FLOAT16, "f64": TensorProto.DOUBLE, "i8": TensorProto.INT8, "u8": TensorProto.UINT8,
        "i16": TensorProto.INT16, "i32": TensorProto.INT32, "i64": TensorProto.INT64, "b": TensorProto.BOOL,
    }  # fmt: skip
    shapes = {
        "f16": ["n", 2],
        "f64": [0],
        "i8": [],
        "u8": [1],
        "i16": ["n"],
        "i32": ["n", 0],
        "i64": [],
        "b": ["n", "m"],
    }
    nodes = [helper.make_node("Identity", [name], [f"{name}_y"]) for name in kinds]
    found = load(
        model(
            nodes,
            [info(n, shapes[n], k) for n, k in kinds.items()],
            [info(f"{n}_y", shapes[n], k) for n, k in kinds.items()],
            {},
        ),
        states={},
    )
    for n, m in ((2, 3), (0, 0)):
        sizes = {"n": n, "m": m}
        given = {t.name: np.ones(t.shape(sizes), t.dtype) for t in found.signature.inputs}
        outputs = found.run(given)
        for name, array in given.items():
            assert outputs[f"{name}_y"].shape == array.shape
            assert outputs[f"{name}_y"].dtype == array.dtype


def test_steps_of_unknown_sizes_run_unbound():
    """The number of features is free, so a step's buffers cannot be made before there is one."""
    nodes = [
        helper.make_node("ReduceSum", ["x", "axis"], ["s"], keepdims=1),
        helper.make_node("Add", ["s", "state"], ["new_state"]),
        helper.make_node("Mul", ["new_state", "gain"], ["y"]),
    ]
    content = model(
        nodes,
        [info("x", ["batch", "features"]), info("state", ["batch", 1]), info("gain", [])],
        [info("y", ["batch", 1]), info("new_state", ["batch", 1])],
        {"axis": np.array([1])},
    )
    stream = load(content).stream(2)
    assert isinstance(stream, ForeignStream)
    total = np.zeros((2, 1), np.float32)
    for size in (4, 2, 9):
        x = np.random.default_rng(size).standard_normal((2, 1, size)).astype(np.float32)
        total += x.sum(2)
        got = stream.step({"x": x[:, 0], "gain": np.float32(2)})
        np.testing.assert_allclose(got["y"], 2 * total, rtol=1e-5, atol=1e-6)
    with pytest.raises(ContractError):
        load(content).verify()
