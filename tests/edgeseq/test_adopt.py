"""A foreign file gets a contract: by its graph, and the command line that shows, streams and writes it."""

import json

import numpy as np
import onnx
import pytest
from edgeseq_runtime import load
from edgeseq_runtime.errors import DamagedFileError, GuessWarning, UsageError
from foreign_models import FEATURES, STYLES, by_hand, info, model, time_major_lstm
from onnx import helper
from typer.testing import CliRunner

from edgeseq.adopt import with_contract
from edgeseq.cli.app import app
from edgeseq.graph_states import graph_pairs


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, prog_name="edgeseq")


def frames(rows, time):
    return np.random.default_rng(2).standard_normal((rows, time, FEATURES)).astype(np.float32)


@pytest.mark.parametrize("name", STYLES)
def test_a_contract_holds_what_was_found(name):
    style = STYLES[name]
    content, rows = style.make(), 3 if style.rows else 1
    written = load(with_contract(content, values=style.fixed))
    assert written.contract is not None
    assert {s.input: s.output for s in written.signature.states} == style.states
    x = frames(rows, 5)
    expected, _ = by_hand(style, content, x)
    answer = written.signature.outputs[0].name
    stream = written.stream(rows)
    got = np.stack([stream.step(x[:, t].astype(written.signature.inputs[0].dtype))[answer] for t in range(5)], 1)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    if not style.by_call:
        np.testing.assert_allclose(written.run(x)[answer], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["time-major h, c", "fused state", "layers", "the same order", "in a subgraph"])
def test_the_graph_shows_the_states_of_recurrent_operators(name):
    found = {(p.input, p.output) for p in graph_pairs(onnx.load_from_string(STYLES[name].make()))}
    assert found == set(STYLES[name].states.items())


def test_the_graph_overrules_the_names():
    """Outputs whose names are the other's: only the graph tells."""
    content = time_major_lstm(("h", "c", "cn", "hn"))
    assert {p.input: p.output for p in load(content).pairs} == {"h": "hn", "c": "cn"}
    written = load(with_contract(content))
    assert {s.input: s.output for s in written.signature.states} == {"h": "cn", "c": "hn"}


def test_the_graph_decides_what_is_unclear():
    """Every input has an output of its shape, so that by names and shapes alone nothing is paired."""
    rng = np.random.default_rng(1)
    weights = {"W": rng.standard_normal((1, 12, 4)), "R": rng.standard_normal((1, 12, 4))}
    node = helper.make_node("GRU", ["a", "W", "R", "", "", "b"], ["y4", "q"], hidden_size=4)
    squeeze = helper.make_node("Squeeze", ["y4", "one"], ["p"])
    shapes = [1, 1, 4]
    content = model(
        [node, squeeze],
        [info("a", shapes), info("b", shapes)],
        [info("p", shapes), info("q", shapes)],
        {name: array.astype(np.float32) for name, array in weights.items()} | {"one": np.array([1])},
    )
    assert "any could be the data" in load(content).signature.reason
    assert {s.input: s.output for s in load(with_contract(content)).signature.states} == {"b": "q"}


def ir_3(content):
    """A file of the time when every initializer was an input, too."""
    file = onnx.load_from_string(content)
    file.ir_version = 3
    for tensor in file.graph.initializer:
        file.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return file.SerializeToString()


@pytest.mark.parametrize("made", [lambda content: content, ir_3])
def test_a_fixed_scalar_stays_a_value(made):
    style = STYLES["fused state"]
    written = with_contract(made(style.make()), values={"sr": 16000})
    slow, fast = load(written, values={"sr": 8000}), load(written)
    assert (slow.values, fast.values) == ({"sr": 8000}, {"sr": 16000})
    x = frames(1, 3)
    expected, _ = by_hand(style, style.make(), x)
    np.testing.assert_allclose(fast.run(x)["output"], expected, atol=1e-6)
    assert np.abs(slow.run(x)["output"] - expected).max() > 0.01


def test_what_has_a_contract_or_no_states_gets_none(models):
    with pytest.raises(UsageError, match="has a contract already"):
        with_contract((models / "lstm.onnx").read_bytes(), name="lstm.onnx")
    relu = model([helper.make_node("Relu", ["x"], ["y"])], [info("x", [1, 3])], [info("y", [1, 3])], {})
    with pytest.raises(UsageError, match="no states were found"):
        with_contract(relu)


