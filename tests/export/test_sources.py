"""What is found out about a network that was not made with edgeseq: by calling it, without an export."""

import re
from collections import namedtuple
from collections.abc import Callable

import numpy as np
import pytest
import torch
from edgeseq_export.sources.axes import limits, output_axes
from edgeseq_export.sources.axes import taken as sizes_taken
from edgeseq_export.sources.guess import guessed
from edgeseq_export.sources.loops import loop_over_time
from edgeseq_export.sources.module import from_module
from edgeseq_export.sources.spec import parse_specs
from edgeseq_runtime.errors import ExportError, UsageError
from edgeseq_runtime.signature import Limit, Signature, StatePair
from edgeseq_runtime.signature import Tensor as Described
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Pair = namedtuple("Pair", "logits last")


class Net(nn.Module):
    """An LSTM (6 to 8), a linear layer and what else a test gives; subclasses have a forward."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.rnn = nn.LSTM(6, 8, batch_first=True)
        self.fc = nn.Linear(8, 3)
        for name, layer in layers.items():
            setattr(self, name, layer)


def network(forward: Callable, **layers: nn.Module) -> nn.Module:
    """A network whose forward has the parameters of the given function behind `self`."""
    return type("Theirs", (Net,), {"forward": forward})(**layers)


@pytest.mark.parametrize(
    ("text", "name", "axes", "told"),
    [
        ("x:float32[batch,time,12]", "x", ("batch", "time", 12), "x:float32[batch,time,12]"),
        ("x:float32[time,batch,12]", "x", ("batch", "time", 12), "x:float32[time,batch,12]"),
        ("tokens:int64[batch,time]=0..99", "tokens", ("batch", "time"), "tokens:int64[batch,time]=0..99"),
        (" x:float32[batch, time]=-0.5..1 ", "x", ("batch", "time"), "x:float32[batch,time]=-0.5..1.0"),
        ("item.lengths:int64[batch]", "item_lengths", ("batch",), "item.lengths:int64[batch]"),
        ("pair.0:float32[batch,4]", "pair_0", ("batch", 4), "pair.0:float32[batch,4]"),
    ],
)
def test_an_input_is_read_and_told(text, name, axes, told):
    spec = parse_specs([text])[0]
    assert (spec.tensor.name, spec.tensor.axes, str(spec)) == (name, axes, told)
    assert parse_specs([told]) == (spec,)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["x"], "'x' does not say what an input is; expected is NAME:TYPE"),
        (["x:float32"], "does not say what an input is"),
        (["x:real[batch]"], "has the type 'real'; known are float32"),
        (["x:float32[batch,batch]"], "has an axis twice"),
        (["x:float32[batch,1e]"], "has the axis '1e'"),
        (["x:int64[batch]=9..1"], "goes from 9 to 1"),
        (["x:int64[batch]=0.5..1"], "two numbers are expected"),
        (["x:float32[batch]", "x:float32[batch]"], "the input 'x' is given twice"),
    ],
)
def test_what_is_no_input_is_refused(texts, message):
    with pytest.raises(UsageError, match=message):
        parse_specs(texts)


def test_lengths_count_the_steps_of_what_has_a_time_axis():
    specs = parse_specs(["x:float32[batch,time,2]", "lengths:int64[batch]", "y:float32[batch,3]"])
    assert [spec.tensor.of for spec in specs] == [None, "x", None]
    assert parse_specs(["lengths:int64[batch]"])[0].tensor.of is None


@pytest.mark.parametrize(
    ("shape", "axes", "derived"),
    [
        (lambda b, t: (b, t, 4), ("batch", "time", 4), None),
        (lambda b, t: (t, b), ("batch", "time"), None),
        (lambda b, t: (b, t - 4), ("batch", "time_1"), (1, -4)),
        (lambda b, t: (b, (t - 5) // 2 + 1), ("batch", "time_1"), (2, -4)),
        (lambda b, t: (b, -(-t // 320)), ("batch", "time_1"), (320, 0)),
        (lambda b, t: (b, 2 * t), None, None),
        (lambda b, t: (b,) if b == 1 else (b, t), None, None),
    ],
)
def test_axes_of_an_answer_follow_those_of_the_input(shape, axes, derived):
    def run(sizes):
        return {"y": shape(sizes["batch"], sizes["time"])}

    base = {"batch": 3, "time": 11}
    if axes is None:
        with pytest.raises(ExportError, match=r"by no rule|has 2 axes"):
            output_axes(("batch", "time"), base, {}, run)
        return
    found = output_axes(("batch", "time"), base, {}, run)
    assert found.outputs == {"y": axes}
    assert found.derived == ({"time_1": ("time", *derived)} if derived else {})
    for time in range(5, 40):
        size = Signature((), (), derived=found.derived).sized({"time": time}).get("time_1", time)
        assert size in shape(3, time)


@pytest.mark.parametrize(
    ("taken", "found"),
    [
        (lambda time: True, {}),
        (lambda time: time >= 5, {"time": Limit(5)}),
        (lambda time: time <= 50, {"time": Limit(1, 50)}),
        (lambda time: 3 <= time <= 512, {"time": Limit(3, 512)}),
        (lambda time: time == 16, {"time": Limit(16, 16)}),
        (lambda time: time >= 400, {"time": Limit(400)}),
    ],
)
def test_the_sizes_that_a_network_takes_are_found(taken, found):
    def run(sizes):
        if not taken(sizes["time"]):
            raise RuntimeError("not that long")

    assert limits(sizes_taken(("batch", "time"), run, "Net"), run) == found


def test_a_network_that_takes_nothing_says_why():
    def run(sizes):
        raise RuntimeError("expected 7 features")

    with pytest.raises(ExportError, match=r"Net cannot be called .* RuntimeError: expected 7 features"):
        sizes_taken(("batch", "time"), run, "Net")


def _whole(self, x):
    y, _ = self.rnn(x)
    return self.fc(y)


def _mean(self, x):
    return self.fc(self.rnn(x)[0].mean(1))


def _own_zeros(self, x):
    h = torch.zeros(1, x.size(0), 8)
    y, _ = self.rnn(x, (h, h.clone()))
    return self.fc(y[:, -1])


def _of_the_input(self, x):
    h = x[:, :1, :1].expand(-1, 1, 8).transpose(0, 1).contiguous()
    y, _ = self.rnn(x, (h, h))
    return self.fc(y)


def _twice(self, x):
    return self.fc(self.rnn(x)[0] + self.rnn(x.flip(1))[0])


def _learned(self, x):
    y, _ = self.rnn(x, (self.h0.expand(-1, x.size(0), -1), self.h0.expand(-1, x.size(0), -1) * 2))
    return self.fc(y)


def _carries(self, x, state=None):
    y, state = self.rnn(x, state)
    logits = self.fc(y)
    return logits, state


def _needs(self, x, h, c):
    y, (h, c) = self.rnn(x, (h, c))
    return self.fc(y), h, c


def _fields(self, x, state=None):
    y, state = self.rnn(x, state)
    return Pair(self.fc(y), state)


def _keys(self, item):
    y, _ = self.rnn(item["x"])
    return {"logits": self.fc(y), "shape": y.shape}


LIFTED = ["rnn_h0", "rnn_c0"]


@pytest.mark.parametrize(
    ("forward", "inputs", "outputs", "states", "reason"),
    [
        (_whole, (), ["output"], LIFTED, None),
        (_own_zeros, (), ["output"], LIFTED, None),
        (_mean, (), ["output"], [], "in pieces its output 'output' differs"),
        (_of_the_input, (), ["output"], [], "carries no state"),
        (_twice, (), ["output"], [], "carries no state"),
        (_carries, (), ["logits"], ["state_0", "state_1"], None),
        (_needs, ["x:float32[batch,time,6]"], ["output0"], ["h", "c"], None),
        (_fields, (), ["logits"], ["state_0", "state_1"], None),
        (_keys, ["item.x:float32[batch,time,6]"], ["logits"], LIFTED, None),
    ],
)
def test_inputs_outputs_and_states_are_found(forward, inputs, outputs, states, reason):
    module = network(forward)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    source = from_module(module, inputs=inputs)
    signature = source.signature
    assert [t.name for t in signature.outputs] == outputs
    assert [s.input for s in signature.states] == states
    assert signature.streamable is (reason is None)
    assert reason is None or reason in signature.reason
    assert len({*signature.input_names, *signature.output_names}) == len(signature.input_names + signature.output_names)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert type(module.rnn) is nn.LSTM


def _sorted(self, x, lengths):
    ordered, order = lengths.sort(descending=True)
    packed = pack_padded_sequence(x[order], ordered, batch_first=True)
    return self.fc(self.rnn(packed)[1][0][-1])[order.argsort()]


def _rolled(self, x):
    return self.fc(self.rnn(x.flip(0))[0].flip(0))


def _late(self, x):
    return self.fc(self.rnn(x)[0]) + (torch.arange(x.shape[1]) // 60)[:, None]


def _of_all_rows(self, x):
    y, _ = self.rnn(x.reshape(1, -1, 6))
    return self.fc(y).reshape(x.shape[0], -1, 3)


RAGGED = ["x:float32[batch,time,6]", "lengths:int64[batch]"]


@pytest.mark.parametrize(
    ("forward", "inputs", "reason"),
    [
        (_sorted, RAGGED, "carries no state|depends on the order of the rows"),
        (_rolled, RAGGED[:1], "depends on the order of the rows"),
        (_late, RAGGED[:1], "in pieces its output 'output' differs"),
        (_of_all_rows, RAGGED[:1], "carries no state"),
    ],
)
def test_what_only_seems_to_stream_does_not(forward, inputs, reason):
    signature = from_module(network(forward), inputs=inputs).signature
    assert not signature.streamable
    assert re.search(reason, signature.reason)
    assert not signature.states


def _cut(self, x, lengths):
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
    return {"y": y, "pooled": self.pool(y, lengths)}


class Pool(nn.Module):
    """The mean over time; masked: over each row's own steps."""

    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.masked = masked

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        return y.sum(1) / lengths[:, None] if self.masked else y.mean(1)


