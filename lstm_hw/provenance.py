"""What kept results follow from: a result is read back only while all of that is as it was.

A folder of results holds ``provenance.json``: a digest of each thing that the result follows from, by name, and size
and digest of each file in the folder. A result with another digest anywhere, or without the file, is as good as none.
A JSON file that is used outside its folder holds a digest of its own, see :func:`stamped`.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .files import locked, to_json, whole_folder, write_file
from .process import ROOT
from .reading import MAX_JSON_BYTES, read_json

FILE = "provenance.json"
STAMP = "digest"
"""Key of a stamped file's digest."""
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


def stamped(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-able values with the digest of all of them under the key ``STAMP``; :func:`read_stamped` checks it."""
    return {**values, STAMP: digest(dict(values))}


def read_stamped(path: str | os.PathLike, most: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The values of a JSON file of at most ``most`` bytes that was written with :func:`stamped`, without the digest.

    Raises
    ------
    InputError
        The file is missing, unreadable, no JSON, or not as it was written.
    """
    values = read_json(path, most=most)
    found = values.pop(STAMP, None)
    if found != digest(values):
        raise InputError(
            path, f"content of another digest than {found!r:.80}", "must be as it was written: write it anew"
        )
    return values


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
    files = {name: [path.stat().st_size, file_digest(path)] for name, path in _files(folder).items()}
    follows = {name: digest(value) for name, value in sources.items()}
    write_file(folder / FILE, to_json({"follows_from": follows, "files": files}))


def changed(folder: str | os.PathLike, sources: Mapping, besides: Collection[str] = ()) -> str | None:
    """What is not as it was when a folder was sealed.

    Parameters
    ----------
    folder : path-like
    sources : dict of str to bytes, array or JSON-able value
    besides : collection of str
        Names of sources that need not be as they were.

    Returns
    -------
    str or None
        None if all is; ``FILE`` if there is no sealed folder; else the name of the first source, or file, that differs.
    """
    try:
        files, follows = _seal(folder)
    except InputError:
        return FILE
    now = {name: digest(value) for name, value in sources.items()}
    for name in [*now, *follows]:
        if name not in besides and now.get(name) != follows.get(name):
            return name
    return _changed_file(Path(folder), files)


def check_folder(folder: str | os.PathLike) -> None:
    """Refuse a folder whose files are not as when it was sealed, whatever they follow from.

    Raises
    ------
    InputError
        Names the first file that is missing, changed or new; or the folder was never sealed.
    """
    name = _changed_file(Path(folder), _seal(folder)[0])
    if name is not None:
        raise InputError(Path(folder) / name, "another content", f"must be as {FILE} says: write the folder anew")


def _seal(folder):
    """What :func:`seal` wrote down: files and what they follow from."""
    path = Path(folder) / FILE
    kept = read_json(path)
    if not all(isinstance(kept.get(name), dict) for name in ("files", "follows_from")):
        raise InputError(path, "no seal of a folder", "must be as it was written: write the folder anew")
    return kept["files"], kept["follows_from"]


def _changed_file(folder, files):
    """The first file that is not as it was, or what the system says of it; what has another size is not read."""
    try:
        found = _files(folder)
        for name in [*files, *found]:
            if name not in found or name not in files:
                return name
            kept = files[name] if isinstance(files[name], list) else []
            if kept[:1] != [found[name].stat().st_size] or kept[1:] != [file_digest(found[name])]:
                return name
    except OSError as error:
        return str(error)
    return None


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
    """Files of a folder by name, all but that of the digests; whatever else is there, as a pipe, is no file."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / FILE)
    return {path.relative_to(folder).as_posix(): path for path in paths}
