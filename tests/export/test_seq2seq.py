"""Parity of sequence-to-sequence networks: cell × attention × direction × form × decoding, and how they decode."""

import re
from itertools import combinations, product

import numpy as np
import onnx
import pytest
import torch
from edgeseq_export import Source, convert, export, recur, verify
from edgeseq_export.ops.decoding import Limits, beam_search, decode
from edgeseq_export.ops.largest import largest
from edgeseq_runtime import load
from edgeseq_runtime.errors import ExportError
from edgeseq_runtime.signature import Signature, Tensor
from pairwise import crossed, pairwise, parametrised
from torch import nn

from edgeseq.nn import Hints, build
from edgeseq.nn.seq2seq_config import END, PADDING, START
from edgeseq.opening import source_of

FACTORS = {
    "cell": ["lstm", "gru", "rnn"],
    "attention": ["none", "dot", "general", "additive"],
    "bidirectional": [True, False],
    "form": ["unroll", "loop", "native"],
    "decode": ["greedy", "beam", "sample", "values", "values-to-end"],
    "num_layers": [1, 2],
    "tokens": [True, False],
    "nonlinearity": ["tanh", "relu", "sigmoid"],
}
CROSSED = ("cell", "attention", "bidirectional", "form", "decode")
"""All combinations of these are in the whole table; the other factors go along."""

VALUES = {"values": {"task": "forecast"}, "values-to-end": {"task": "forecast", "stop": "learned"}}
"""The settings of networks that give values."""

CONTROL_FLOW = {"Scan", "Loop", "If"}
LENGTH = 6


GRID = crossed(FACTORS, CROSSED)


def make(decode="greedy", tokens=True, cell="lstm", nonlinearity="tanh", **settings):
    """A network whose answers end at all steps: drawn with large weights, so that they hang on the input."""
    config = {"input_size": 1 if tokens else 2, "output_size": 5, "max_length": LENGTH, "hidden_size": 8, "cell": cell}
    if tokens:
        config["vocabulary_size"] = 7
    config["nonlinearity"] = nonlinearity
    config |= VALUES.get(decode, {"decode": decode, "beam_width": 3})
    for seed in range(5, 100):
        network = drawn({**config, **settings}, seed)
        if decode == "values" or moves(network):
            return network
    raise AssertionError(f"no network of {config} listens to its input")


