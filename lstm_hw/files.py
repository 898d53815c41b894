"""Writing results so that they appear whole or not at all."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import ConfigError
from .process import ended_by_signals

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO)
"""Why a write fails, whatever is written."""


@contextmanager
def writable(path: str | os.PathLike, among: tuple[int, ...] | None = None) -> Iterator[None]:
    """Turn what the system says of a failed write in the body into an error.

    Parameters
    ----------
    path : path-like
        What is written.
    among : tuple of int, optional
        Error numbers that count; all without it.

    Raises
    ------
    ConfigError
        Names the path.
    """
    try:
        yield
    except OSError as error:
        if among and error.errno not in among:
            raise
        raise ConfigError(path, error.strerror or str(error), "must be a writable place") from error


def write_file(path: str | os.PathLike, content: str | bytes) -> Path:
    """Write text or bytes to a file; a reader sees the old content or the whole new one.

    Parameters
    ----------
    path : path-like
        Its folder is made if needed.
    content : str or bytes

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ConfigError
        The file cannot be written.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    with ended_by_signals(), writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(handle, "wb") as file:
                file.write(data)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    return path


def write_json(path: str | os.PathLike, value: Any) -> Path:
    """Write a JSON file with keys in the order given; see :func:`write_file`."""
    return write_file(path, to_json(value))


def to_json(value: Any) -> str:
    """The JSON text of :func:`write_json`."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


@contextmanager
def locked(path: str | os.PathLike, waiting: Callable[[], object] | None = None) -> Iterator[None]:
    """Only one process at a time is in the body; a thread that is in already may enter again.

    Parameters
    ----------
    path : path-like
        The lock file; it stays.
    waiting : callable, optional
        Called once if another process is in, before this one waits for it.

    Raises
    ------
    ConfigError
        The file cannot be written.
    """
    path = Path(path)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, is_singleton=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if waiting:
                waiting()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def whole_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Replace a folder by what the body writes into the folder that it is given, if the body succeeds.

    When the body raises, what was at ``path`` before is still there, and nothing of the new is.

    Parameters
    ----------
    path : path-like

    Yields
    ------
    pathlib.Path
        An empty folder beside ``path``, always of the same name: only one process at a time may write a result.

    Raises
    ------
    ConfigError
        The folder cannot be written.
    """
    path = Path(path)
    partial, old = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.old")
    with ended_by_signals():
        with writable(path):
            for left in (partial, old):
                if left.exists():
                    shutil.rmtree(left)
            partial.mkdir(parents=True)
        try:
            with writable(path, FULL):
                yield partial
            with writable(path):
                if path.exists():
                    path.rename(old)
                partial.rename(path)
        finally:
            for left in (partial, old):
                shutil.rmtree(left, ignore_errors=True)
