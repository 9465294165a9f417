"""The contract: what it holds comes back, what contradicts itself is refused, and a long input is told of."""

import json
import subprocess
import sys
import warnings

import numpy as np
import onnx
import pytest
from edgeseq_runtime import load
from edgeseq_runtime.contract import CONTRACT_KEY, Contract
from edgeseq_runtime.errors import ContractError, LongInputWarning
from edgeseq_runtime.seal import seal
from edgeseq_runtime.signature import Limit, Signature, Tensor

SIGNATURE = Signature(
    inputs=(
        Tensor("tokens", "int64", ("batch", "time"), range=(0, 3)),
        Tensor("open", "int64", ("batch", 2), features=("a", "b")),
    ),
    outputs=(Tensor("generated", "int64", ("batch", 4), "sequence"),),
    limits={"time": Limit(1, None, 7), "batch": Limit(1, 8)},
)


def contract(**changes):
    """The text of a contract, with some of its keys changed."""
    return json.dumps({**json.loads(Contract(SIGNATURE, "seq2seq", "transcribe").to_json()), **changes})


def changed(path, **changes):
    """A file's bytes, with some keys of its contract changed."""
    model = onnx.load(path)
    for prop in model.metadata_props:
        if prop.key == CONTRACT_KEY:
            prop.value = json.dumps({**json.loads(prop.value), **changes})
    return seal(model.SerializeToString())


@pytest.mark.parametrize(
    "decoding",
    [
        None,
        {},
        {"max_length": 48},
        {"decode": "beam", "beam_width": 4, "n_best": 2, "length_penalty": 0.5, "max_length": 9, "start": 1, "end": 2},
    ],
)
def test_what_is_written_comes_back(decoding):
    written = Contract(SIGNATURE, "seq2seq", "transcribe", decoding=decoding, sample_rate_hz=22050.0)
    read = Contract.from_json(written.to_json())
    assert read == written
    assert read.signature.limits["time"].trained == 7
    assert read.signature.limits["batch"].trained is None


def test_a_contract_from_before_there_was_decoding():
    value = json.loads(contract())
    del value["decoding"]
    assert Contract.from_json(json.dumps(value)).decoding is None


@pytest.mark.parametrize("decoding", ["greedy", 3, True, [], [["decode", "greedy"]], ""])
def test_malformed_decoding_is_refused(decoding):
    with pytest.raises(ContractError, match=r"decoding is .*, but an object with its settings is expected"):
        Contract.from_json(contract(decoding=decoding))


def test_names_for_another_number_of_features_are_refused():
    inputs = [{"name": "x", "dtype": "float32", "axes": ["batch", 2], "features": ["a"]}]
    with pytest.raises(ContractError, match="'x' has names for 1 features, but the axes"):
        Contract.from_json(contract(inputs=inputs, vocabulary=None))


@pytest.mark.parametrize("rate", [0, -1, True, "8000", [8000], float("inf")])
def test_a_sample_rate_is_a_number_of_hz(rate):
    with pytest.raises(ContractError, match=r"the contract's sample rate is .* but a number of Hz above 0 is expected"):
        Contract.from_json(contract(sample_rate_hz=rate))


