"""Networks that are not edgeseq families: what is found out about each, its proof, and its answer beside its own."""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgeseq_export import Source, convert, verify
from edgeseq_export.sources.module import from_module
from edgeseq_export.sources.program import open_program
from edgeseq_export.sources.scripted import open_scripted
from edgeseq_runtime import load
from edgeseq_runtime.draw import draw_inputs
from edgeseq_runtime.errors import ExportError, StreamError, UsageError
from edgeseq_runtime.signature import Limit
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from zoo import archives, attention, calls, convolutions, ragged, stacks, steps

X, LENGTHS = "x:float32[batch,time,4]", "lengths:int64[batch]"
NO_STATE = "it carries no state from one call to the next"
LSTM = ("h", "c")


def _in_order(network: nn.Module, *inputs: Tensor) -> Any:
    return network(*inputs)


def _time_first(network: nn.Module, x: Tensor, *others: Tensor) -> Any:
    return [
        each.transpose(0, 1) if each.dim() == 3 else each for each in tree_leaves(network(x.transpose(0, 1), *others))
    ]


def _scripted(network: nn.Module, folder: Path, inputs: Sequence[str]) -> Source:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(network.eval()), folder / "model.pt")
        return open_scripted(folder / "model.pt", inputs=inputs)


def _program(network: nn.Module, folder: Path, inputs: Sequence[str]) -> Source:
    shapes = {"x": {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}}
    program = torch.export.export(network.eval(), (torch.ones(2, 6, 4),), dynamic_shapes=shapes)
    torch.export.save(program, folder / "model.pt2")
    return open_program(folder / "model.pt2", inputs=inputs)


@dataclass(frozen=True)
class Expected:
    """What is said of a network's call, and what should be found.

    outputs: axes by name, in the answer's order. states: the names of the inputs. reason: why it does not stream.
    call: the network itself, called with the file's inputs in order. derived, limits: as in a Signature.
    opened: where the network is given as a file: writes that, and opens it.
    """

    network: Callable[[], nn.Module]
    outputs: Mapping[str, tuple[str | int, ...]]
    inputs: Sequence[str] = ()
    states: tuple[str, ...] = ()
    said: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    call: Callable[..., Any] = _in_order
    derived: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)
    limits: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    opened: Callable[[nn.Module, Path, Sequence[str]], Source] | None = None


def _layers(*names: str, quantities: Sequence[str] = LSTM) -> tuple[str, ...]:
    """The states of layers: rnn_h0, rnn_c0, …"""
    return tuple(f"{name}_{quantity}0" for name in names for quantity in quantities)


def _step(size: int) -> tuple[str | int, ...]:
    return "batch", "time", size


def _last(size: int) -> tuple[str | int, ...]:
    return "batch", size


