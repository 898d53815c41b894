"""Reading files that nobody vouches for: in bounded time and memory, every refusal one typed error.

What a file says of itself (lengths, counts, shapes) is looked at before anything is read or expanded because of it,
and nothing is ever unpickled. Special files are never opened.
"""

import json
import math
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np

from .errors import InputError, LstmHwError

MAX_JSON_BYTES = 1 << 23
"""Largest JSON file; as Python objects it can take 30 times as much."""
BYTES_A_VALUE = 16
"""Least bytes of a JSON file for each of its values, which take time one by one, at its largest."""
MAX_NPZ_BYTES = 1 << 29
"""Largest npz file."""
MAX_ARRAY_BYTES = 1 << 28
"""Largest array of an npz file, expanded."""
MAX_VALUES = 1 << 26
"""Most values of an array, whatever their size: they become float64."""
MAX_ARRAYS = 1024
"""Most arrays in an npz file."""
_DIRECTORY_BYTES = 1 << 19
"""Longest list of contents of a zip archive."""
_NPY_HEADER_BYTES = 4096
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4}
"""Version of an npy file -> bytes of the header's length."""
_END, _LOCATOR64, _END64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_INTEGER_DIGITS = 20


def check_file(path: str | os.PathLike, most: int, error: type[LstmHwError] = InputError) -> Path:
    """Check that ``path`` is a regular file, not empty and of an acceptable size.

    Parameters
    ----------
    path : path-like
    most : int
        Bytes.
    error : class of LstmHwError
        What is raised.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    LstmHwError
        Missing, unreadable, a directory or another special file, empty, or larger.
    """
    path = Path(path)
    try:
        status = path.stat()
    except OSError as reason:
        raise error(path, reason.strerror or str(reason), "must be a readable file") from reason
    except ValueError as reason:
        raise error(repr(str(path)), str(reason), "must be a file name") from reason
    _check_status(path, status, most, error)
    return path


def _check_status(path, status, most, error):
    if stat.S_ISDIR(status.st_mode):
        raise error(path, "a directory", "must be a file")
    if not stat.S_ISREG(status.st_mode):
        raise error(path, "not a regular file", "must be a file")
    if status.st_size == 0:
        raise error(path, "an empty file", "must have content")
    if status.st_size > most:
        raise error(path, f"{status.st_size} bytes", f"must not exceed {most} bytes")


@contextmanager
def open_file(path: str | os.PathLike, most: int, error: type[LstmHwError] = InputError) -> Iterator[BinaryIO]:
    """A file opened for reading, after :func:`check_file`; what the system says of it becomes an error too."""
    path = check_file(path, most, error)
    try:
        # Not waiting: it may have become a pipe since it was checked.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _check_status(path, os.fstat(file.fileno()), most, error)
            yield file
    except OSError as reason:
        raise error(path, reason.strerror or str(reason), "must be a readable file") from reason


