"""Files of other exporters: their states are found or refused, and streamed as onnxruntime driven by hand does."""

import pickle
import warnings

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from edgeseq_runtime import load
from edgeseq_runtime.errors import ContractError, DamagedFileError, GuessWarning, InputError, StreamError, UsageError
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
    with pytest.raises(StreamError, match=r"given as \(3, 4\), but 'hn' came out as \(3, 3\)"):
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


def every_second(axes=("batch", "time", FEATURES)):
    """y: the second, fourth, … step of x; the state: the sum of all."""
    nodes = [
        helper.make_node("Slice", ["x", "one", "end", "one", "two"], ["y"]),
        helper.make_node("ReduceSum", ["x", "one"], ["s"], keepdims=0),
        helper.make_node("Add", ["s", "h"], ["hn"]),
    ]
    state, answer = [axes[0], FEATURES], [axes[0], None, FEATURES]
    weights = {"one": np.array([1]), "two": np.array([2]), "end": np.array([2**40])}
    return model(nodes, [info("x", axes), info("h", state)], [info("y", answer), info("hn", state)], weights)


@pytest.mark.parametrize("rows", [1, "batch"])
def test_half_the_steps_are_not_taken_for_rows(rows):
    """Of 5 and of 7 steps 2 and 3 answers come out, which are numbers of rows, too."""
    x = frames(1, 5)
    found = load(every_second((rows, "time", FEATURES)))
    assert found.signature.outputs[0].axes == ("batch", "y.1", FEATURES)
    np.testing.assert_array_equal(found.run(x)["y"], x[:, 1::2])
    np.testing.assert_array_equal(found.stream().run(x)["y"], x[:, 1::2])


@pytest.mark.parametrize(
    ("names", "sure"),
    [
        (("h", "c", "s1", "s2"), False),
        (("lstm_state_1", "lstm_state_2", "a", "b"), False),
        (("h_prev", "c_prev", "c_t", "h_t"), True),
        (("h", "c", "a", "c_out"), True),
    ],
)
def test_the_order_alone_is_a_guess_and_is_told(names, sure):
    before, after = names[:2], names[2:]
    crossed = {"h_prev": "h_t", "c_prev": "c_t"}
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["y"]),
        *(helper.make_node("Neg", [b], [a]) for b, a in zip(before, after, strict=True)),
    ]
    found = load(
        model(
            nodes,
            [info(*X), *(info(name, SAME) for name in before)],
            [info("y", [1, 1, 1]), *(info(name, SAME) for name in after)],
            {},
        )
    )
    expected = dict(zip(before, after, strict=True))
    assert {p.input: p.output for p in found.pairs} == (crossed if before[0] in crossed else expected)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found.stream()
    assert {w.category for w in told} == (set() if sure else {GuessWarning})


def test_a_context_is_reset_with_its_row_and_kept_apart_from_states():
    model_ = load(moving_sum())
    stream = model_.stream(2, context=2)
    stream.run(np.ones((2, 4), np.float32))
    stream.reset(iter([0]))
    np.testing.assert_array_equal(stream.run(np.ones((2, 1), np.float32))["output"].ravel(), [1, 3])
    with pytest.raises(StreamError, match=r"the state has state, edgeseq\.context, but this stream carries state"):
        model_.stream(2).restore(stream.state)
    with pytest.raises(StreamError, match="no contract"):
        load(model_filter()).stream(context=3)


def model_filter():
    """A file without states."""
    return model([helper.make_node("Neg", ["x"], ["y"])], [info("x", [None, 3])], [info("y", [None, 3])], {})


@pytest.mark.parametrize("features", [2, None])
def test_inputs_of_several_lengths_are_refused_also_where_one_is_empty(features):
    nodes = [helper.make_node("Add", ["x", "z"], ["y"]), helper.make_node("Identity", ["h"], ["hn"])]
    axes, state = ["batch", "time", features], ["batch", 4]
    inputs = [info("x", axes), info("z", axes), info("h", state)]
    stream = load(model(nodes, inputs, [info("y", axes), info("hn", state)], {})).stream()
    some, none = np.ones((1, 5, 2), np.float32), np.ones((1, 0, 2), np.float32)
    for x, z in ((some, none), (none, some)):
        with pytest.raises(InputError, match="along 'time'"):
            stream.run({"x": x, "z": z})
    assert stream.run({"x": none, "z": none})["y"].shape[:2] == (1, 0)


@pytest.mark.parametrize("value", [1e40, np.nan])
def test_a_value_that_is_no_number_of_its_type_is_refused(value):
    content = model(
        [helper.make_node("Mul", ["x", "gain"], ["y"])],
        [info("x", [None, 3]), info("gain", [])],
        [info("y", [None, 3])],
        {},
    )
    with pytest.raises(UsageError, match="but 'gain' is float32"):
        load(content, values={"gain": value})


def test_rows_that_a_file_does_not_take_are_refused_before_the_first_step(contents):
    with pytest.raises(StreamError, match="a stream of batch 3 was asked for, but at least 1, at most 1 is needed"):
        opened(STYLES["the same order"], contents["the same order"]).stream(3)


