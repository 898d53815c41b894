"""Results appear whole or not at all."""

import errno
import os

import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.files import whole_folder, write_file, write_json


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_is_replaced(tmp_path):
    path = tmp_path / "made" / "a.txt"
    write_file(path, "one")
    write_file(path, b"two")
    assert path.read_bytes() == b"two" and names(path.parent) == ["a.txt"]


def test_failed_write_leaves_the_old_file(tmp_path):
    path = write_file(tmp_path / "a.json", "{}")
    with pytest.raises(ValueError):
        write_json(path, float("nan"))
    with pytest.raises(TypeError):
        write_file(path, None)
    assert path.read_text() == "{}" and names(tmp_path) == ["a.json"]


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/a.txt: .*; must be a writable place"):
        write_file(tmp_path / "file" / "a.txt", "")
    with pytest.raises(ConfigError, match="must be a writable place"), whole_folder(tmp_path / "file" / "b"):
        pass


def test_folder_is_replaced(tmp_path):
    for content in ("old", "new"):
        with whole_folder(tmp_path / "made" / "result") as folder:
            (folder / content).write_text(content)
    assert names(tmp_path / "made") == ["result"] and names(tmp_path / "made" / "result") == ["new"]


@pytest.mark.parametrize("before", [False, True])
def test_failure_leaves_the_old_folder(tmp_path, before):
    if before:
        with whole_folder(tmp_path / "result") as folder:
            (folder / "old").write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "result") as folder:
        (folder / "new").write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["result"] * before
    if before:
        assert names(tmp_path / "result") == ["old"]


def test_what_an_interrupted_process_left_is_removed(tmp_path):
    (tmp_path / ".result.partial").mkdir()
    (tmp_path / ".result.partial" / "half").write_text("half")
    with whole_folder(tmp_path / "result") as folder:
        assert names(folder) == []
    assert names(tmp_path) == ["result"]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(ConfigError, match="result: No space left on device; must be a writable place"):
        with whole_folder(tmp_path / "result"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "anything")
    assert list(tmp_path.iterdir()) == []