ZOO = {
    "normed stack": Expected(stacks.NormedStack, {"logits": _step(2)}, states=_layers("lstms_0", "lstms_1", "lstms_2")),
    "residual gru": Expected(
        stacks.ResidualGRU, {"output": _step(4)}, [X], _layers("blocks_0", "blocks_1", quantities="h")
    ),
    "projected": Expected(stacks.Projected, {"output": _last(4)}, states=_layers("rnn")),
    "used twice": Expected(stacks.Shared, {"output": _step(6)}, reason=NO_STATE),
    "learned start": Expected(stacks.LearnedStart, {"y": _step(5)}, states=("rnn_h0", "rnn_c0", "rnn_h1", "rnn_c1")),
    "nested": Expected(stacks.Nested, {"output": _step(7)}, [X], ("inner_rnn_h0", "inner_rnn_h1")),
    "weight norm": Expected(stacks.WeightNormed, {"output": _step(2)}, states=_layers("rnn")),
    "no bias": Expected(
        stacks.Unbiased,
        {"output": ("batch", "time")},
        ["x:float32[time,batch,4]"],
        ("rnn_h0", "rnn_c0", "rnn_h1", "rnn_c1"),
        call=lambda network, x: network(x.transpose(0, 1)).T,
    ),
    "relu rnn": Expected(stacks.ReluRNN, {"output": _step(6)}, states=("rnn_h0",)),
    "double precision": Expected(
        stacks.Double, {"output": ("batch", "time")}, states=("rnn_h0",), call=lambda network, x: network(x.double())
    ),
    "own class of lstm": Expected(stacks.OwnLSTM, {"output": _step(4)}, reason=NO_STATE),
    "packed tagger": Expected(
        ragged.PackedTagger, {"output": _step(4)}, ["tokens:int64[batch,time]", LENGTHS], _layers("rnn")
    ),
    "attentive pooling": Expected(ragged.AttentivePooling, {"output": _last(3)}, [X, LENGTHS], reason=NO_STATE),
    "both ways": Expected(
        ragged.BothWays,
        {"output": _last(3)},
        ["x:float32[time,batch,4]", "x_lengths:int64[batch]"],
        reason=NO_STATE,
        call=_time_first,
    ),
    "last valid step": Expected(ragged.LastValid, {"output": _last(5)}, [X, LENGTHS], ("rnn_h0",)),
    "packed by hand": Expected(ragged.NormedRows, {"output": _last(4)}, [X, LENGTHS], ("rnn_h0",)),
    "siamese": Expected(
        ragged.Siamese,
        {"output": ("batch",)},
        ["left:float32[batch,time,3]", "right:float32[batch,length,3]"],
        reason=NO_STATE,
    ),
    "packed siamese": Expected(
        ragged.PackedSiamese,
        {"output": ("batch",)},
        [
            "left:float32[batch,time,3]",
            "left_lengths:int64[batch]",
            "right:float32[batch,time,3]",
            "right_lengths:int64[batch]",
        ],
        reason=NO_STATE,
    ),
    "strided crnn": Expected(
        convolutions.StridedCRNN,
        {"output": ("batch", "time_1", 4)},
        reason="its input 'x' is not one a step",
        derived={"time_1": ("time", 4, -4)},
        limits={"time": (5, None)},
    ),
    "pooled spectrogram": Expected(
        convolutions.Pooled, {"output": _last(10)}, ["x:float32[batch,time,8]"], reason=NO_STATE
    ),
    "buffered tcn": Expected(convolutions.BufferedTCN, {"output0": _step(4)}, [X], ("buffers_0", "buffers_1")),
    "causal attention": Expected(
        attention.CausalAttention,
        {"output": _step(9)},
        ["tokens:int64[batch,time]"],
        reason=NO_STATE,
        limits={"time": (1, 100)},
    ),
    "repeated cell": Expected(steps.RepeatedCell, {"output": _step(2)}, reason=NO_STATE),
    "streamed cell": Expected(steps.StreamedCell, {"output0": _step(2)}, states=LSTM),
    "min gru": Expected(steps.MinGRU, {"output0": _step(6)}, states=("h",)),
    "peephole": Expected(steps.Peephole, {"y": _step(5), "last": _last(5)}, [X, LENGTHS], reason=NO_STATE),
    "one step": Expected(
        steps.OneStep,
        {"output0": _last(4)},
        ["x:float32[batch,4]"],
        ("h",),
        reason="its input 'x' is not one a step",
        call=lambda network, x: network(x, x.new_zeros(len(x), 6)),
    ),
    "dict": Expected(
        calls.DictInputs,
        {"logits": _last(2), "embedding": _last(5)},
        ["batch.x:float32[batch,time,4]", "batch.lengths:int64[batch]"],
        ("rnn_h0",),
        call=lambda network, x, lengths: network({"x": x, "lengths": lengths}),
    ),
    "tuple": Expected(
        calls.TupleInputs,
        {"y": _step(5)},
        ["pair.0:float32[batch,time,3]", "pair.1:float32[batch]"],
        reason="its input 'pair_1' is not one a step",
        call=lambda network, *pair: network(pair),
    ),
    "shape reader": Expected(calls.ShapeReader, {"output": _step(10)}, ["x:float32[batch,time,6]"], reason=NO_STATE),
    "time first": Expected(
        calls.TimeFirst,
        {"output0": _step(2)},
        ["x:float32[time,batch,4]"],
        LSTM,
        call=lambda network, x: _time_first(network, x, *x.new_zeros(2, 2, len(x), 6)),
    ),
    "time first, states said": Expected(
        calls.TimeFirst,
        {"output0": _step(2)},
        ["x:float32[time,batch,4]"],
        LSTM,
        said={"h": "h_next", "c": "c_next"},
        call=lambda network, x: _time_first(network, x, *x.new_zeros(2, 2, len(x), 6)),
    ),
    "named tuple": Expected(calls.Named, {"logits": _step(3)}, states=("hidden_0", "hidden_1")),
    "translator": Expected(
        calls.Translator,
        {"output": ("batch", "length", 12)},
        ["source:int64[batch,time]", "target:int64[batch,length]"],
        reason=NO_STATE,
    ),
    "two tokens": Expected(
        calls.TwoTokens, {"output": _step(3)}, ["words:int64[batch,time]", "tags:int64[batch,time]"], ("gru_h0",)
    ),
    "scripted control flow": Expected(archives.Branching, {"output": _step(5)}, [X], opened=_scripted, reason=NO_STATE),
    "pt2": Expected(stacks.Nested, {"output": _step(7)}, [X], opened=_program, states=("inner_rnn_h0", "inner_rnn_h1")),
}


