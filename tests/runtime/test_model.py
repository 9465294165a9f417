"""Whole runs: what is accepted, what is refused and in which words, and what a file says of itself."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from edgeseq_runtime import load
from edgeseq_runtime._ort.session import Session, available_providers
from edgeseq_runtime.errors import ContractError, DamagedFileError, InputError, ProviderError, StreamError, UsageError
from edgeseq_runtime.seal import seal
from onnx import TensorProto, helper


@pytest.fixture(scope="module")
def model(models):
    return load(models / "lstm.onnx")


def x(*shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


BAD_INPUTS = [
    (x(2, 3), r"'x' has 2 axes \(shape \(2, 3\)\), but lstm.onnx takes 3 .*x\[None\]"),
    (x(1, 2, 3, 4), r"'x' has 4 axes"),
    (x(2, 5, 13), r"input 'x' has 13 features, but lstm.onnx takes 3 \(float32, axes: batch, time, 3\)"),
    (x(2, 0, 3), r"has 0 along 'time', but lstm.onnx takes at least 1"),
    (x(0, 5, 3), r"has 0 along 'batch'"),
    (np.ones((1, 4, 3), np.int64), r"'x' is int64, but float32 is expected"),
    (np.ones((1, 4, 3), complex), r"'x' is complex128, but float32 is expected"),
    ([[[1.0, 2.0, 3.0]], [[1.0, 2.0]]], r"not a regular array.*Pad ragged rows"),
    ({"x": x(2, 5, 3), "lengths": [0, 5]}, r"'lengths' has 0 in row 0, but a length is at least 1"),
    ({"x": x(2, 5, 3), "lengths": [5, 6]}, r"'lengths' has 6 in row 1, .* at most the 5 steps of 'x'"),
    ({"x": x(2, 5, 3), "lengths": [5]}, r"'lengths' has 1 along 'batch' .* have 2"),
    ({"x": np.full((2, 5, 3), 1e39)}, r"'x' has 1e\+39 at \(0, 0, 0\), which is beyond float32"),
    ({"x": x(2, 5, 3), "lengths": [5.0, 5.0]}, r"'lengths' is float64, but int64 is expected"),
    ({"y": x(2, 5, 3)}, r"input 'x' of lstm.onnx is missing"),
    ({"x": x(2, 5, 3), "z": 1}, r"no input 'z'; it takes x, lengths, h0, c0"),
    ({"x": x(2, 5, 3), "h0": x(1, 3, 8)}, r"'h0' has 3 along 'batch'"),
    ({"x": x(2, 5, 3), "h0": x(1, 2, 9)}, r"'h0' has 9 features, but lstm.onnx takes 8"),
]


@pytest.mark.parametrize(("inputs", "message"), BAD_INPUTS, ids=range(len(BAD_INPUTS)))
def test_bad_input_is_refused_in_words(model, inputs, message):
    with pytest.raises(InputError, match=message):
        model.run(inputs)


def test_a_bad_input_after_a_good_one_of_the_same_shape(model):
    model.run(x(2, 5, 3))
    with pytest.raises(InputError, match="int64"):
        model.run(np.ones((2, 5, 3), np.int64))


def test_float64_and_lists_are_cast(model):
    expected = model.run(x(1, 4, 3))["logits"]
    np.testing.assert_array_equal(model.run(x(1, 4, 3).astype(np.float64))["logits"], expected)
    np.testing.assert_array_equal(model.run(x(1, 4, 3).tolist())["logits"], expected)
    np.testing.assert_array_equal(model.run({"x": x(1, 4, 3), "lengths": np.int32([4])})["logits"], expected)
    np.testing.assert_array_equal(model.run(np.asfortranarray(x(1, 4, 3)))["logits"], expected)


def test_a_batch_is_its_rows_one_by_one(model):
    batch, lengths = x(4, 9, 3), [9, 1, 4, 7]
    together = model.run({"x": batch, "lengths": lengths})
    for row, length in enumerate(lengths):
        alone = model.run(batch[row : row + 1, :length])
        np.testing.assert_allclose(together["logits"][row], alone["logits"][0], atol=1e-6)


def test_answers_are_fresh_arrays(model):
    first = model.run(x(1, 4, 3))
    kept = first["logits"].copy()
    model.run(x(1, 4, 3) + 1)
    np.testing.assert_array_equal(first["logits"], kept)


def test_states_on_request(model):
    assert set(model.run(x(1, 4, 3))) == {"logits", "probabilities"}
    assert set(model.run(x(1, 4, 3), states=True)) == {"logits", "probabilities", "h0_next", "c0_next"}


def test_pickled_model_answers_the_same(model):
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.run(x(2, 5, 3))["logits"], model.run(x(2, 5, 3))["logits"])


def test_many_threads_of_different_shapes(model):
    shapes = [(b, t, 3) for b in (1, 2, 5) for t in (1, 4, 9)] * 8
    expected = [model.run(x(*shape))["logits"] for shape in shapes]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda shape: model.run(x(*shape))["logits"], shapes))
    for answer, truth in zip(answers, expected, strict=True):
        np.testing.assert_array_equal(answer, truth)


def test_contract(model):
    assert model.contract.family == "lstm"
    assert model.contract.labels == ("ae", "oe", "ue")
    assert model.signature.streamable
    assert model.sha256 is not None


def test_measure_times_what_was_asked_for(models, monkeypatch):
    model, shapes = load(models / "lstm.onnx"), set()
    run = model.run
    monkeypatch.setattr(model, "run", lambda inputs: (shapes.add(np.shape(inputs)), run(inputs)))
    latency = model.measure(batch=2, time=3, seconds=0.01)
    assert shapes == {(2, 3, 3)}
    assert latency.calls >= 10
    assert 0 < latency.p50_us <= latency.p99_us <= latency.max_us
    assert model.measure(stream=True, seconds=0.01).calls >= 10


def test_a_pickle_does_not_open_another_file(models, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes((models / "lstm.onnx").read_bytes())
    pickled = pickle.dumps(load(path))
    path.write_bytes((models / "bidirectional.onnx").read_bytes())
    with pytest.raises(DamagedFileError, match="not the file any more"):
        pickle.loads(pickled)


def test_a_scalar_as_the_first_call_is_refused_in_words(models):
    with pytest.raises(InputError, match=r"'x' has 0 axes"):
        load(models / "lstm.onnx").run(np.array(1.0, np.float32))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"provider": "cuda"},
            ProviderError,
            "'cuda' was asked for, but onnxruntime here has only .*CPUExecutionProvider",
        ),
        ({"provider": "tpu"}, UsageError, "provider 'tpu' is not known; choose auto, cpu or cuda"),
        ({"threads": 0}, UsageError, "threads is 0"),
        ({"threads": 10**6}, UsageError, "threads is 1000000, but at most"),
    ],
)
def test_bad_load_arguments(models, arguments, error, message):
    with pytest.raises(error, match=message):
        load(models / "lstm.onnx", **arguments)


@pytest.fixture(scope="module")
def foreign():
    """y = x + 1, by another exporter, without a contract."""
    x_info, y_info = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy")
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph([helper.make_node("Add", ["x", "one"], ["y"])], "g", [x_info], [y_info], [one])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


def test_foreign_file_runs_but_promises_nothing(foreign):
    model = load(foreign)
    np.testing.assert_array_equal(model.run(np.zeros((3, 2), np.float32))["y"], np.ones((3, 2)))
    assert model.contract is None
    assert model.signature.inputs[0].axes == ("n", 2)
    with pytest.raises(InputError, match="has 5 features"):
        model.run(np.zeros((3, 5), np.float32))
    with pytest.raises(StreamError, match="no contract"):
        model.stream()
    with pytest.raises(ContractError, match="no test vectors"):
        model.verify()


def test_golden_vectors_pass(models):
    for path in sorted(models.glob("*.onnx")):
        report = load(path).verify()
        assert report.passed, path
        assert len({c.case for c in report.comparisons}) >= 2


def test_ir_version_opens_on_old_runtimes(models):
    model = onnx.load(models / "lstm.onnx")
    assert (model.ir_version, model.opset_import[0].version) == (8, 18)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_come_up_is_an_error_and_not_the_cpu(models):
    content = (models / "lstm.onnx").read_bytes()
    wanted = [("CUDAExecutionProvider", {}), ("CPUExecutionProvider", {})]
    if "CUDAExecutionProvider" in available_providers():
        wanted[0] = ("NoSuchExecutionProvider", {})
    with pytest.raises(ProviderError, match=r"was asked for, but onnxruntime fell back to CPUExecutionProvider"):
        Session(content, "x", wanted, threads=1)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_asked_for_and_do_not_spin(models, threads):
    options = load(models / "lstm.onnx", threads=threads)._session._session.get_session_options()
    assert options.intra_op_num_threads == threads
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_contract_that_does_not_fit_its_graph_is_refused(models):
    model = onnx.load(models / "lstm.onnx")
    for old, new, message in (
        ('"logits"', '"logit"', "do not agree on output"),
        ('"int64"', '"int32"', "do not agree on input 'lengths'"),
        ('"int64"', '"int63"', "has the type 'int63'; known are float32"),
        ('"h0_next"', '"c0_next"', "the name 'c0_next' stands twice"),
        ('[1, "batch", 8]', '[1, "rows", 8]', "'batch' once, and numbers are needed"),
    ):
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        for prop in changed.metadata_props:
            if prop.key == "edgeseq.contract":
                prop.value = prop.value.replace(old, new, 1)
        with pytest.raises(ContractError, match=message):
            load(seal(changed.SerializeToString()))