def drawn(config, seed):
    """A network with large weights, so that its answers hang on the input."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build("seq2seq", config, Hints(typical={"batch": 1, "time": 5})).eval()
        for name, value in network.named_parameters():
            value.data.mul_(1.0 if "bias" in name else 2.0)
        network.output.head.weight.data.mul_(2)
        if network.start is not None:
            network.start.data.normal_()
    return network


def moves(network):
    """Whether the integers differ between inputs, as a proof needs it."""
    name = "generated" if network.says else "answer_length"
    one, other = (answers(network, {**inputs(network, 8, 5, seed), "lengths": np.full(8, 5)}) for seed in (1, 2))
    return (one[name] != other[name]).mean() > 0.05


def inputs(network, batch=5, time=4, seed=0):
    rng = np.random.default_rng(seed)
    tokens = network.config.vocabulary_size
    given = {"lengths": rng.integers(1, time + 1, batch)}
    if tokens:
        given["tokens"] = rng.integers(0, tokens, (batch, time))
    else:
        given["x"] = rng.standard_normal((batch, time, 2)).astype(np.float32)
    if network.config.decode == "sample":
        given["noise"] = rng.random((batch, network.config.max_length), np.float32)
    return given


def answers(network, given, **values):
    with torch.no_grad():
        found = network(**{name: torch.from_numpy(array) for name, array in given.items()}, **values)
    return {name: value.numpy() for name, value in found.items()}


def equal(actual, expected):
    np.testing.assert_array_equal(actual["generated"], expected["generated"])
    np.testing.assert_allclose(actual["scores"], expected["scores"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", list(parametrised(GRID)))
def test_proof_passes(case, operators, tmp_path):
    network = make(**{key: value for key, value in case.items() if key != "form"})
    path = tmp_path / "seq2seq.onnx"
    report = export(source_of(network), path, form=case["form"])
    assert report.passed, report.worst
    assert load(path).verify().passed
    assert {"1×1", "3×7", "8×5", "8×50"} <= {c.case.split()[0] for c in report.comparisons}  # time is free in all forms
    assert any("ragged" in c.case for c in report.comparisons)
    assert bool(operators(path.read_bytes()) & CONTROL_FLOW) is (case["form"] != "unroll")


def test_table_crosses_all_factors():
    assert len(GRID) == 3 * 4 * 2 * 3 * 5
    chosen = [GRID[i] for i in pairwise(GRID)]
    for one, other in combinations(FACTORS, 2):
        wanted = set(product(map(str, FACTORS[one]), map(str, FACTORS[other])))
        assert {(str(c[one]), str(c[other])) for c in chosen} == wanted


@pytest.mark.parametrize("decode", ["greedy", "beam", "sample"])
@pytest.mark.parametrize("form", ["unroll", "loop"])
def test_rows_stop_at_once_in_the_middle_and_never(decode, form):
    network = make(decode, beam_width=5, n_best=5) if decode == "beam" else make(decode)
    model, given = load(convert(source_of(network), form=form)), inputs(network, batch=200)
    expected = answers(network, given)
    said = expected["generated"].reshape(-1, LENGTH)
    ends = np.where((said == END).any(1), (said == END).argmax(1), LENGTH)
    assert {0, 1, 2, LENGTH} <= set(ends.tolist())
    assert (said[np.arange(LENGTH) > ends[:, None]] == PADDING).all()
    assert not np.isin(said[np.arange(LENGTH) < ends[:, None]], (PADDING, START)).any()
    equal(model.run(given), expected)
    alone = {name: array[3:4] for name, array in given.items()}
    alone["tokens"] = alone["tokens"][:, : int(alone["lengths"][0])]
    equal(model.run(alone), {name: array[3:4] for name, array in expected.items() if name != "generated_margin"})


@pytest.mark.parametrize("form", ["unroll", "loop"])
def test_values_end_at_once_in_the_middle_and_never(form):
    network = make("values-to-end")
    model, given = load(convert(source_of(network), form=form)), inputs(network, batch=200)
    expected = answers(network, given)
    ends = expected["answer_length"]
    assert {1, 2, LENGTH} <= set(ends.tolist())
    behind = np.arange(LENGTH) >= ends[:, None]
    assert (expected["values"][behind] == 0).all()
    assert (expected["values"][~behind] != 0).all()
    found = model.run(given)
    np.testing.assert_array_equal(found["answer_length"], ends)
    np.testing.assert_allclose(found["values"], expected["values"], rtol=1e-4, atol=1e-5)
    alone = {name: array[3:4] for name, array in given.items()}
    alone["tokens"] = alone["tokens"][:, : int(alone["lengths"][0])]
    found = model.run(alone)
    assert found["answer_length"] == ends[3]
    np.testing.assert_allclose(found["values"], expected["values"][3:4], rtol=1e-4, atol=1e-5)


class Counting(nn.Module):
    """Counts its steps; the row's number of steps ends it."""

    def forward(self, count, least, ended, most):
        """One step more."""
        count = count + 1
        return count, torch.minimum(least, count), ended | (count >= most), torch.where(ended, 0, count)


class Counter(nn.Module):
    """How many steps a recurrence makes whose rows end after as many as they say."""

    def forward(self, most):
        zero = torch.zeros_like(most)
        after, (counts,) = recur(Counting(), (zero, zero, zero > 0), (), fixed=(most,), count=9, stops=True)
        return {"made": after[0].squeeze(-1), "counts": counts.squeeze(-1).transpose(0, 1)}