def read_file(path: str | os.PathLike, most: int, error: type[LstmHwError] = InputError) -> bytes:
    """Content of a file of at most ``most`` bytes; see :func:`check_file`."""
    with open_file(path, most, error) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def parse_json(
    text: str | bytes, subject: object, error: type[LstmHwError] = InputError, most: int = MAX_JSON_BYTES
) -> dict[str, Any]:
    """A JSON object: no duplicate keys, no NaN or infinity, integers of at most 19 digits.

    Parameters
    ----------
    text : str or bytes
        Of a bounded size, UTF-8.
    subject : object
        What an error says that it is.
    error : class of LstmHwError
    most : int
        Bytes that it could have; it has at most a value for each ``BYTES_A_VALUE`` of them, by commas and brackets.

    Raises
    ------
    LstmHwError
        The text is anything else.
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
        values = sum(map(text.count, ",[{"))
        if values > most // BYTES_A_VALUE:
            raise error(subject, f"{values:,} commas and brackets", f"must have at most {most // BYTES_A_VALUE:,}")
        values = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except RecursionError as reason:
        raise error(subject, "nested too deeply", "must be JSON of a few levels") from reason
    except ValueError as reason:
        raise error(subject, f"not JSON ({reason})", "must be a whole JSON object") from reason
    if not isinstance(values, dict):
        raise error(subject, type(values).__name__, "must be a JSON object")
    return values


def _unique(pairs):
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r:.60} twice")
    return values


def _integer(text):
    if len(text) > _INTEGER_DIGITS:
        raise ValueError(f"integer of {len(text)} digits")
    return int(text)


def _finite(text):
    value = float(text)
    if value - value != 0:
        raise ValueError(f"{text:.40} is no finite number")
    return value


def read_json(path: str | os.PathLike, error: type[LstmHwError] = InputError, most: int = MAX_JSON_BYTES) -> dict:
    """The JSON object in a file; see :func:`read_file` and :func:`parse_json`."""
    return parse_json(read_file(path, most, error), path, error, most)


@contextmanager
def open_archive(
    path: str | os.PathLike, most: int, rule: str, error: type[LstmHwError] = InputError
) -> Iterator[zipfile.ZipFile]:
    """A zip archive opened for reading, its list of contents bounded before it is read.

    Parameters
    ----------
    path : path-like
    most : int
        Bytes of the file.
    rule : str
        What the file must be, for messages.
    error : class of LstmHwError
        What is raised.
    """
    with open_file(path, most, error) as file:
        _check_directory(file, path, rule, error)
        try:
            archive = zipfile.ZipFile(file)
        except (ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as reason:
            raise error(path, str(reason) or "damaged", rule) from reason
        with archive:
            yield archive


def read_stored(
    archive: zipfile.ZipFile, name: str, most: int, path: object, error: type[LstmHwError] = InputError
) -> bytes:
    """Content of a member that is stored as it is, neither compressed nor encrypted.

    Parameters
    ----------
    archive : zipfile.ZipFile
    name : str
    most : int
        Bytes.
    path : object
        Of the archive, for messages.
    error : class of LstmHwError

    Raises
    ------
    LstmHwError
        It is missing, damaged, larger, or compressed.
    """
    subject = f"{path}: {name}"
    try:
        info = archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise error(subject, "compressed or encrypted", "must be stored as it is")
        # The library asks for as many bytes as the list of contents says.
        most = min(most, os.fstat(archive.fp.fileno()).st_size)
        if max(info.file_size, info.compress_size) > most:
            found = max(info.file_size, info.compress_size)
            raise error(subject, f"{found} bytes", f"must not exceed {most} bytes")
        return archive.read(info)
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, struct.error, zipfile.BadZipFile) as reason:
        raise error(subject, f"not readable ({reason})", "must be an undamaged member") from reason


class NpzFile:
    """The arrays of an npz file, each read when asked for.

    Parameters
    ----------
    path : path-like

    Attributes
    ----------
    names : tuple of str
        The arrays in the file.

    Raises
    ------
    InputError
        The file is missing, unreadable or no zip archive, or has more than ``MAX_ARRAYS`` arrays or two of one name.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        with self._archive() as archive:
            members = archive.namelist()
        self.names = tuple(name.removesuffix(".npy") for name in members if name.endswith(".npy"))
        if len(self.names) > MAX_ARRAYS:
            raise InputError(self.path, f"{len(self.names)} arrays", f"must have at most {MAX_ARRAYS}")
        if len(set(members)) != len(members):
            name = next(name for name in members if members.count(name) > 1)
            raise InputError(f"{self.path}: {name}", "two members of this name", "must have one")

    def _archive(self):
        return open_archive(self.path, MAX_NPZ_BYTES, "must be a readable npz file (numpy.savez)")

    @contextmanager
    def _member(self, name):
        """The member of an array, behind its header, with shape and type."""
        subject = f"{self.path}: {name}"
        if name not in self.names:
            rule = f"must be one of the arrays in the file: {', '.join(self.names) or 'none'}"
            raise InputError(subject, "missing", rule)
        with self._archive() as archive:
            try:
                info = archive.getinfo(f"{name}.npy")
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise InputError(subject, "another compression", "must be stored or deflated (numpy.savez)")
                with archive.open(info) as file:
                    header, shape, dtype = _npy_header(file, subject)
                    _check_array(subject, shape, dtype, info.file_size - len(header))
                    yield header, file, shape, dtype
            except (
                OSError,
                ValueError,
                EOFError,
                KeyError,
                IndexError,
                RuntimeError,  # encrypted
                SyntaxError,
                TypeError,
                OverflowError,
                zipfile.BadZipFile,
                zlib.error,
            ) as error:
                raise InputError(subject, f"not readable ({error})", "must be an undamaged array") from error

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of the array ``name``, without expanding it; refusals as of :meth:`read`."""
        with self._member(name) as (_, _, shape, dtype):
            return shape, dtype

    def read(self, name: str) -> np.ndarray:
        """The array ``name``.

        Raises
        ------
        InputError
            There is none, it is damaged, larger than ``MAX_ARRAY_BYTES`` or ``MAX_VALUES``, or holds Python objects.
        """
        with self._member(name) as (header, file, _, _):
            values = np.lib.format.read_array(_Chained(header, file), allow_pickle=False, max_header_size=len(header))
            if file.read(1):  # the checksum is looked at where a member ends
                raise ValueError("bytes behind the array")
            return values


class _Chained:
    """A header that was read already, and the file that follows it."""

    def __init__(self, header, file):
        self._header, self._file = BytesIO(header), file

    def read(self, size):
        return self._header.read(size) or self._file.read(size)


def _check_directory(file, path, rule, error):
    """Bound the list of contents, which ``zipfile`` reads whole, by what its last record says."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - (1 << 16) - 64))
    tail = file.read()
    file.seek(0)
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        raise error(path, "no zip archive", rule)
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if tail[max(0, at - 20) : at].startswith(_LOCATOR64):  # then the record before it decides
        record = tail[max(0, at - 76) : at - 20]
        if not record.startswith(_END64):
            raise error(path, "no zip archive", rule)
        length = int.from_bytes(record[40:48], "little")
    if length > _DIRECTORY_BYTES:
        raise error(path, "a list of contents that is too long", f"must have at most {MAX_ARRAYS} members")