def test_damage_to_a_written_file_is_noticed():
    written = bytearray(with_contract(STYLES["a cell"].make()))
    written[200] ^= 4
    with pytest.raises(DamagedFileError):
        load(bytes(written))


@pytest.fixture
def folder(tmp_path):
    for name in ("fused state", "a cell", "the same order"):
        (tmp_path / f"{name.split()[-1]}.onnx").write_bytes(STYLES[name].make())
    np.savetxt(tmp_path / "x.csv", frames(1, 6)[0], delimiter=",")
    return tmp_path


def test_run_streams_and_writes_what_inspect_shows(folder):
    style = STYLES["fused state"]
    expected, _ = by_hand(style, style.make(), np.loadtxt(folder / "x.csv", delimiter=",")[None].astype(np.float32))
    streamed = run("run", folder / "state.onnx", "--input", folder / "x.csv", "--stream", "--set", "sr=16000")
    assert streamed.exit_code == 0, streamed.output
    got = [[float(cell) for cell in line.split(",")] for line in streamed.stdout.splitlines()]
    np.testing.assert_allclose(got, expected[0], atol=1e-5)
    shown = json.loads(run("inspect", folder / "state.onnx", "--set", "sr=16000", "--json").stdout)
    assert shown["pairs"][0] == {
        "input": "state",
        "output": "stateN",
        "why": "their names and their shapes",
        "sure": True,
    }
    written = run("inspect", folder / "state.onnx", "--set", "sr=16000", "--write", "-o", folder / "new.onnx", "--json")
    assert json.loads(written.stdout)["values"] == {"sr": 16000}
    again = run("run", folder / "new.onnx", "--input", folder / "x.csv", "--stream")
    assert again.stdout == streamed.stdout


def test_guesses_are_told(folder):
    result = run("run", folder / "order.onnx", "--input", folder / "x.csv", "--stream")
    assert result.stderr.count("'p' is taken as the next 'a' of order.onnx (the same order among 2 of one shape)") == 1
    with pytest.warns(GuessWarning, match="'p' is taken as the next 'a'") as told:
        load(folder / "order.onnx").stream()
    assert {warning.filename for warning in told} == {__file__}
    given = run(
        "run", folder / "order.onnx", "--input", folder / "x.csv", "--stream", "--state", "a=p", "--state", "b=q"
    )
    assert (given.stderr, given.stdout) == ("", result.stdout)


def test_a_guess_is_told_when_it_is_written(folder):
    written = run("inspect", folder / "cell.onnx", "--write", "-o", folder / "new.onnx")
    assert written.exit_code == 0
    assert written.stderr.count("'bar' is taken as the next 'foo' of cell.onnx") == 1
    assert load(folder / "new.onnx").contract.provenance["states"] == {
        "foo": "bar, by the only output of its shape, a guess"
    }


