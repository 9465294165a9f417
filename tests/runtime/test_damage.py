"""Files that are not what was written are refused: 200 flips and cuts, and files of another kind."""

import random

import onnx
import pytest
from edgeseq_runtime import load
from edgeseq_runtime.errors import ContractError, DamagedFileError, FileError, MissingFileError
from edgeseq_runtime.seal import SEAL_SIZE, check_seal, is_sealed, seal


@pytest.fixture(scope="module")
def content(models):
    return (models / "lstm.onnx").read_bytes()


def test_every_flip_is_refused(content):
    rng = random.Random(1)
    places = [rng.randrange(len(content) * 8) for _ in range(100)]
    places += [(len(content) - 1 - i) * 8 + rng.randrange(8) for i in range(SEAL_SIZE)]  # every byte of the seal
    for place in places:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(DamagedFileError):
            load(bytes(damaged))


def test_every_cut_is_refused(content):
    rng = random.Random(2)
    cuts = {rng.randrange(len(content)) for _ in range(100)} | {
        0,
        1,
        2,
        SEAL_SIZE,
        len(content) - SEAL_SIZE,
        len(content) - 1,
    }
    for cut in cuts:
        with pytest.raises(DamagedFileError):
            load(content[:cut])


def test_cuts_between_whole_fields_are_refused(content):
    """A cut at a field's end leaves a valid protobuf message: only the producer's name tells."""
    model = onnx.load_from_string(content)
    while model.metadata_props:
        model.metadata_props.pop()
        with pytest.raises(DamagedFileError, match=r"hash at the end is missing|is damaged"):
            load(model.SerializeToString())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: None, MissingFileError, "does not exist"),
        (lambda path: path.write_bytes(b""), DamagedFileError, "is empty"),
        (lambda path: path.write_text("hello"), DamagedFileError, "not an ONNX file"),
        (lambda path: path.mkdir(), FileError, "cannot read"),
    ],
)
def test_files_of_another_kind(tmp_path, make, error, message):
    path = tmp_path / "model.onnx"
    make(path)
    with pytest.raises(error, match=message):
        load(path)


def test_newer_contract_is_refused_by_version(content):
    model = onnx.load_from_string(content)
    for prop in model.metadata_props:
        if prop.key == "edgeseq.contract":
            prop.value = prop.value.replace('"version": 1', '"version": 2', 1)
    with pytest.raises(ContractError, match=r"version 2, but this runtime reads up to 1\. Upgrade"):
        load(seal(model.SerializeToString()))


def test_seal_is_renewed_not_repeated(content):
    assert is_sealed(content)
    assert seal(content) == content
    assert len(seal(b"body")) == len(b"body") + SEAL_SIZE
    assert check_seal(seal(b"body"), "x")


def test_sealed_file_is_still_an_ordinary_onnx_file(content):
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model)
    assert model.metadata_props[-1].key == "edgeseq.sha256"