def test_an_answer_that_hangs_on_where_rows_are_cut_is_refused():
    assert from_module(network(_cut, pool=Pool(masked=True)), inputs=RAGGED).cuts_rows
    with pytest.raises(ExportError, match="'pooled' of Theirs depends on how far its rows are padded"):
        from_module(network(_cut, pool=Pool(masked=False)), inputs=RAGGED)


def test_a_learned_initial_state_is_found():
    module = network(_learned)
    module.h0 = nn.Parameter(torch.linspace(-1, 1, 8).reshape(1, 1, 8))
    source = from_module(module)
    assert [s.initial for s in source.signature.states] == ["learned", "learned"]
    np.testing.assert_allclose(source.initial["rnn_c0"], 2 * module.h0.detach().numpy())
    x = torch.randn(2, 5, 6)
    given = {name: torch.from_numpy(value).expand(-1, 2, -1).contiguous() for name, value in source.initial.items()}
    torch.testing.assert_close(source.module(x=x, **given)["output"], module(x))


def test_the_answer_is_the_networks_own():
    module = network(_needs)
    source = from_module(module, inputs=["x:float32[batch,time,6]"])
    x, h, c = torch.randn(2, 5, 6), torch.randn(1, 2, 8), torch.randn(1, 2, 8)
    expected = module(x, h, c)
    given = source.module(x=x, h=h, c=c)
    torch.testing.assert_close(tuple(given.values()), expected, rtol=0, atol=1e-6)
    zeros = torch.zeros(1, 2, 8)
    torch.testing.assert_close(source.module(x=x)["output0"], module(x, zeros, zeros)[0], rtol=0, atol=1e-6)


