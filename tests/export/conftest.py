"""A small LSTM and its file, as many tests need them."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def source(models: Path):
    from edgeseq.opening import open_source

    return open_source(models / "lstm.pt")


@pytest.fixture(scope="session")
def content(models: Path) -> bytes:
    return (models / "lstm.onnx").read_bytes()