@pytest.mark.parametrize("trained", ["many", [7], {}])
def test_malformed_limits_are_refused(trained):
    with pytest.raises(ContractError, match="the contract's signature is malformed"):
        Contract.from_json(contract(limits={"time": {"min": 1, "max": None, "trained": trained}}))


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ({"tokens": {"symbols": ["a", "b"]}}, "of 'tokens' has 2 symbols, .* up to 2, so 3 are expected.*Export"),
        ({"tokens": {"symbols": ["a", "b", "c", "d"]}}, "of 'tokens' has 4 symbols, .* up to 2, so 3 are expected"),
        ({"tokens": {"symbols": []}}, "has 0 symbols"),
        ({"token": {"symbols": ["a", "b", "c"]}}, "of 'token', but .* are tokens, open, generated.*Export"),
        ({"tokens": {"symbols": ["a", "b", "c"]}, "said": {}}, "there is a vocabulary of 'said'"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_refused(vocabulary, message):
    with pytest.raises(ContractError, match=message):
        Contract.from_json(contract(vocabulary=vocabulary))


@pytest.mark.parametrize(
    "vocabulary",
    [
        None,
        {},
        {"tokens": {"symbols": ["a", "b", "c"]}, "generated": {"symbols": ["A"]}},
        {"open": {"symbols": ["a", "b", "c", "d"]}},  # no range says how many there are
    ],
)
def test_a_vocabulary_that_fits_is_read(vocabulary):
    assert Contract.from_json(contract(vocabulary=vocabulary)).vocabulary == vocabulary


def test_a_file_whose_vocabulary_does_not_fit_is_not_loaded(models):
    path = models / "tokens.onnx"
    assert load(changed(path, vocabulary={"tokens": {"symbols": list("abcde")}})).run(np.zeros((1, 2), np.int64))
    with pytest.raises(ContractError, match=r"of 'tokens' has 4 symbols, .* 5 are expected\. Export the model again"):
        load(changed(path, vocabulary={"tokens": {"symbols": list("abcd")}}))


def test_loading_reads_no_text(models, tmp_path):
    path = tmp_path / "tokens.onnx"
    path.write_bytes(changed(models / "tokens.onnx", vocabulary={"tokens": {"symbols": list("abcde")}}))
    code = "import sys; from edgeseq_runtime import load; load(sys.argv[1]); print('edgeseq.text' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture(scope="module")
def trained(models):
    """Opens a file of `models` as one whose training data had at most 5 steps."""
    limits = {"batch": {"min": 1, "max": None}, "time": {"min": 1, "max": None, "trained": 5}}
    contents = {name: changed(models / f"{name}.onnx", limits=limits) for name in ("lstm", "gru")}
    return lambda name: load(contents[name])


def x(time, features=3, batch=2):
    return np.random.default_rng(0).standard_normal((batch, time, features)).astype(np.float32)


def told(call, *arguments):
    """What a call warns of."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call(*arguments)
    return found


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([x(5)], []),
        ([x(6)], [6]),
        ([x(6), x(6), x(9)], [6]),
        ([x(5), x(7), x(5), x(7)], [7]),
        ([{"x": x(9), "lengths": [5, 2]}], []),
        ([{"x": x(9), "lengths": [2, 6]}], [6]),
        ([{"x": x(9), "lengths": [5, 2]}, x(9)], [9]),
        ([{"x": x(9), "lengths": [9, 2]}, x(9), x(12)], [9]),
    ],
)
def test_a_long_input_is_told_once_by_its_valid_steps(trained, calls, expected):
    for _ in range(2):  # each model tells it anew
        model = trained("lstm")
        found = [warning for each in calls for warning in told(model.run, each)]
        assert [warning.category for warning in found] == [LongInputWarning] * len(expected)
        for warning, steps in zip(found, expected, strict=True):
            assert f"input 'x' has {steps} along 'time', but model was trained on at most 5" in str(warning.message)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("lstm", lambda model: model.run(x(6))),
        ("lstm", lambda model: model.run(x(6).tolist())),
        ("lstm", lambda model: model.run({"x": x(6)})),
        ("lstm", lambda model: model.run({"x": x(6), "lengths": [6, 1]})),
        ("gru", lambda model: model.run(x(6, 2))),
        ("gru", lambda model: model.run({"x": x(6, 2)})),
        ("lstm", lambda model: model.stream(2).run(x(6))),
        ("lstm", lambda model: model.measure(time=6, seconds=0.01)),
    ],
    ids=["array", "list", "dict", "lengths", "no lengths", "no lengths, dict", "stream", "measure"],
)
def test_the_warning_points_at_the_callers_line(trained, name, call):
    model = trained(name)
    (warning,) = told(call, model)
    assert (warning.filename, warning.lineno) == (__file__, call.__code__.co_firstlineno)


def test_a_stream_of_single_steps_is_as_long_as_it_is(trained):
    stream = trained("lstm").stream()
    assert not told(lambda: [stream.step(frame) for frame in x(9)[0]])