def test_a_network_of_double_precision_becomes_single():
    source = from_module(network(_whole).double())
    assert {t.dtype for t in (*source.signature.inputs, *source.signature.outputs)} == {"float32"}


@pytest.mark.parametrize(
    ("forward", "options", "message"),
    [
        (_whole, {"inputs": ["z:float32[batch,time,6]"]}, "the forward of Theirs has no 'z'; it takes x"),
        (_whole, {"inputs": ["x:float32[rows,time,6]"]}, "no input of Theirs has the axis 'batch'"),
        (_whole, {"inputs": ["x:float32[batch,time,7]"]}, "Theirs cannot be called"),
        (_carries, {"states": {"hidden": "state_0"}}, "the forward of Theirs has no 'hidden'; it takes x, state"),
        (_carries, {"states": {"state.0": "h9"}}, "Theirs gives no 'h9'; it gives logits, state_0_next, state_1_next"),
        (_carries, {"states": {"state": "logits"}}, "does not take logits back as state"),
        (lambda self, a, b: a, {}, "what Theirs takes cannot be told from its layers: its forward takes a, b"),
    ],
)
def test_what_does_not_fit_is_told(forward, options, message):
    with pytest.raises((UsageError, ExportError), match=message):
        from_module(network(forward), **options)


def test_whole_numbers_are_as_large_as_their_embedding():
    def forward(self, words, tags):
        return self.rnn(torch.cat([self.words(words), self.tags(tags)], -1))[0]

    module = network(forward, words=nn.Embedding(50, 4), tags=nn.Embedding(7, 2))
    specs = ["words:int64[batch,time]", "tags:int64[batch,time]"]
    assert [t.range for t in from_module(module, inputs=specs).signature.inputs] == [(0, 50), (0, 7)]
    with pytest.raises(UsageError, match=r"no embedding says which. Say it: --input \"x:int64\[batch,time\]=0\.\.99\""):
        from_module(network(lambda self, x: x.float() * 2), inputs=["x:int64[batch,time]"])


