"""Files that would do harm: each is refused with exit 2, nothing in it is run, and nothing is written."""

import io
import json
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from edgeseq_export.sources import zips
from edgeseq_export.sources.archive import look
from edgeseq_export.sources.weights import load_weights
from edgeseq_runtime import load
from edgeseq_runtime.errors import DamagedFileError, FileError, UnsafeFileError
from edgeseq_runtime.wire import external_files
from onnx import TensorProto, helper
from torch import nn
from typer.testing import CliRunner

from edgeseq.cli.app import app

MARKER = "ran"


class Reduced:
    """Runs a command when it is unpickled by a careless reader."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {MARKER}",)


class Restored(nn.Module):
    """Runs a command as its state is set, in its own code."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        os.system(f"touch {MARKER}")


class Member(dict[str, Any]):
    """Looks like a state dict."""


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.rnn(x)[0])


def saved(value: object, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def archive(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as written:
        for name, content in entries.items():
            written.writestr(name, content)
    return buffer.getvalue()


def rewritten(content: bytes, changes: dict[str, bytes]) -> bytes:
    """An archive with some entries exchanged, or added."""
    with zipfile.ZipFile(io.BytesIO(content)) as given:
        entries = {name: given.read(name) for name in given.namelist()}
    return archive({**entries, **changes})


def evil(protocol: int = 2) -> bytes:
    return pickle.dumps({"weight": Reduced()}, protocol)


def scripted() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Reduced()], object), allow_pickle=True)
    return buffer.getvalue()


STATE = Small().state_dict()

PICKLES: dict[str, Callable[[], bytes]] = {
    "reduced.pt": lambda: saved({"weight": Reduced()}),
    "legacy.pt": lambda: saved({"weight": Reduced()}, zipped=False),
    "nested.pth": lambda: saved({"state_dict": {**STATE, "more": [{"deep": Reduced()}]}}),
    "key.pt": lambda: saved({(Reduced(),): torch.zeros(2)}),
    "setstate.pt": lambda: saved(Restored()),
    "setstate-legacy.pt": lambda: saved(Restored(), zipped=False),
    "module.bin": lambda: saved(Small()),
    "subclass.pt": lambda: saved(Member(STATE)),
    "plain0.pt": lambda: evil(0),
    "plain2.pt": lambda: evil(2),
    "plain4.bin": lambda: evil(4),
    "behind.pt": lambda: pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + evil(),
    "exchanged.pt": lambda: rewritten(saved(STATE), {"archive/data.pkl": evil()}),
    "checkpoint.ckpt": lambda: saved({"state_dict": STATE, "callbacks": {"x": Reduced()}}),
    "scripted-data.pt": lambda: rewritten(scripted(), {"archive/data.pkl": evil()}),
    "scripted-constants.pt": lambda: rewritten(scripted(), {"archive/constants.pkl": evil()}),
    "scripted.pt": scripted,
    "program.pt2": lambda: archive(
        {"p/models/model.json": b"{}", "p/data/sample_inputs/model.pt": saved(Reduced()), "p/archive_format": b"pt2"}
    ),
    "old-program.pt2": lambda: archive(
        {"serialized_exported_program.json": b"{}", "serialized_state_dict.pt": saved(Reduced())}
    ),
}
"""Files that run code when their own library opens them without care."""

OTHERS: dict[str, Callable[[], bytes]] = {
    "array.npy": npy,
    "array.npz": lambda: archive({"weight.npy": npy()}),
    "array.pt": npy,
    "text.pt": lambda: b"cos\nsystem\n",
    "cut.pt": lambda: saved(STATE)[:700],
    "cut-legacy.pt": lambda: saved(STATE, zipped=False)[:700],
    "empty.pt": lambda: b"",
    "empty.safetensors": lambda: b"",
}


def bomb(name: str, times: int) -> bytes:
    return archive({"archive/data.pkl": pickle.dumps({}), name: bytes(times * 1000)}, zipfile.ZIP_DEFLATED)


def patched(content: bytes, old: bytes, new: bytes) -> bytes:
    assert content.count(old) == 2  # before the entry and in the directory
    assert len(old) == len(new)
    return content.replace(old, new)