@pytest.mark.parametrize(
    ("x_axes", "state", "batch_first"),
    [
        ([1, 5, FEATURES], [1, 1, 5], True),
        ([5, 1, FEATURES], [1, 1, 5], False),
        ([1, 2, FEATURES], [2, 5], True),
    ],
)
def test_the_batch_of_fixed_sizes_is_found(x_axes, state, batch_first):
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Neg", ["h"], ["hn"])]
    found = load(model(nodes, [info("x", x_axes), info("h", state)], [info("y", x_axes), info("hn", state)], {}))
    x = frames(1, x_axes[1 if batch_first else 0])
    np.testing.assert_array_equal(found.stream().step(x[0])["y"], -x[0])


def test_a_size_of_zero_in_the_trial_is_not_taken_for_granted():
    """NonZero finds nothing in zeros."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["y"]),
        helper.make_node("ReduceSum", ["x", "axis"], ["s"], keepdims=1),
        helper.make_node("Add", ["s", "h"], ["hn"]),
    ]
    content = model(
        nodes,
        [info("x", ["batch", 3]), info("h", ["batch", 1])],
        [info("y", [2, None], TensorProto.INT64), info("hn", ["batch", 1])],
        {"axis": np.array([1])},
    )
    stream = load(content).stream()
    assert stream.step(np.array([0, 2, 3], np.float32))["y"].tolist() == [[0, 0], [1, 2]]


def test_a_state_belongs_to_the_weights_that_lie_beside_the_file(tmp_path):
    states = []
    for factor in (1, 2):
        folder = tmp_path / str(factor)
        folder.mkdir()
        made = onnx.load_model_from_string(
            model(
                [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Add", ["y", "h"], ["hn"])],
                [info("x", ["batch", 64]), info("h", ["batch", 64])],
                [info("y", ["batch", 64]), info("hn", ["batch", 64])],
                {"w": factor * np.eye(64, dtype=np.float32)},
            )
        )
        onnx.save(made, folder / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
        states.append(load(folder / "m.onnx").stream().state)
    assert (tmp_path / "1" / "m.onnx").read_bytes() == (tmp_path / "2" / "m.onnx").read_bytes()
    with pytest.raises(StreamError, match="another model"):
        load(tmp_path / "1" / "m.onnx").stream().restore(states[1])
    kept = pickle.dumps(load(tmp_path / "1" / "m.onnx"))
    (tmp_path / "1" / "w.bin").write_bytes((tmp_path / "2" / "w.bin").read_bytes())
    with pytest.raises(DamagedFileError, match="not the file any more"):
        pickle.loads(kept)


@pytest.mark.parametrize(
    ("x_axes", "state", "given"),
    [
        ([1, "T", FEATURES], [1, "batch", 5], True),
        (["N", "seq_len", FEATURES], [1, 1, 5], True),
        ([None, None, FEATURES], [1, 1, 5], True),
        (["T", "batch", FEATURES], [1, 1, 5], False),
        ([None, None, FEATURES], [1, 1, 5], False),
    ],
)
def test_a_batch_that_one_side_alone_declares_is_fixed(x_axes, state, given):
    """given: whether x is (batch, time, features) in the graph, otherwise it is (time, batch, features)."""
    content = batch_first_gru(x_axes, state) if given else time_major_gru(x_axes, state)
    x = frames(1, 6)
    session = ort.InferenceSession(content)
    feeds = {"x": x if given else x.transpose(1, 0, 2), "h": np.zeros((1, 1, 5), np.float32)}
    expected = session.run(["y"], feeds)[0]
    found = load(content)
    assert found.signature.inputs[0].axes == ("batch", "time", FEATURES)
    got = np.concatenate([found.stream().run(x)["y"], found.run(x)["y"]])
    np.testing.assert_array_equal(got, np.concatenate(2 * [expected if given else expected.transpose(1, 0, 2)]))


def time_major_gru(x_axes, state):
    return model(*_gru(x_axes, state, ["x"], []))


def batch_first_gru(x_axes, state):
    turn = {"perm": [1, 0, 2]}
    before = helper.make_node("Transpose", ["x"], ["xt"], **turn)
    return model(*_gru(x_axes, state, ["xt"], [before], turn))


def _gru(x_axes, state, source, before, turn=None):
    rng = np.random.default_rng(0)
    weights = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in {"w": (1, 15, 3), "r": (1, 15, 5)}.items()
    }
    nodes = [
        *before,
        helper.make_node("GRU", [*source, "w", "r", "", "", "h"], ["y4", "hn"], hidden_size=5),
        helper.make_node("Squeeze", ["y4", "one"], ["ys"]),
        helper.make_node("Transpose", ["ys"], ["y"], **(turn or {"perm": [0, 1, 2]})),
    ]
    outputs = [info("y", [None, None, 5]), info("hn", state)]
    return nodes, [info("x", x_axes), info("h", state)], outputs, {**weights, "one": np.array([1])}


def test_rows_are_not_reset_where_a_fixed_batch_could_be_either_axis():
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Neg", ["cache"], ["new_cache"])]
    state = [3, 3, 2]
    content = model(
        nodes,
        [info("x", [3, 4]), info("cache", state)],
        [info("y", [3, 4]), info("new_cache", state)],
        {},
    )
    stream = load(content).stream(3)
    stream.step(np.ones((3, 4), np.float32))
    with pytest.raises(StreamError, match="a state has the size 3 of the batch twice"):
        stream.reset([1])
    stream.reset()