@pytest.mark.parametrize(
    ("forward", "axes"),
    [
        (lambda self, x: self.rnn(self.words(x))[0], ("time", "batch")),
        (lambda self, x: self.rnn(self.words(x).transpose(0, 1))[0], ("batch", "time")),
    ],
)
def test_recurrent_layers_tell_time_from_batch(forward, axes):
    module = network(forward, words=nn.Embedding(50, 6), rnn=nn.GRU(6, 8))
    assert guessed(module, "Theirs")[0].axes == axes
    assert from_module(module).signature.inputs[0].axes == ("batch", "time")


def _keeps(self, x):
    y, self.hidden = self.rnn(x, self.hidden)
    return self.fc(y)


def _draws(self, x):
    return self.fc(self.rnn(x)[0]) + torch.randn(1)


def test_a_network_that_answers_otherwise_the_second_time_is_refused():
    module = network(_keeps)
    module.hidden = None
    with pytest.raises(ExportError, match=r"it keeps a state in self\.hidden. Let forward take that state"):
        from_module(module, inputs=["x:float32[batch,time,6]"])
    with pytest.raises(ExportError, match="it draws at random"):
        from_module(network(_draws))


class Says(Net):
    """A network that says what it takes."""

    def edgeseq_signature(self) -> Signature:
        x = Described("signal", "float32", ("batch", "time", 6))
        y = Described("answer", "float32", ("batch", "time", 3), "step")
        return Signature(
            (x,), (y,), (StatePair("h", "h_after", (1, "batch", 8)), StatePair("c", "c_after", (1, "batch", 8)))
        )

    def forward(self, signal: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, state = self.rnn(signal, (h, c))
        return self.fc(y), state


def test_a_network_may_say_its_signature():
    module = Says()
    source = from_module(module)
    assert source.signature.output_names == ("answer", "h_after", "c_after")
    assert source.module(signal=torch.randn(2, 4, 6))["c_after"].shape == (1, 2, 8)


def test_a_loop_over_time_is_named():
    cell = nn.GRUCell(4, 4)

    def run(steps: int) -> Tensor:
        h = torch.zeros(1, 4)
        for _ in range(steps):
            h = cell(h, h)
        return h

    def layers(steps: int) -> Tensor:
        h = torch.zeros(1, steps)
        for _ in range(3):
            h = h + 1
        return h

    assert "test_sources.py, line" in loop_over_time(run, 3, 7)
    assert "for _ in range(steps)" in loop_over_time(run, 3, 7)
    assert loop_over_time(layers, 3, 7) is None


def _exits(self, x):
    raise SystemExit(0)


def _bug(self, x):
    return self.fcc(self.rnn(x)[0])


@pytest.mark.parametrize("inputs", [(), ["x:float32[batch,time,6]"]])
@pytest.mark.parametrize(
    ("forward", "message"),
    [(_exits, r"RuntimeError: its forward calls sys\.exit\(0\)"), (_bug, "AttributeError: .* has no attribute 'fcc'")],
)
def test_what_a_forward_raises_is_told(forward, message, inputs):
    with pytest.raises(UsageError, match=message):
        from_module(network(forward), inputs=inputs)


def test_a_forward_may_import_what_lies_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "beside_the_factory.py").write_text("def twice(x):\n    return 2 * x\n")
    monkeypatch.chdir(tmp_path)

    def forward(self, x):
        from beside_the_factory import twice

        return twice(self.rnn(x)[0])

    assert from_module(network(forward)).signature.input_names[0] == "x"


