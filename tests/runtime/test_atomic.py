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
    with pytest.raises(FileError, match=r"cannot write .*: (Not a directory|File exists)"):
        write_bytes(tmp_path / "file" / "inner" / "x", b"x")


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    write_bytes(tmp_path / "new" / "file", b"x")
    (tmp_path / "plain").write_bytes(b"x")
    assert (tmp_path / "new" / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_links_are_followed_and_the_old_mode_is_kept(tmp_path):
    real = tmp_path / "real"
    real.write_bytes(b"old")
    real.chmod(0o600)
    (tmp_path / "link").symlink_to(real)
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o777 == 0o600


def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="is a device or a pipe"):
        write_bytes(tmp_path / "pipe", b"x")
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("name", ["x" * 245, "x" * 300, "a\0b"])
def test_awkward_names_are_written_or_refused_in_words(tmp_path, name):
    try:
        write_bytes(tmp_path / name, b"x")
    except FileError as error:
        assert "cannot write" in str(error)  # noqa: PT017  either outcome is right, a raw OSError is not
    else:
        assert (tmp_path / name).read_bytes() == b"x"