def twice() -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as written:
            written.writestr("archive/data.pkl", pickle.dumps({}))
            written.writestr("archive/data.pkl", evil())
    return buffer.getvalue()


def encrypted() -> bytes:
    content = bytearray(saved(STATE))
    with zipfile.ZipFile(io.BytesIO(content)) as given:
        place = given.start_dir
    content[place + 8] |= 1
    return bytes(content)


def overlapping() -> bytes:
    """Many entries of a directory that lead to the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        written.writestr("archive/data.pkl", pickle.dumps({}))
        written.writestr("archive/data/0", bytes(5000))
        first = written.infolist()[1]
        for number in range(1, 20):
            copied = zipfile.ZipInfo(f"archive/data/{number}")
            copied.header_offset, copied.CRC = first.header_offset, first.CRC
            copied.compress_size = copied.file_size = first.file_size
            written.filelist.append(copied)
    return buffer.getvalue()


ARCHIVES: dict[str, tuple[Callable[[], bytes], type[FileError], str]] = {
    "above": (lambda: rewritten(saved(STATE), {"../evil.py": b""}), UnsafeFileError, "leads out"),
    "inside above": (lambda: rewritten(saved(STATE), {"archive/../../evil": b""}), UnsafeFileError, "leads out"),
    "absolute": (lambda: rewritten(saved(STATE), {"/etc/evil": b""}), UnsafeFileError, "leads out"),
    "drive": (lambda: rewritten(saved(STATE), {"C:/evil": b""}), UnsafeFileError, "leads out"),
    "backslash": (
        lambda: patched(archive({"a/data.pkl": b"", "a+b": b""}), b"a+b", b"a\\b"),
        UnsafeFileError,
        "leads out",
    ),
    "twice": (twice, UnsafeFileError, "twice"),
    "nested": (lambda: rewritten(saved(STATE), {"archive/more": saved(STATE)}), UnsafeFileError, "archive inside"),
    "nested weights": (lambda: rewritten(saved(STATE), {"archive/data/0": saved(STATE)}), UnsafeFileError, "inside"),
    "nested gzip": (lambda: rewritten(saved(STATE), {"archive/m.gz": b"\x1f\x8b\x08 more"}), UnsafeFileError, "inside"),
    "bomb": (lambda: bomb("archive/data/0", 5000), UnsafeFileError, "would unpack to 5,000"),
    "bomb in the pickle": (
        lambda: archive({"archive/data.pkl": bytes(5_000_000)}, zipfile.ZIP_DEFLATED),
        UnsafeFileError,
        "would unpack to",
    ),
    "encrypted": (encrypted, UnsafeFileError, "encrypted"),
    "bzip2": (lambda: archive({"archive/data.pkl": b"x" * 99}, zipfile.ZIP_BZIP2), UnsafeFileError, "compression"),
    "overlapping": (overlapping, DamagedFileError, "more bytes than it has"),
    "cut": (lambda: saved(STATE)[:-30], DamagedFileError, "cannot be read as a zip"),
    "nested bomb": (
        lambda: archive({"p/models/model.json": b"{}", "p/data/weights/w.pt": bomb("archive/data/0", 5000)}),
        UnsafeFileError,
        "'p/data/weights/w.pt' in .* would unpack",
    ),
}


def tensors(header: object, data: bytes = bytes(64), size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def entry(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HONEST = {"a": entry([4, 2], 0, 32), "b": entry([8], 32, 64)}

HEADERS: dict[str, bytes] = {
    "beyond the file": tensors(HONEST, size=10**6),
    "beyond all files": tensors(HONEST, size=2**63),
    "huge": tensors(HONEST, size=200_000_000),
    "overlapping": tensors({"a": entry([16], 0, 64), "b": entry([16], 0, 64)}),
    "outside": tensors({"a": entry([32], 0, 128)}),
    "hole": tensors({"a": entry([8], 32, 64)}),
    "reversed": tensors({"a": entry([16], 64, 0)}),
    "other shape": tensors({"a": entry([4, 5], 0, 64)}),
    "overflow": tensors({"a": entry([2**40, 2**40], 0, 64)}),
    "negative": tensors({"a": entry([-4, -4], 0, 64)}),
    "twice": tensors(
        b'{"a":%(e)s,"a":%(f)s}'
        % {b"e": json.dumps(entry([4, 4], 0, 64)).encode(), b"f": json.dumps(entry([16], 0, 64)).encode()}
    ),
    "type": tensors({"a": entry([16], 0, 64, "X9")}),
    "more bytes": tensors(HONEST, bytes(100)),
    "no json": tensors(b"no json at all"),
    "deep": tensors(b"[" * 100_000),
    "short": b"abc",
}


def refused(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """Run a command that must end with 2 and leave the folder as it was; returns what it says."""
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.iterdir())
    result = CliRunner().invoke(app, [str(a) for a in arguments], prog_name="edgeseq")
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert sorted(path.name for path in folder.iterdir()) == before  # neither the marker nor a file
    return result.output


@pytest.mark.parametrize("how", ["source", "weights"])
@pytest.mark.parametrize("name", [*PICKLES, *OTHERS])
def test_no_code_of_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, how: str) -> None:
    (tmp_path / name).write_bytes({**PICKLES, **OTHERS}[name]())
    given = [name] if how == "source" else ["torch.nn:Identity", "--weights", name]
    said = refused(tmp_path, monkeypatch, "export", *given)
    assert name in said
    if how == "source" and name in PICKLES:
        assert "nothing in it was run" in said
        assert "--trust" in said
        assert "package.module:factory" in said


COMMANDS = [
    *("reduced.pt", "legacy.pt", "nested.pth", "key.pt", "setstate.pt", "setstate-legacy.pt", "plain0.pt", "plain2.pt"),
    *("plain4.bin", "exchanged.pt", "checkpoint.ckpt"),
]
"""Of them, those that torch.load opens and that hold a command."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_careless_reader_would_have_run_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """So that the test above can fail: torch itself, told to trust, runs the command."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(PICKLES[name]())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(Exception):  # what is left when the command has run is no network
            torch.load(name, weights_only=False)
    assert (tmp_path / MARKER).exists()