def _attends(self, x, mask=None):
    scores = x @ x.transpose(1, 2)
    attention = (scores if mask is None else scores + mask).softmax(-1)
    return attention @ x, attention


def _speaks(self, x, speaker=None):
    speaker = self.rnn(x)[0].mean(1) if speaker is None else speaker
    return self.rnn(x)[0] + speaker[:, None], speaker


def _starts_elsewhere(self, x, state=None):
    if state is None:
        state = (x.new_full((1, x.size(0), 8), 0.5),) * 2
    y, state = self.rnn(x, state)
    return self.fc(y), state


def test_a_state_that_starts_from_a_number_in_the_code_is_told():
    with pytest.raises(UsageError, match="starts 'state_0' neither at zeros nor at a tensor of its own; let it start"):
        from_module(network(_starts_elsewhere), inputs=["x:float32[batch,time,6]"])


@pytest.mark.parametrize("forward", [_attends, _speaks])
def test_what_an_answer_gives_and_a_forward_takes_is_no_state_by_that(forward):
    source = from_module(network(forward), inputs=["x:float32[batch,time,6]"])
    assert not [s for s in source.signature.states if s.input in ("mask", "speaker")]
    assert len(source.signature.outputs) == 2


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: nn.LazyLinear(3), r"do not know their size yet \(self\.other\): call it once in the factory"),
        (
            lambda: torch.ao.nn.quantized.dynamic.Linear(8, 3),
            r"are quantised \(self\.other.*\); export the float network",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_layers_that_no_file_can_have_are_refused(layer, message):
    with pytest.raises(UsageError, match=message):
        from_module(network(_whole, other=layer()))


def _raises(self):
    raise KeyError("boom")


@pytest.mark.parametrize(
    ("signature", "forward", "message"),
    [
        (_raises, Says.forward, r"the edgeseq_signature\(\) of Says failed: KeyError: 'boom'"),
        (lambda self: {"x": 1}, Says.forward, "gave a dict, but"),
        (
            Says.edgeseq_signature,
            lambda self, signal, h, c: self.fcc(signal),
            r"as its edgeseq_signature\(\) says: Att",
        ),
        (Says.edgeseq_signature, lambda self, x, h, c: x, "the forward of Says has no 'signal'"),
    ],
)
def test_a_signature_that_does_not_hold_is_told(signature, forward, message):
    module = type("Says", (Net,), {"edgeseq_signature": signature, "forward": forward})()
    with pytest.raises(UsageError, match=message):
        from_module(module)


def test_what_the_file_has_otherwise_is_noted():
    def forward(self, x):
        return {"y": self.fc(self.rnn(x)[0]), "steps": x.shape[1], "none": None}

    notes = from_module(network(forward).half()).notes
    assert "left out of the answer, as no tensors: 'steps' (int), 'none' (None)" in notes
    assert "its float16 weights are float32 in the file, which computes in that" in notes
    assert not [note for note in from_module(network(_whole)).notes if "left out" in note or "weights" in note]


def test_a_compiled_network_is_the_one_inside():
    module = network(_whole)
    source = from_module(torch.compile(module))
    x = torch.randn(2, 5, 6)
    assert source.name == "Theirs"
    torch.testing.assert_close(source.module(x=x)["output"], module(x))
