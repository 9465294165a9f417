"""State dicts without their network: what is read off names and shapes, what has to be said, what cannot be read."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from edgeseq_export.sources.chain import TokenChain
from edgeseq_export.sources.state_dict import input_spec, read
from edgeseq_export.sources.weights import as_weights
from edgeseq_runtime.errors import FileError, UsageError
from torch import Tensor, nn
from torch.nn import functional as F


class Made(nn.Module):
    """Layers by name, and a forward over them: the network that somebody trained."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(3)
        for name, layer in layers.items():
            self.add_module(name, layer)
        for value in self.parameters():
            nn.init.normal_(value, std=0.4)
        for name, value in self.named_buffers():
            if "running" in name:
                nn.init.uniform_(value, 0.5, 1.5)
        self._forward = forward
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


def lstm(*sizes: int, **more: Any) -> nn.LSTM:
    return nn.LSTM(*sizes, batch_first=True, **more)


def gru(*sizes: int, **more: Any) -> nn.GRU:
    return nn.GRU(*sizes, batch_first=True, **more)


def rnn(*sizes: int, **more: Any) -> nn.RNN:
    return nn.RNN(*sizes, batch_first=True, **more)


def final(state: Tensor) -> Tensor:
    return torch.cat((state[-2], state[-1]), -1)