def _npy_header(file, subject):
    """The header's bytes, shape and type of an npy file, which is read up to its values."""
    start = file.read(8)
    if start[:6] != np.lib.format.MAGIC_PREFIX or len(start) < 8:
        raise ValueError("no npy file")
    version = tuple(start[6:8])
    if version not in _LENGTH_BYTES:
        raise InputError(subject, f"npy version {version}", "must be 1.0 or 2.0")
    length = file.read(_LENGTH_BYTES[version])
    size = int.from_bytes(length, "little")
    if size > _NPY_HEADER_BYTES:
        raise InputError(subject, f"a header of {size} bytes", f"must have at most {_NPY_HEADER_BYTES}")
    header = start + length + file.read(size)
    parse = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    stream = BytesIO(header)
    stream.seek(8)
    try:
        shape, _, dtype = parse(stream, max_header_size=_NPY_HEADER_BYTES)
    except (RecursionError, MemoryError) as error:  # both are what Python's parser says of deep nesting
        raise ValueError("a header that is nested too deeply") from error
    except TokenError as error:  # of numpy's second look at headers that Python 2 wrote
        raise ValueError(f"a header that is no Python literal: {error}") from error
    return header, shape, dtype


def _check_array(subject, shape, dtype, bytes_there):
    if dtype.hasobject:
        raise InputError(subject, f"dtype {dtype}", "must be numbers")
    values = math.prod(shape)
    stored = values * dtype.itemsize
    # What cannot be printed, as a size of thousands of digits, is not.
    if any(size < 0 for size in shape) or max(shape, default=0) > MAX_VALUES or stored > MAX_ARRAY_BYTES:
        raise InputError(subject, f"shape {str(shape):.80} of {dtype}", f"must not exceed {MAX_ARRAY_BYTES} bytes")
    if values > MAX_VALUES:
        raise InputError(subject, f"shape {shape}", f"must not exceed {MAX_VALUES} values")
    if stored != bytes_there:
        raise InputError(subject, f"not readable ({bytes_there} bytes)", f"must be an undamaged array of {stored}")