def test_the_names_that_a_pickle_would_call_are_told(tmp_path: Path) -> None:
    for name in ("reduced.pt", "legacy.pt", "plain0.pt", "plain4.bin", "exchanged.pt", "scripted-constants.pt"):
        (tmp_path / name).write_bytes(PICKLES[name]())
        assert any(call.endswith(".system") for call in look(tmp_path / name).calls), name


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("command", ["export", "inspect", "trust"])
def test_archives_that_nobody_should_unpack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, command: str
) -> None:
    make, error, message = ARCHIVES[name]
    (tmp_path / "given.pt").write_bytes(make())
    with pytest.raises(error, match=message):
        look(tmp_path / "given.pt")
    words = {"export": ["export"], "inspect": ["inspect"], "trust": ["export", "--trust"]}[command]
    refused(tmp_path, monkeypatch, *words, "given.pt")


def test_the_size_limit_is_of_what_is_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "given.pt").write_bytes(saved(STATE))
    assert look(tmp_path / "given.pt").kind == "weights"
    monkeypatch.setattr(zips, "MOST_BYTES", 100)
    with pytest.raises(UnsafeFileError, match="at most 100 are opened"):
        look(tmp_path / "given.pt")


@pytest.mark.parametrize("how", ["source", "weights"])
@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, how: str) -> None:
    (tmp_path / "given.safetensors").write_bytes(HEADERS[name])
    with pytest.raises(DamagedFileError, match=r"given\.safetensors' is damaged"):
        load_weights(tmp_path / "given.safetensors")
    given = ["given.safetensors"] if how == "source" else ["torch.nn:Identity", "--weights", "given.safetensors"]
    refused(tmp_path, monkeypatch, "export", *given)