# name: the network, the settings that its reading needs, what it takes
NETWORKS: dict[str, tuple[Callable[[], Made], Mapping[str, str], str]] = {
    "bare lstm": (lambda: Made(lambda m, x: m.rnn(x)[0], rnn=lstm(3, 4, 2)), {}, "x:float32[batch,time,3]"),
    "bare gru, both directions, no bias": (
        lambda: Made(lambda m, x: m.rnn(x)[0], rnn=gru(3, 4, 2, bidirectional=True, bias=False)),
        {},
        "x:float32[batch,time,3]",
    ),
    "projected lstm": (lambda: Made(lambda m, x: m.rnn(x)[0], rnn=lstm(3, 6, 2, proj_size=2)), {}, ""),
    "projected, both directions": (
        lambda: Made(lambda m, x: m.rnn(x)[0], rnn=lstm(3, 6, proj_size=2, bidirectional=True)),
        {},
        "",
    ),
    "rnn of relu": (
        lambda: Made(lambda m, x: m.rnn(x)[0], rnn=rnn(3, 4, nonlinearity="relu")),
        {"nonlinearity": "relu"},
        "",
    ),
    "rnn of tanh": (lambda: Made(lambda m, x: m.rnn(x)[0], rnn=rnn(3, 4)), {"rnn.nonlinearity": "tanh"}, ""),
    "every step": (
        lambda: Made(lambda m, x: m.fc(m.rnn(x)[0]), rnn=gru(3, 4), fc=nn.Linear(4, 2)),
        {"read": "steps"},
        "",
    ),
    "last step": (
        lambda: Made(lambda m, x: m.fc(m.rnn(x)[0][:, -1]), rnn=gru(3, 4), fc=nn.Linear(4, 2)),
        {"read": "last"},
        "",
    ),
    "final states of both directions": (
        lambda: Made(
            lambda m, x: m.fc(final(m.rnn(x)[1][0])), rnn=lstm(3, 4, 2, bidirectional=True), fc=nn.Linear(8, 2)
        ),
        {"read": "final"},
        "",
    ),
    "linear before, two behind": (
        lambda: Made(
            lambda m, x: m.c(torch.tanh(m.b(m.rnn(torch.relu(m.a(x)))[0][:, -1]))),
            a=nn.Linear(3, 5),
            rnn=lstm(5, 4),
            b=nn.Linear(4, 6),
            c=nn.Linear(6, 2),
        ),
        {"read": "last", "a.activation": "relu", "activation": "tanh"},
        "",
    ),
    "stored in another order": (
        lambda: Made(
            lambda m, x: m.head(m.rnn(m.first(x))[0]),
            head=nn.Linear(4, 2),
            rnn=gru(5, 4),
            first=nn.Linear(3, 5, bias=False),
        ),
        {"read": "steps", "activation": "none"},
        "",
    ),
    "embedding": (
        lambda: Made(
            lambda m, x: m.fc(m.rnn(m.embed(x))[0]), embed=nn.Embedding(11, 5), rnn=gru(5, 4), fc=nn.Linear(4, 11)
        ),
        {"read": "steps"},
        "tokens:int64[batch,time]=0..10",
    ),
    "norms between": (
        lambda: Made(
            lambda m, x: m.fc(m.flat(m.rnns2(m.norm(m.rnns1(x)[0]))[0][:, -1])),
            rnns1=lstm(3, 4),
            norm=nn.LayerNorm(4),
            rnns2=lstm(4, 6),
            flat=nn.BatchNorm1d(6),
            fc=nn.Linear(6, 2),
        ),
        {"read": "last"},
        "",
    ),
    "batch norm of steps": (
        lambda: Made(
            lambda m, x: m.fc(m.rnn(m.norm(x.transpose(1, 2)).transpose(1, 2))[0]),
            norm=nn.BatchNorm1d(3, affine=False),
            rnn=gru(3, 4),
            fc=nn.Linear(4, 2),
        ),
        {"read": "steps"},
        "x:float32[batch,time,3]",
    ),
    "numbered layers of one size": (
        lambda: Made(lambda m, x: m.rnn2(m.rnn1(m.rnn0(x)[0])[0])[0], rnn2=gru(4, 4), rnn0=gru(4, 4), rnn1=gru(4, 4)),
        {},
        "",
    ),
    "an order that is said": (
        lambda: Made(lambda m, x: m.up(m.down(x)[0])[0], up=gru(4, 4), down=gru(4, 4)),
        {"order": "down, up"},
        "",
    ),
    "a square matrix that is a linear layer": (
        lambda: Made(lambda m, x: m.rnn(m.first(x))[0], first=nn.Linear(4, 4, bias=False), rnn=gru(4, 4)),
        {"first": "linear", "activation": "none", "order": "first,rnn"},
        "x:float32[batch,time,4]",
    ),
    "a square matrix that is an embedding": (
        lambda: Made(lambda m, x: m.rnn(m.first(x))[0], first=nn.Embedding(4, 4), rnn=gru(4, 4)),
        {"first": "embedding"},
        "tokens:int64[batch,time]=0..3",
    ),
    "nested names": (
        lambda: Made(
            lambda m, x: m.net[1](m.net[0](x)[0]), net=nn.ModuleList([gru(3, 4), nn.Linear(4, 2)])
        ),
        {"read": "steps"},
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_read_answers_as_what_was_trained(name: str) -> None:
    make, settings, takes = NETWORKS[name]
    trained = make()
    before = torch.get_rng_state()
    network, notes = read(trained.state_dict(), settings)
    assert torch.equal(torch.get_rng_state(), before)
    assert not network.training
    assert not takes or input_spec(network) == takes
    size = next((m for m in trained.modules() if isinstance(m, nn.Embedding)), None)
    if isinstance(network, TokenChain):
        assert size is not None
        x = torch.randint(0, size.num_embeddings, (3, 7))
    else:
        x = torch.randn(3, 7, int(input_spec(network).rpartition(",")[2].rstrip("]")))
    torch.testing.assert_close(network(x), trained(x))
    named = [
        layer for layer, module in trained.named_modules() if layer and next(iter(module.children()), None) is None
    ]
    assert all(any(line.startswith(f"  {layer}: ") for line in notes) for layer in named)


@pytest.mark.parametrize("name", [name for name, (_, settings, _) in NETWORKS.items() if settings])
def test_without_the_settings_all_readings_are_listed(name: str) -> None:
    make, settings, _ = NETWORKS[name]
    with pytest.raises(UsageError, match="more than one network") as raised:
        read(make().state_dict(), {}, "'a.pt'")
    said = str(raised.value)
    for key, value in settings.items():
        assert f"--set {key}={value.replace(', ', ',')}" in said or f"--set {key.rpartition('.')[2]}={value}" in said


def test_every_reading_that_is_listed_can_be_chosen() -> None:
    state = Made(lambda m, x: x, a=rnn(4, 4), b=nn.Linear(4, 4), c=nn.LayerNorm(4)).state_dict()
    with pytest.raises(UsageError) as raised:
        read(state, {})
    choices = [
        line.split("--set ")[1].split()[0] for line in str(raised.value).splitlines() if line.startswith("  --set")
    ]
    by_key: dict[str, list[str]] = {}
    for key, _, value in (choice.partition("=") for choice in choices):
        by_key.setdefault(key, []).append(value)
    assert len(by_key["order"]) == 6
    assert {key: by_key[key] for key in by_key if key != "order"} == {
        "nonlinearity": ["tanh", "relu"],
        "activation": ["none", "relu", "tanh"],
        "read": ["steps", "last"],
    }
    x, answers = torch.randn(1, 5, 4), set()
    for order in by_key["order"]:
        for nonlinearity in by_key["nonlinearity"]:
            settings = {"order": order, "nonlinearity": nonlinearity, "activation": "tanh", "read": "last"}
            if order.endswith("b"):  # nothing is behind the linear layer
                del settings["activation"]
            if order.endswith("a"):
                del settings["read"]
            network, _ = read(state, settings)
            answers.add(tuple(network(x).flatten().tolist()))
    assert len(answers) == 12


LSTM = Made(lambda m, x: x, rnn=lstm(3, 4), fc=nn.Linear(4, 2)).state_dict()


def with_changes(**changes: Tensor | None) -> dict[str, Tensor]:
    state = {**LSTM, **{key.replace("__", "."): value for key, value in changes.items()}}
    return {key: value for key, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("state", "settings", "message"),
    [
        (with_changes(attention__query=torch.zeros(3)), {}, r"of no RNN.*: attention\.query\. Give the network"),
        (with_changes(act__weight=torch.zeros(1)), {}, r"act\.weight"),
        (with_changes(conv__weight=torch.zeros(4, 4, 3)), {}, r"conv\.weight"),
        (with_changes(rnn__bias_hh_l0=None), {}, r"rnn\.weight_ih_l0, rnn\.weight_hh_l0, rnn\.bias_ih_l0"),
        (with_changes(rnn__weight_ih_l0=torch.zeros(20, 3)), {}, r"rnn\.weight_ih_l0"),
        (with_changes(rnn__weight_ih_l9=torch.zeros(16, 4)), {}, r"rnn\.weight_ih_l9"),
        (with_changes(rnn__weight_ih_l999999999=torch.zeros(16, 4)), {}, r"rnn\.weight_ih_l0"),
        (
            with_changes(fc__weight=torch.zeros(2, 5)),
            {},
            r"sizes fit in no order.*\n  rnn: LSTM 3 -> 4\n  fc: Linear 5 -> 2",
        ),
        (with_changes(second__weight=torch.zeros(2, 4), second__bias=torch.zeros(2)), {}, "sizes fit in no order"),
        ({"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(2)}, {}, "has no RNN, LSTM or GRU layer"),
        ({"weight_ih": torch.zeros(16, 3), "weight_hh": torch.zeros(16, 4)}, {}, "weight_ih, weight_hh"),
        (LSTM, {"read": "final"}, "--set read=final is not understood; choose steps, last"),
        (LSTM, {"reads": "last"}, "no such choice here; there are read, order"),
        (LSTM, {"read": "last", "order": "fc,rnn"}, "cannot be read as --set says"),
        (LSTM, {"read": "last", "fc": "embedding"}, "--set fc=embedding: there is no such choice"),
    ],
)
def test_what_cannot_be_read(state: Mapping[str, Tensor], settings: Mapping[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){message}"):
        read(state, settings, "'a.pt'")


def test_many_layers_of_one_size_are_refused_at_once() -> None:
    state = Made(lambda m, x: x, **{c: gru(4, 4) for c in "abcdefghijkl"}).state_dict()
    with pytest.raises(UsageError, match="more other orders"):
        read(state, {})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_another_precision_are_used_as_float32(dtype: torch.dtype) -> None:
    network, notes = read({key: value.to(dtype) for key, value in LSTM.items()}, {"read": "last"})
    assert network(torch.zeros(1, 2, 3)).dtype == torch.float32
    assert any("are used as float32" in note for note in notes)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ({"state_dict": LSTM, "epoch": 3}, "under 'state_dict'"),
        ({"model": LSTM, "optimizer": {"lr": 0.1}}, "under 'model'"),
        ({f"module.{key}": value for key, value in LSTM.items()}, "'module.' of each name"),
        ({"model": {f"module.{key}": value for key, value in LSTM.items()}}, "under 'model'"),
    ],
)
def test_weights_inside_a_training_script_s_checkpoint(content: Any, note: str) -> None:
    state, notes = as_weights(content, "'a.pt'")
    assert state.keys() == LSTM.keys()
    assert note in notes[0]
    assert F.mse_loss(state["fc.weight"], LSTM["fc.weight"]) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "a dict with the keys epoch, in which no weights"),
        ({"model": LSTM, "net": LSTM}, "keys model, net"),
        ({}, "the keys none"),
        ([1, 2], "is a list, not weights by name"),
        (torch.zeros(3), "is a Tensor, not weights"),
        ({"w": torch.zeros(2, device="meta")}, "no plain numbers as 'w'"),
        ({"w": torch.zeros(2, 2).to_sparse()}, "no plain numbers as 'w'"),
    ],
)
def test_what_holds_no_weights(content: Any, message: str) -> None:
    with pytest.raises(FileError, match=message):
        as_weights(content, "'a.pt'")