@pytest.mark.parametrize(("form", "made"), [("loop", 4), ("unroll", 9)])
def test_a_loop_stops_when_all_rows_have_ended(form, made):
    signature = Signature(
        inputs=(Tensor("most", "int64", ("batch", 1), range=(1, 10)),),
        outputs=(Tensor("made", "int64", ("batch",), "sequence"), Tensor("counts", "int64", ("batch", 9), "sequence")),
    )
    model = load(convert(Source(Counter(), signature, "count", "count", "counter"), form=form))
    given = np.array([[2], [4], [1]])
    outputs = model.run(given)
    np.testing.assert_array_equal(outputs["made"], [made] * 3)
    np.testing.assert_array_equal(outputs["counts"], np.where(np.arange(9) < given, np.arange(1, 10), 0))
    np.testing.assert_array_equal(Counter()(torch.from_numpy(given))["counts"].numpy(), outputs["counts"])


@pytest.mark.parametrize("form", ["unroll", "loop"])
def test_equally_likely_symbols_are_taken_in_order(form):
    network = make("beam", beam_width=4, n_best=4, max_length=3)
    network.output.head.weight.data.zero_()
    network.output.head.bias.data.zero_()
    given = inputs(network, batch=2)
    expected = answers(network, given)
    # the end is the lowest symbol that can be said, 3 the next; what goes on from the better hypothesis comes first
    assert expected["generated"][0].tolist() == [[END, 0, 0], [3, END, 0], [3, 3, END], [3, 3, 3]]
    equal(load(convert(source_of(network), form=form)).run(given), expected)
    greedy = make("greedy")
    greedy.output.head.weight.data.zero_()
    greedy.output.head.bias.data.zero_()
    greedy.output.head.bias.data[END] = -1
    expected = answers(greedy, given)
    assert (expected["generated"] == 3).all()
    equal(load(convert(source_of(greedy), form=form)).run(given), expected)


@pytest.mark.parametrize("values", [[1.0, 3.0, 3.0, 2.0, 3.0], [0.0] * 5, [-np.inf, 1.0, -np.inf, 1.0, -np.inf]])
def test_largest_takes_the_earlier_of_equals(values):
    found, places = largest(torch.tensor([values, values[::-1]]), 4)
    for row, each in enumerate((values, values[::-1])):
        wanted = sorted(range(5), key=lambda i: (-each[i], i))[:4]
        assert places[row].tolist() == wanted
        assert found[row].tolist() == [each[i] for i in wanted]


def test_a_beam_of_one_is_greedy():
    greedy, beam = make("greedy"), make("beam", beam_width=1)
    given = inputs(greedy, batch=50)
    one, other = answers(greedy, given), answers(beam, given)
    np.testing.assert_array_equal(one["generated"], other["generated"][:, 0])
    np.testing.assert_allclose(one["scores"], other["scores"][:, 0], rtol=1e-5)


class Table(nn.Module):
    """Logits that hang on the last symbol alone, with a state that is carried for nothing."""

    def __init__(self, symbols, seed):
        super().__init__()
        self.register_buffer("logits", torch.randn(symbols, symbols, generator=torch.Generator().manual_seed(seed)) * 2)

    def forward(self, symbol, state):
        """One step."""
        return self.logits[symbol], state + 1