def test_an_honest_header_is_read(tmp_path: Path) -> None:
    (tmp_path / "given.safetensors").write_bytes(tensors(HONEST))
    state, notes = load_weights(tmp_path / "given.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {"a": (4, 2), "b": (8,)}
    assert not notes


def test_a_tensor_that_repeats_one_number_without_end_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1).expand(2**40)}, tmp_path / "given.pt")
    with pytest.raises(UnsafeFileError, match=r"weights of 4,398,046,511,104 bytes"):
        load_weights(tmp_path / "given.pt")


def onnx_file(location: str, where: str = "graph") -> bytes:
    """y = x + w, with w in another file; or, in place of that, in a constant or a branch of the graph."""
    w = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        w.external_data.add(key=key, value=value)
    nodes, initializers = [helper.make_node("Add", ["x", "w"], ["y"])], [w]
    if where == "constant":
        nodes, initializers = [helper.make_node("Constant", [], ["w"], value=w), *nodes], []
    elif where == "branch":
        inner = helper.make_graph(
            [helper.make_node("Identity", ["w"], ["v"])], "inner", [], [helper.make_tensor_value_info("v", 1, [4])], [w]
        )
        yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
        branch = helper.make_node("If", ["yes"], ["b"], then_branch=inner, else_branch=inner)
        nodes, initializers = [yes, branch, helper.make_node("Add", ["x", "b"], ["y"])], []
    values = [helper.make_tensor_value_info(name, 1, [4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize("command", ["run", "verify", "inspect", "bench"])
@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("../secret.bin", "graph"),
        ("sub/../../secret.bin", "graph"),
        ("{folder}/secret.bin", "graph"),
        ("..\\secret.bin", "graph"),
        ("C:secret.bin", "graph"),
        ("*/_ORT_MEM_ADDR_/*", "graph"),
        ("../secret.bin", "constant"),
        ("../secret.bin", "branch"),
    ],
)
def test_weights_outside_the_folder_of_an_onnx_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, where: str, command: str
) -> None:
    np.arange(4, dtype=np.float32).tofile(tmp_path / "secret.bin")
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(onnx_file(location.format(folder=tmp_path), where))
    said = refused(folder, monkeypatch, command, "m.onnx")
    assert "which is not in its own folder" in said


def field(tag: bytes, content: bytes) -> bytes:
    """A field of a protobuf message, of less than 128 bytes."""
    return tag + bytes([len(content)]) + content


@pytest.mark.parametrize(
    ("tag", "error", "message"),
    [
        (b"\x6a", UnsafeFileError, "which is not in its own folder"),
        (b"\xea\x80\x80\x80\x10", DamagedFileError, "more than protobuf's 32 bits"),  # cut to 32 bits it is the same
        (b"\xea\x80\x80\x80\x80\x00", DamagedFileError, "more than protobuf's 32 bits"),
    ],
)
def test_a_field_of_external_data_cannot_hide(tag: bytes, error: type[Exception], message: str) -> None:
    entry = field(b"\x0a", b"location") + field(b"\x12", b"../secret.bin")
    model = field(b"\x3a", field(b"\x2a", field(tag, entry)))  # a model's graph, its initializer, the entry
    with pytest.raises(error, match=message):
        external_files(model, "m.onnx")


def test_weights_beside_an_onnx_file_are_read(tmp_path: Path) -> None:
    content = onnx_file("w.bin")
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(FileError, match=r"keeps weights in 'w\.bin', which is not beside it"):
        load(tmp_path / "m.onnx")
    np.arange(4, dtype=np.float32).tofile(tmp_path / "w.bin")
    answer = load(tmp_path / "m.onnx").run({"x": np.ones(4, np.float32)})
    np.testing.assert_array_equal(answer["y"], [1, 2, 3, 4])
    with pytest.raises(FileError, match="which bytes alone do not have"):
        load(content)


def test_the_word_location_alone_is_no_other_file(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["location"], ["y"], name="location", doc_string="location")
    values = [helper.make_tensor_value_info(name, 1, [4]) for name in ("location", "y")]
    model = helper.make_model(
        helper.make_graph([node], "g", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "m.onnx")
    assert load(tmp_path / "m.onnx").run(np.ones(4, np.float32))["y"].tolist() == [1, 1, 1, 1]
