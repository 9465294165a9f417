"""The .pt format: what is written comes back, what was changed or would run code is refused."""

import io
import os
import pickle
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from edgeseq_runtime.errors import DamagedFileError, FileError, MissingFileError, UnsafeFileError

from edgeseq import checkpoint
from edgeseq.nn import Hints, Recurrent, build
from edgeseq.opening import open_source

HINTS = Hints(("a", "b", "c"), {"x": {"normal": [[0.0, 1.0], [1.0, 2.0]]}}, {"batch": 1, "time": 7})
PROVENANCE = {"edgeseq": "0.1.0", "recipe": "model = {}", "data": {"sha256": "00"}, "seed": 3}


def small(**settings: Any) -> Recurrent:
    torch.manual_seed(0)
    return build("lstm", {"input_size": 2, "output_size": 3, "hidden_size": 4, **settings}, HINTS)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "small.pt"
    checkpoint.save(path, small(), {"test": {"accuracy": 0.5}}, PROVENANCE)
    return path


def content_of(module: Recurrent, **changes: Any) -> bytes:
    values = {
        "format": checkpoint.FORMAT,
        "family": module.family,
        "config": asdict(module.config),
        "state": module.state_dict(),
        "hints": module.hints.to_dict(),
        "metrics": {},
        "provenance": {},
    }
    return checkpoint.dump({**values, **changes})


@pytest.mark.parametrize("settings", [{}, {"head": "mean", "num_layers": 2}, {"initial_state": "learned"}])
def test_what_is_saved_comes_back(tmp_path: Path, settings: dict[str, Any]) -> None:
    module = small(**settings)
    checkpoint.save(tmp_path / "m.pt", module, {"test": {"accuracy": 0.5}}, PROVENANCE)
    random_state = torch.get_rng_state()
    loaded = checkpoint.load(tmp_path / "m.pt")
    assert loaded.family == "lstm"
    assert loaded.hints == HINTS
    assert loaded.metrics == {"test": {"accuracy": 0.5}}
    assert loaded.provenance == PROVENANCE
    assert not loaded.module.training
    assert loaded.module.config == module.config
    assert all(torch.equal(loaded.module.state_dict()[k], v) for k, v in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_torch_alone_opens_it(saved: Path) -> None:
    assert torch.load(saved, weights_only=True)["family"] == "lstm"


def test_source_carries_what_the_contract_needs(tmp_path: Path) -> None:
    path = tmp_path / "learned.pt"
    checkpoint.save(path, small(initial_state="learned"), {}, PROVENANCE)
    source = open_source(path)
    assert (source.name, source.family, source.task, source.labels) == (
        "learned.pt",
        "lstm",
        "classify",
        HINTS.labels,
    )
    assert {name: value.shape for name, value in source.initial.items()} == {"h0": (1, 1, 4), "c0": (1, 1, 4)}
    assert source.provenance["checkpoint_sha256"] == checkpoint.load(path).sha256
    assert "recipe" not in source.provenance
    assert source.signature.typical["time"] == 7


@pytest.mark.parametrize("seed", range(4))
def test_every_flip_and_cut_is_refused(saved: Path, seed: int) -> None:
    """50 a seed, 200 in all, half of them flips; the seal and the zip's own end are hit in every seed."""
    whole, draw = saved.read_bytes(), random.Random(seed)
    places = [draw.randrange(len(whole)) for _ in range(40)] + [len(whole) - draw.randrange(1, 110) for _ in range(10)]
    for number, place in enumerate(places):
        changed = bytearray(whole)
        if number % 2:
            changed[place] ^= 1 << draw.randrange(8)
        else:
            del changed[place:]
        saved.write_bytes(changed)
        with pytest.raises(DamagedFileError, match=r"small\.pt' is (damaged|empty)"):
            checkpoint.load(saved)


class _Shell:
    """Touches a file when it is unpickled by a careless reader."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.proof}",)


def _archive(value: object, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "make",
    [
        lambda evil: _archive({"format": 1, "state": evil}, zipped=True),
        lambda evil: _archive({"state": evil}, zipped=False),
        lambda evil: checkpoint.dump({"format": 1, "state": evil}),
        *(lambda evil, p=p: pickle.dumps({"state": evil}, protocol=p) for p in range(6)),
    ],
    ids=["zip", "legacy", "sealed", *(f"pickle{p}" for p in range(6))],
)
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, make: Any) -> None:
    proof, path = tmp_path / "ran", tmp_path / "evil.pt"
    path.write_bytes(make(_Shell(proof)))
    with pytest.raises(UnsafeFileError, match=r"would call posix\.system.*nothing in it was run"):
        checkpoint.load(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", DamagedFileError, "is empty"),
        (b"not a checkpoint", FileError, "no checkpoint"),
        (_archive(small().state_dict(), zipped=True), FileError, "bare state dict"),
        (_archive({"epoch": 3}, zipped=True), FileError, "a dict with the keys epoch"),
        (_archive(torch.zeros(3), zipped=True), FileError, "a Tensor"),
        (_archive(torch.nn.Linear(2, 2), zipped=True), UnsafeFileError, "torch.nn.modules.linear.Linear"),
        (content_of(small(), format=2), FileError, "format 2, but this edgeseq reads up to 1: upgrade"),
        (content_of(small(), family="fuzzy"), FileError, "family 'fuzzy' is not known"),
        (content_of(small(), config={"hidden": 3}), FileError, "'hidden'"),
        (content_of(small(), state=3), FileError, "a int as its 'state'"),
        (
            content_of(small(), state=small(hidden_size=5).state_dict()),
            FileError,
            r"'layers.0.net.weight_ih_l0' has shape \(20, 2\), but \(16, 2\) is expected \(and \d more\)",
        ),
        (content_of(small(), state={}), FileError, "'x_mean' is missing"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes, error: type[Exception], message: str) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(error, match=message):
        checkpoint.load(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is no checkpoint"):
        checkpoint.load(tmp_path / "none.pt")
    with pytest.raises(FileError, match="is a folder"):
        checkpoint.load(tmp_path)


def test_a_failed_save_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="No space left"):
        checkpoint.save(saved, small(hidden_size=8), {}, {})
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_provenance_that_could_not_be_read_again_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"provenance\['torch'\] is a TorchVersion"):
        checkpoint.save(tmp_path / "x.pt", small(), {}, {"torch": torch.__version__})
    assert not list(tmp_path.iterdir())