def _built(network: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return network()


@pytest.mark.parametrize("name", ZOO)
def test_it_is_found_out_and_proven(name, tmp_path):
    expected = ZOO[name]
    network = _built(expected.network)
    before = copy.deepcopy(network.state_dict()), type(network), network.training
    if expected.opened is not None:
        source = expected.opened(network, tmp_path, expected.inputs)
    else:
        source = from_module(network, inputs=expected.inputs, states=expected.said)
    signature = source.signature
    assert {t.name: t.axes for t in signature.outputs} == expected.outputs
    assert tuple(s.input for s in signature.states) == expected.states
    assert (signature.streamable, signature.reason) == (expected.reason is None, expected.reason)
    assert signature.derived == expected.derived
    assert {axis: (limit.min, limit.max) for axis, limit in signature.limits.items()} == expected.limits

    content = convert(source)
    report = verify(content, source)
    assert report.passed, (report.problems, report.failures[:3])
    _answers_as_itself(content, network, expected)

    state, kind, training = before
    assert type(network) is kind
    assert network.training == (training and expected.opened is None)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def _answers_as_itself(content: bytes, network: nn.Module, expected: Expected) -> None:
    """The judge of the proof calls a network by names; here as its author calls it, with rows of one length.

    Also at sizes that no proof reaches.
    """
    model = load(content)
    most = model.signature.limits.get("time", Limit()).max or 150
    for batch, time in ((2, 9), (17, most)):
        sizes = {**dict.fromkeys(model.signature.symbols, time), "batch": batch, "length": 6}
        inputs = draw_inputs(model.signature, sizes, seed=11)
        answer = tree_leaves(_asked(expected.call, network, inputs.values()))
        actual = model.run(inputs)
        assert tuple(actual) == tuple(expected.outputs)
        for value, theirs in zip(actual.values(), answer, strict=False):
            np.testing.assert_allclose(value, theirs.numpy(), atol=2e-5)


def _asked(call: Callable[..., Any], network: nn.Module, arrays: Any) -> Any:
    with torch.no_grad():
        return call(copy.deepcopy(network).eval(), *map(torch.from_numpy, arrays))


REFUSED = {
    "python loop": (
        steps.LoopedCell,
        (),
        r"LoopedCell\.forward \(steps\.py, line \d+: `for step in .*edgeseq_export\.recur",
    ),
    "squeeze": (calls.Squeezed, (), r"'output' has 2 axes .* 1 at another \(squeeze\(\)"),
    "value in python": (
        calls.Routed,
        (),
        r"asks for the value of a tensor.* line \d+: `return y if y\.sum\(\) > 0 else -y`",
    ),
    "a branch beyond the example": (
        calls.Truncated,
        (),
        r"another branch in Python where 'time' is beyond 100, .* holds up to 100",
    ),
    "python around a script": (
        calls.AroundScript,
        ("x:float32[batch,time,4]",),
        r"reads a tensor or its size in Python, in calls\.py, line \d+: `if x\.abs\(\)\.max\(\) > 20:`",
    ),
    "packed by constructor": (ragged.Constructed, (X, LENGTHS), "put together by hand; pack_padded_sequence"),
    "lengths of another axis": (
        ragged.PackedSiamese,
        (
            "left:float32[batch,time,3]",
            "left_lengths:int64[batch]",
            "right:float32[batch,length,3]",
            "right_lengths:int64[batch]",
        ),
        "counts the steps of 'right', which has no axis 'time'",
    ),
    "two words for one axis": (
        calls.TwoTokens,
        ("words:int64[batch,time]", "tags:int64[batch,length]"),
        "'time' and 'length' are taken only where they are alike",
    ),
    "a step built in forward": (steps.BuiltInForward, (X,), "built in forward around the tensor 'matrix'"),
    "several inputs": (calls.TwoTokens, (), "its forward takes words, tags. Say it: --input"),
    "wrong features": (stacks.Nested, ("x:float32[batch,time,5]",), "Nested cannot be called .* RuntimeError"),
    "no such input": (stacks.Nested, ("y:float32[batch,time,4]",), "has no 'y'; it takes x"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_the_reason(name, capfd):
    network, inputs, message = REFUSED[name]
    with pytest.raises((ExportError, UsageError), match=rf"(?s){message}"):
        convert(from_module(_built(network), inputs=inputs))
    assert capfd.readouterr() == ("", "")


def test_the_rewrite_of_a_loop_answers_as_the_loop():
    looped, repeated = _built(steps.LoopedCell), _built(steps.RepeatedCell)
    repeated.load_state_dict(looped.state_dict())
    x = torch.randn(3, 11, 3)
    torch.testing.assert_close(repeated(x), looped(x))


def test_what_does_not_stream_says_why():
    source = from_module(_built(stacks.Shared))
    model = load(convert(source))
    with pytest.raises(StreamError, match="carries no state"):
        model.stream()