def test_pieces_that_cannot_be_joined_are_refused(folder):
    """Every second step is answered, so pieces of three steps would have other answers than the whole."""
    nodes = [
        helper.make_node("Slice", ["x", "one", "end", "one", "two"], ["y"]),
        helper.make_node("ReduceSum", ["x", "one"], ["s"], keepdims=0),
        helper.make_node("Add", ["s", "h"], ["hn"]),
    ]
    state, answer = ["batch", FEATURES], ["batch", None, FEATURES]
    weights = {"one": np.array([1]), "two": np.array([2]), "end": np.array([2**40])}
    inputs, outputs = [info("x", ["batch", "time", FEATURES]), info("h", state)], [info("y", answer), info("hn", state)]
    (folder / "second.onnx").write_bytes(model(nodes, inputs, outputs, weights))
    arguments = ("run", folder / "second.onnx", "--input", folder / "x.csv", "-o", folder / "y.npy")
    assert run(*arguments).exit_code == 0
    refused = run(*arguments, "--chunk", "3")
    assert refused.exit_code == 2
    assert "so its pieces cannot be joined" in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run {f}/cell.onnx --input {f}/x.csv --state foo", "write INPUT=OUTPUT"),
        ("run {f}/cell.onnx --input {f}/x.csv --state foo=nothing", "no output 'nothing'"),
        ("run {f}/cell.onnx --input {f}/x.csv --set sr=3", "has no value 'sr'"),
        ("run {f}/cell.onnx --input {f}/x.csv --context 3", "--context is for --stream"),
        ("run {f}/cell.onnx --input {f}/x.csv --stream --context 3", "a context of 3"),
        ("bench {f}/cell.onnx --context 3", "--context is for --stream"),
        ("inspect {f}/cell.onnx -o {f}/y.onnx", "-o is for --write"),
    ],
)
def test_mistakes_are_told(folder, arguments, message):
    result = run(*arguments.replace("{f}", str(folder)).split())
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_bench_times_a_foreign_stream(folder):
    result = run("bench", folder / "state.onnx", "--stream", "--set", "sr=16000", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["mode"] == "stream"


def test_a_frozen_time_axis_takes_so_many_rows_a_line(folder):
    """As exporters write it that are not told which axes are free: six steps in every call."""
    nodes = [
        helper.make_node("ReduceSum", ["x", "one"], ["s"], keepdims=0),
        helper.make_node("Add", ["s", "h"], ["h_out"]),
        helper.make_node("Mul", ["x", "two"], ["y"]),
    ]
    axes, state = [1, 6, FEATURES], [1, FEATURES]
    weights = {"one": np.array([1]), "two": np.array(2, np.float32)}
    inputs, outputs = [info("x", axes), info("h", state)], [info("y", axes), info("h_out", state)]
    (folder / "six.onnx").write_bytes(model(nodes, inputs, outputs, weights))
    refused = run("run", folder / "six.onnx", "--input", folder / "x.csv", "--stream")
    assert refused.exit_code == 2
    assert "a step takes 6, 3; give so many rows as one JSON line, or export the file again" in refused.stderr
    x = frames(1, 12).reshape(2, 6, FEATURES)
    answered = run("run", folder / "six.onnx", "--input", "-", "--stream", stdin="\n".join(map(str, x.tolist())))
    assert answered.exit_code == 0, answered.output
    got = [[float(cell) for cell in line.split(",")] for line in answered.stdout.splitlines()]
    np.testing.assert_allclose(got, 2 * x.reshape(2, -1), rtol=1e-6)


def test_weights_beside_the_file_are_written_into_it(folder):
    """As PyTorch's exporter leaves them by default."""
    file = onnx.load_from_string(STYLES["a cell"].make())
    onnx.save(file, folder / "two.onnx", save_as_external_data=True, location="two.onnx.data", size_threshold=0)
    expected = run("run", folder / "cell.onnx", "--input", folder / "x.csv", "--stream").stdout
    written = run("inspect", folder / "two.onnx", "--write", "-o", folder / "elsewhere" / "one.onnx")
    assert written.exit_code == 0, written.output
    assert run("run", folder / "elsewhere" / "one.onnx", "--input", folder / "x.csv", "--stream").stdout == expected


def test_a_written_contract_says_what_its_reference_takes(folder, monkeypatch):
    """Time first, as the graph and the network have it."""
    (folder / "summing.py").write_text(
        "from torch import nn\n"
        "class Sum(nn.Module):\n"
        "    def forward(self, x, h=None):\n"
        "        return 2 * x, x.sum(0) + (0 if h is None else h)\n"
    )
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["y"]),
        helper.make_node("ReduceSum", ["x", "axis"], ["s"], keepdims=0),
        helper.make_node("Add", ["h", "s"], ["hn"]),
    ]
    axes, state = ["time", "batch", FEATURES], ["batch", FEATURES]
    weights = {"two": np.array(2, np.float32), "axis": np.array([0])}
    inputs, outputs = [info("x", axes), info("h", state)], [info("y", axes), info("hn", state)]
    (folder / "sum.onnx").write_bytes(model(nodes, inputs, outputs, weights))
    monkeypatch.chdir(folder)
    assert run("inspect", "sum.onnx", "--write", "-o", "written.onnx").exit_code == 0
    result = run("verify", "written.onnx", "summing:Sum")
    assert "Say it: --input" not in result.stderr
    assert result.exit_code == 0, result.output
