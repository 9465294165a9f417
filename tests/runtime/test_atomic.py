"""Files are whole or not there; a full disk costs the new file, never the old one."""

import errno
import os
from pathlib import Path

import pytest
from edgeseq_runtime.atomic import replacing, write_bytes
from edgeseq_runtime.errors import FileError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        _write_half(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def _write_half(path):
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FileError, match=r"No space left on device\. The old file, if any, is untouched"):
        write_bytes(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_output_that_is_a_folder(tmp_path):
    with pytest.raises(FileError, match="is a folder; give a file name"):
        write_bytes(tmp_path, b"x")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="cannot create the folder"):
        write_bytes(tmp_path / "file" / "inner" / "x", b"x")


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    write_bytes(tmp_path / "new" / "file", b"x")
    (tmp_path / "plain").write_bytes(b"x")
    assert (tmp_path / "new" / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode
