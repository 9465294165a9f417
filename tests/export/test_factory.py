"""`package.module:factory`: what is made of it, and what is said where nothing can be."""

import sys
from pathlib import Path

import pytest
import torch
from edgeseq_export.sources.factory import factory_name, is_spec, load_factory
from edgeseq_runtime.errors import EdgeseqError, MissingPackageError, UsageError
from torch import nn

CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, size=4):
        super().__init__()
        self.rnn = nn.GRU(3, size, batch_first=True)
        self.fc = nn.Linear(size, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.fc(self.drop(self.rnn(x)[0]))


class Sized(Net):
    def __init__(self, size, *, depth, heads=2):
        super().__init__(size)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.rnn = nn.GRU(4, 4, batch_first=True)
        self.fc = nn.Linear(4, 7)
        self.fc.weight = self.embed.weight

    def forward(self, tokens):
        return self.fc(self.rnn(self.embed(tokens))[0])


def make():
    return Net()


def lazy():
    from {name}_beside import SIZE
    return Net(SIZE)


def nothing():
    return None


def fails():
    return Net(-1)


def leaves():
    raise SystemExit("usage: train.py DATA")


ready = Net()
NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `NAME.py`, where NAME is its own: a module that was imported stays imported."""
    name = f"theirs_{tmp_path.name.replace('-', '_')}"
    home = tmp_path / name
    home.mkdir()
    (home / f"{name}.py").write_text(CODE.replace("{name}", name))
    (home / f"{name}_beside.py").write_text("SIZE = 6\n")
    (home / f"{name}_broken.py").write_text("import torch\n\nVALUE = torch.zeros(2).nothing\n")
    (home / f"{name}_syntax.py").write_text("def make(:\n")
    (home / f"{name}_needs.py").write_text("import no_such_package_at_all\n")
    (home / f"{name}_script.py").write_text("import sys\nsys.exit('usage: train DATA')\n")
    monkeypatch.chdir(home)
    return home


@pytest.mark.parametrize("attribute", ["Net", "make", "ready", "lazy"])
def test_what_is_named_is_made(folder: Path, attribute: str) -> None:
    path = list(sys.path)
    module, notes = load_factory(f"{folder.name}:{attribute}")
    assert type(module).__name__ == "Net"
    assert not any(layer.training for layer in module.modules())
    assert module.rnn.hidden_size == (6 if attribute == "lazy" else 4)
    assert not notes
    assert sys.path == path


def test_their_object_is_not_changed(folder: Path) -> None:
    ready = load_factory(f"{folder.name}:ready")[0]
    theirs = sys.modules[folder.name].ready
    assert theirs.training
    assert theirs is not ready
    torch.save(sys.modules[folder.name].Net().state_dict(), "w.pt")
    before = theirs.fc.weight.clone()
    module, _ = load_factory(f"{folder.name}:ready", "w.pt")
    assert torch.equal(theirs.fc.weight, before)
    assert not torch.equal(module.fc.weight, before)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_are_loaded(folder: Path, suffix: str) -> None:
    from safetensors.torch import save_file

    trained, _ = load_factory(f"{folder.name}:make")
    torch.save(trained.state_dict(), "w.pt")
    save_file(trained.state_dict(), "w.safetensors")
    module, notes = load_factory(f"{folder.name}:make", f"w{suffix}")
    assert all(torch.equal(value, trained.state_dict()[key]) for key, value in module.state_dict().items())
    assert not notes


def test_weights_that_two_layers_share_may_be_stored_once(folder: Path) -> None:
    trained, _ = load_factory(f"{folder.name}:Tied")
    state = {key: value for key, value in trained.state_dict().items() if key != "fc.weight"}
    torch.save(state, "w.pt")
    module, _ = load_factory(f"{folder.name}:Tied", "w.pt")
    assert torch.equal(module.fc.weight, trained.embed.weight)
    assert module.fc.weight is module.embed.weight


def test_weights_of_another_precision_are_converted_with_a_note(folder: Path) -> None:
    trained, _ = load_factory(f"{folder.name}:make")
    torch.save({key: value.half() for key, value in trained.state_dict().items()}, "w.pt")
    module, notes = load_factory(f"{folder.name}:make", "w.pt")
    assert module.fc.weight.dtype == torch.float32
    assert notes == ("of the weights, float16 is used as float32",)


def test_misfits_are_all_listed(folder: Path) -> None:
    other = nn.ModuleDict({"rnn": nn.GRU(3, 5), "head": nn.Linear(5, 2)})
    torch.save(other.state_dict(), "w.pt")
    with pytest.raises(UsageError) as raised:
        load_factory(f"{folder.name}:make", "w.pt")
    assert str(raised.value).splitlines() == [
        f"the weights do not fit {folder.name}:make:",
        "  'fc.weight' is missing",
        "  'fc.bias' is missing",
        "  'head.weight' has no place in it",
        "  'head.bias' has no place in it",
        "  'rnn.weight_ih_l0' has shape (15, 3), but (12, 3) is expected",
        "  'rnn.weight_hh_l0' has shape (15, 5), but (12, 4) is expected",
        "  'rnn.bias_ih_l0' has shape (15,), but (12,) is expected",
        "  'rnn.bias_hh_l0' has shape (15,), but (12,) is expected",
    ]


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("no_such_module_here:make", UsageError, r"no module 'no_such_module_here' .* in the folder .*theirs_"),
        ("{m}.inner:make", UsageError, r"no module '{m}\.inner'|cannot be imported"),
        ("{m}:Nett", UsageError, "has no 'Nett'; did you mean 'Net'"),
        ("{m}:xyz", UsageError, "has no 'xyz'; it has Net, Sized, Tied, make"),
        ("{m}:NUMBER", UsageError, "is a int, but a function, a class or an nn.Module is expected"),
        ("{m}:Sized", UsageError, r"needs the arguments size, depth.* def make\(\): return Sized\(size=…, depth=…\)"),
        ("{m}:nothing", UsageError, "gave a NoneType, but an nn.Module is expected"),
        ("{m}:fails", UsageError, r"failed when it was called: \w*Error: .*"),
        (
            "{m}:leaves",
            UsageError,
            r"failed when it was called: SystemExit: usage: train.py DATA \(.*{m}\.py, line \d+\)",
        ),
        (
            "{m}_broken:make",
            UsageError,
            r"cannot be imported: AttributeError: .*nothing.* \(.*{m}_broken\.py, line 3\)",
        ),
        ("{m}_syntax:make", UsageError, r"cannot be imported: SyntaxError: .* \(.*{m}_syntax\.py, line 1\)"),
        ("{m}_script:make", UsageError, "cannot be imported: SystemExit: usage: train DATA"),
        ("{m}_needs:make", MissingPackageError, "needs the package 'no_such_package_at_all', which is not installed"),
    ],
)
def test_what_makes_no_network(folder: Path, spec: str, error: type[EdgeseqError], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message.replace('{m}', folder.name)}"):
        load_factory(spec.replace("{m}", folder.name))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("theirs:make", True),
        ("pack.age.theirs:Net.tiny", True),
        ("theirs.pt", False),
        ("theirs", False),
        (":make", False),
        ("theirs:", False),
        ("a/b:make", False),
        ("C:\\models\\a.pt", False),
        ("theirs:make()", False),
        ("there:is", False),
    ],
)
def test_what_names_a_factory(folder: Path, text: str, expected: bool) -> None:
    (folder / "there:is").write_bytes(b"a file of this name")
    assert is_spec(text) == expected


def test_the_file_has_the_factory_s_name() -> None:
    assert factory_name("their.module:CharRNN") == "charrnn"
    assert factory_name("their.module:Net.Tiny") == "tiny"
