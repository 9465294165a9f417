"""Networks that were not made with edgeseq, through `edgeseq export` and back as the judge of their files."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeseq_export.sources.archive import look
from edgeseq_runtime import load
from edgeseq_runtime.errors import UsageError
from torch import nn
from typer.testing import CliRunner, Result

from edgeseq.cli.app import app
from edgeseq.opening import open_reference, open_source, source_of

CODE = """
import torch
from torch import nn

class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.rnn(x)[0])

def needy(size):
    return Tagger()
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="edgeseq")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with their_tagger.py, its weights, and files of other kinds."""
    home = tmp_path_factory.mktemp("theirs")
    (home / "their_tagger.py").write_text(CODE)
    torch.manual_seed(1)
    network = nn.ModuleDict({"rnn": nn.GRU(3, 4, batch_first=True), "fc": nn.Linear(4, 2)})
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, home / "w.pt")
    torch.save(network, home / "whole.pt")
    torch.save([1, 2], home / "list.pt")
    (home / "m.onnx").write_bytes(b"\x08\x08more")
    (home / "notes.txt").write_text("nothing")
    return home


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("zoo.steps:LoopedCell", "loops over time in Python"),
        ("zoo.calls:Truncated", "another branch in Python where 'time' is beyond 100"),
        ("zoo.calls:Squeezed", "squeeze()"),
    ],
)
def test_a_network_that_cannot_be_exported_ends_with_2_and_no_file(network: str, message: str, folder: Path) -> None:
    result = run("export", network, "-o", folder / "refused.onnx")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (folder / "refused.onnx").exists()


@pytest.fixture(autouse=True)
def _here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def exported(folder: Path) -> dict[str, Result]:
    """What exporting the factory and the state dict prints, each file not proven: the zoo is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return {
            "factory": run("export", "their_tagger:Tagger", "--weights", "w.pt", "--no-verify"),
            "state dict": run("export", "w.pt", "--set", "read=steps", "--no-verify", "--json"),
        }


def test_a_factory_is_exported_under_its_name(exported: dict[str, Result], folder: Path) -> None:
    result = exported["factory"]
    assert result.exit_code == 0, result.output
    notes, _, table = result.stdout.partition("┏" if "┏" in result.stdout else "┌")
    assert "the weights are those under 'state_dict' in 'w.pt'" in notes
    assert "input x: float32 (batch, time, 3), read off the layers" in notes
    assert "tagger.onnx" in table
    said = load(folder / "tagger.onnx").contract.provenance["source"]
    assert said["kind"] == "factory"
    assert said["inputs"] == ["x:float32[batch,time,3]"]
    assert len(said["weights_sha256"]) == 64
    assert "\n".join(said["notes"]) in notes


def test_a_state_dict_is_exported_beside_itself(exported: dict[str, Result], folder: Path) -> None:
    result = exported["state dict"]
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["file"] == "w.onnx"
    assert "  rnn: GRU 3 -> 4" in value["notes"]
    said = load(folder / "w.onnx").contract.provenance["source"]
    assert (said["kind"], said["settings"]) == ("state dict", {"read": "steps"})


def test_the_contract_says_how_the_reference_is_opened(exported: dict[str, Result], folder: Path) -> None:
    x = np.random.default_rng(0).standard_normal((2, 9, 3)).astype(np.float32)
    for path, reference, weights in (("tagger.onnx", "their_tagger:Tagger", "w.pt"), ("w.onnx", "w.pt", None)):
        model = load(folder / path)
        source = open_reference(reference, model.contract, weights=weights)
        with torch.no_grad():
            expected = source.module(x=torch.from_numpy(x))["output"].numpy()
        np.testing.assert_allclose(model.run(x)["output"], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match="more than one network"):
        open_reference("w.pt", None)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("w.pt", 2, r"more than one network.*--set read=steps.*--set read=last"),
        ("w.pt --set read", 2, r"--set 'read' is not understood; write it as --set read=last"),
        ("w.pt --set read=last --set read=steps", 2, "--set read is given twice"),
        ("w.pt --state h0", 2, "--state 'h0' is not understood; write it as --state h0=hn"),
        ("w.pt --set read=last --part encoder", 2, "--set part=encoder: there is no such choice here"),
        ("w.pt --weights w.pt", 2, "--weights are of package.module:factory, but 'w.pt' is weights without"),
        ("whole.pt", 2, r"would call torch\.nn\.modules\.container\.ModuleDict.*--trust"),
        ("whole.pt --trust --set read=last", 2, "has no settings to choose, but read=last was given"),
        ("list.pt", 2, "is a list, not weights by name"),
        ("m.onnx", 2, "is an ONNX file already: edgeseq run, verify and inspect open it"),
        ("notes.txt", 2, "a file of another kind, which cannot be exported. What can"),
        ("none.pt", 2, "there is no file 'none.pt'"),
        ("none:make", 2, "there is no module 'none' for 'none:make'"),
        ("their_tagger:needy", 2, "needs the arguments size"),
        ("their_tagger:Tagger --decode beam", 2, "is a factory, which has no settings to choose"),
        ("their_tagger:Tagger --weights none.pt", 2, "there is no file 'none.pt'"),
        ("their_tagger:Tagger --input x", 2, "'x' does not say what an input is"),
        ("{m}/lstm.pt --input x:float32[batch,time,3]", 2, "which knows its inputs and states; leave them out"),
        ("{m}/lstm.pt --set read=last", 2, "'read' cannot be set for an export"),
    ],
)
def test_what_is_said_where_it_cannot_be(folder: Path, models: Path, arguments: str, code: int, message: str) -> None:
    before = sorted(folder.iterdir())
    result = run("export", *arguments.format(m=models).split())
    assert result.exit_code == code
    assert re.search(f"(?s){message}", result.output), result.output
    assert "Traceback" not in result.output
    assert sorted(folder.iterdir()) == before


def test_a_pickled_network_is_opened_where_it_is_trusted(folder: Path) -> None:
    torch.save(nn.GRU(3, 4, batch_first=True), folder / "gru.pt")
    source = open_source(folder / "gru.pt", trust=True)
    assert (source.name, source.family) == ("gru.pt", "GRU")
    assert source.provenance["source"]["kind"] == "module"
    (folder / "gru.pt").unlink()


def test_a_pickled_dict_is_read_as_weights_where_it_is_trusted(folder: Path) -> None:
    layer = nn.GRU(3, 4, batch_first=True)
    torch.save({"state_dict": layer.state_dict(), "layer": layer}, folder / "dict.pt")
    assert look(folder / "dict.pt").kind == "module"
    source = open_source(folder / "dict.pt", trust=True)
    assert source.provenance["source"]["kind"] == "state dict"
    (folder / "dict.pt").unlink()


def test_what_edgeseq_writes_is_seen_as_its_checkpoint(models: Path) -> None:
    for path in models.glob("*.pt"):
        assert look(path).kind == "checkpoint"
        assert open_source(path).name == path.name


def test_a_network_of_a_family_is_a_source_as_it_is() -> None:
    from edgeseq.nn import Hints, build

    network = build("gru", {"input_size": 2, "output_size": 3, "hidden_size": 4}, Hints(("a", "b", "c")))
    source = source_of(network, name="mine", provenance={"who": "me"})
    assert source.module is network
    assert (source.name, source.family, source.labels) == ("mine", "gru", ("a", "b", "c"))
    assert source.provenance == {"who": "me"}
