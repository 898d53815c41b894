"""What kept results follow from: a result is read back only while all of that is as it was.

A folder of results holds ``provenance.json``: a digest of each thing that the result follows from, by name, and of
each file in the folder. A result with another digest anywhere, or without the file, is as good as none.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .files import locked, to_json, whole_folder, write_file
from .process import ROOT

FILE = "provenance.json"
_SOURCES = (".py", ".v", ".vlt")


def digest(value: Any) -> str:
    """SHA-256 (hex) of bytes, of an array with its type and shape, or of a JSON-able value."""
    if isinstance(value, np.ndarray):
        value = f"{value.dtype.str} {value.shape} ".encode() + np.ascontiguousarray(value).tobytes()
    elif not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(value).hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 (hex) of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code(rooms: tuple = ("lstm_hw", "sim")) -> str:
    """What stands for this package as it is now: its version, that of numpy, and a digest of its sources."""
    files = sorted(path for room in rooms for path in (ROOT / room).rglob("*") if path.suffix in _SOURCES)
    state = digest([[str(path.relative_to(ROOT)), file_digest(path)] for path in files])
    return f"lstm-hw {version('lstm-hw')}, numpy {version('numpy')}, {state}"


def seal(folder: str | os.PathLike, sources: Mapping) -> None:
    """Write down what the files of a folder follow from.

    Parameters
    ----------
    folder : path-like
    sources : dict of str to bytes, array or JSON-able value
        By names that tell a reader what it is.
    """
    folder = Path(folder)
    files = {path.relative_to(folder).as_posix(): file_digest(path) for path in _files(folder)}
    follows = {name: digest(value) for name, value in sources.items()}
    write_file(folder / FILE, to_json({"follows_from": follows, "files": files}))


def changed(folder: str | os.PathLike, sources: Mapping) -> str | None:
    """What is not as it was when a folder was sealed.

    Returns
    -------
    str or None
        None if all is; ``"missing"`` if there is no sealed folder; else the name of the first source, or file, that
        differs.
    """
    folder = Path(folder)
    try:
        kept = json.loads((folder / FILE).read_text())
        files, follows = dict(kept["files"]), dict(kept["follows_from"])
    except (OSError, ValueError, KeyError, TypeError):
        return "missing"
    now = {name: digest(value) for name, value in sources.items()}
    for name in [*now, *follows]:
        if now.get(name) != follows.get(name):
            return name
    try:
        found = {path.relative_to(folder).as_posix(): file_digest(path) for path in _files(folder)}
    except OSError as error:
        return str(error)
    return next((name for name in [*files, *found] if files.get(name) != found.get(name)), None)


def kept_folder(folder: str | os.PathLike, sources: Mapping, make: Callable[[Path], object]) -> Path:
    """A folder of what ``make`` writes into the folder that it is given; made now unless a sealed one still holds.

    Several processes may ask for it at once: one makes it.

    Parameters
    ----------
    folder : path-like
        Its name is extended by a digest of ``sources``.
    sources : dict
        See :func:`seal`.
    make : callable

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ConfigError
        The place cannot be written.
    """
    folder = kept_name(folder, sources)
    if changed(folder, sources) is None:
        return folder
    with locked(f"{folder}.lock"):
        if changed(folder, sources) is not None:  # nobody made it while this process waited
            with whole_folder(folder) as new:
                make(new)
                seal(new, sources)
    return folder


def kept_name(folder: str | os.PathLike, sources: Mapping) -> Path:
    """Where :func:`kept_folder` keeps it."""
    folder = Path(folder)
    return folder.with_name(f"{folder.name}-{digest({name: digest(value) for name, value in sources.items()})[:20]}")


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / FILE)