@pytest.mark.parametrize("exponent", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_finds_the_best_of_all(seed, exponent):
    step, limits = Table(6, seed), Limits(START, END, 3)
    found = beam_search(step, (torch.zeros(1, 2),), (), limits, 40, 5, torch.tensor(exponent))
    known = step.logits.clone()
    known[:, [PADDING, START]] = -torch.inf
    known = known.log_softmax(-1)
    every = []
    for count in (1, 2, 3):
        for symbols in product([END, 3, 4, 5], repeat=count):
            ended = END in symbols
            if symbols.index(END) != count - 1 if ended else count < 3:
                continue
            score = sum(float(known[a, b]) for a, b in zip((START, *symbols), symbols, strict=False))
            every.append((score / ((5 + count) / 6) ** exponent, symbols))
    for place, (score, symbols) in enumerate(sorted(every, reverse=True)[:5]):
        assert tuple(s for s in found.symbols[0, place].tolist() if s != PADDING) == symbols
        assert float(found.scores[0, place]) == pytest.approx(score, rel=1e-5)


def test_sampling_is_by_the_distribution():
    step, rows = Table(5, 0), 20000
    noise = (torch.arange(rows)[:, None] + 0.5) / rows
    chance = (noise, torch.tensor(1.0), torch.tensor(0))
    found = decode(step, (torch.zeros(rows, 1),), (), Limits(START, END, 1), chance)
    logits = step.logits[START].clone()
    logits[[PADDING, START]] = -torch.inf
    share = torch.bincount(found.symbols[:, 0], minlength=5) / rows
    torch.testing.assert_close(share, logits.softmax(-1), atol=2e-4, rtol=0)


def test_values_of_a_file_are_set_when_it_is_loaded():
    network = make("beam", n_best=3)
    content, given = convert(source_of(network)), inputs(network, batch=30)
    for exponent in (0.0, 2.0):
        model = load(content, values={"length_penalty": exponent})
        equal(model.run(given), answers(network, given, length_penalty=torch.tensor(exponent)))
    assert not np.array_equal(load(content).run(given)["scores"], model.run(given)["scores"])
    drawing = make("sample")
    content, given = convert(source_of(drawing)), inputs(drawing, batch=30)
    cold = load(content, values={"temperature": 0.0}).run(given)
    equal(cold, answers(make("greedy"), {name: given[name] for name in ("tokens", "lengths")}))
    assert not np.array_equal(load(content).run(given)["generated"], cold["generated"])


@pytest.mark.parametrize(("decode", "constants"), [("greedy", 8), ("beam", 2 * 8), ("values-to-end", 2 * 5)])
def test_weights_are_in_the_file_once(decode, constants):
    """Beside them stand what is never said and what padding costs, of 8 symbols; or mean and deviation of 5 values."""
    weights = sum(p.numel() for p in make(decode).parameters())
    for form, length in (("unroll", 2), ("unroll", 9), ("loop", 9)):
        proto = onnx.load_from_string(convert(source_of(make(decode, max_length=length)), form=form))
        sizes = [int(np.prod(t.dims)) for t in proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
        assert sum(size for size in sizes if size > 1) == weights + constants


def test_the_contract_says_how_it_decodes():
    contract = load(convert(source_of(make("beam", n_best=2)))).contract
    assert contract.decoding == {
        **{"decode": "beam", "beam_width": 3, "n_best": 2, "length_penalty": 0.0, "max_length": LENGTH},
        **{"start": START, "end": END, "padding": PADDING},
    }
    assert "beam_width" not in make("greedy").decoding()
    assert make("values").decoding() == {"max_length": LENGTH, "stop": "length"}
    assert make("values-to-end").decoding() == {"max_length": LENGTH, "stop": "learned"}
    assert contract.steps is None
    assert not contract.signature.streamable


@pytest.mark.parametrize(
    ("decode", "place"), [("greedy", r"row \d+, position \d+"), ("beam", r"row \d+, hypothesis 0")]
)
def test_a_difference_is_told_with_its_place_and_scores(decode, place):
    network, other = make(decode), make(decode)
    other.output.head.bias.data[4] += 2
    report = verify(convert(source_of(network)), source_of(other))
    worst = next(c for c in report.failures if c.output == "generated")
    assert re.search(rf"{place}.*: \d in place of \d; its score is -\d\S*, and -\d\S* in PyTorch", worst.first)


@pytest.mark.parametrize(
    "more", [{"stops": True, "backward": True}, {"count": 3, "backward": True}, {"count": 3, "lengths": torch.ones(2)}]
)
def test_recurrences_that_cannot_be(more):
    with pytest.raises(ValueError, match="goes forward and takes no lengths"):
        recur(Counting(), (torch.zeros(2, 1),), () if "count" in more else (torch.zeros(3, 2, 1),), **more)


def test_an_unrolled_decoder_has_no_steps_of_its_source():
    with pytest.raises(ExportError, match="any length in every form"):
        convert(source_of(make()), form="unroll", steps=7)
