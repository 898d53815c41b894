"""Reading and writing safetensors files.

Reading checks sizes from the header before any tensor is read, and every refusal is a
:class:`~lstm_hw.errors.ModelError`. Writing is atomic (a reader sees the old file or the whole new
one), gives the same bytes for the same content, and adds a digest, since the format itself does not
notice a changed byte inside a tensor.
"""

import hashlib
import json
import os
from collections.abc import Collection
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from ..errors import ModelError
from ..reading import open_file, parse_json

MAX_FILE_BYTES = 1 << 28
"""Largest file that is opened; the format is not compressed, so this bounds the memory too."""
MAX_HEADER_BYTES = 1 << 22
"""Longest header: names, types, shapes and metadata."""
MAX_TENSORS = 1024
"""Most tensors in one file."""
FLOAT_DTYPES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
"""Types of weights, by the format's names, as numpy reads them; of BF16 the bits."""
DIGEST_KEY = "sha256"
"""Metadata key of the digest of everything else in the file."""


@contextmanager
def _refusals(path):
    """Turn what the library and the system raise about ``path`` into ModelError."""
    try:
        yield
    except SafetensorError as error:
        raise ModelError(path, f"not readable as safetensors ({error})", "must be a whole safetensors file") from error
    except OSError as error:
        raise ModelError(path, error.strerror or str(error), "must be a readable file") from error


def content_digest(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> str:
    """SHA-256 (hex) of the names, types, shapes and values of the tensors and of the metadata.

    Parameters
    ----------
    tensors : dict of str to array
    metadata : dict of str to str
        An entry ``DIGEST_KEY`` is left out.
    """
    described = {name: [array.dtype.str, list(array.shape)] for name, array in tensors.items()}
    rest = {key: value for key, value in metadata.items() if key != DIGEST_KEY}
    state = hashlib.sha256(json.dumps([described, rest], sort_keys=True).encode())
    for _, array in sorted(tensors.items()):
        state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()


def widened(content: bytes, dtype: str, subject: object) -> np.ndarray:
    """Stored numbers as a flat float64 array.

    Parameters
    ----------
    content : bytes
        Little endian.
    dtype : str
        One of ``FLOAT_DTYPES``.
    subject : object
        What an error says that it is.

    Raises
    ------
    ModelError
        Another type.
    """
    check_dtype(dtype, FLOAT_DTYPES, subject)
    values = np.frombuffer(content, FLOAT_DTYPES[dtype])
    if dtype == "BF16":  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)


def check_dtype(dtype: str, allowed: Collection[str], subject: object) -> None:
    """Refuse a tensor of another type."""
    if dtype not in allowed:
        raise ModelError(subject, f"dtype {dtype}", f"must be one of {', '.join(allowed)}")


class TensorFile:
    """An open safetensors file whose header has been checked.

    Parameters
    ----------
    path : path-like

    Attributes
    ----------
    path : Path
    metadata : dict of str to str
    shapes : dict of str to tuple of int
    dtypes : dict of str to str
        The format's own names: ``F32``, ``I64`` and so on.

    Raises
    ------
    ModelError
        The file is no regular file of at most ``MAX_FILE_BYTES``, is damaged, names a tensor twice, or holds more than
        ``MAX_TENSORS``.
    """

    ordered = False

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._check_header()
        with _refusals(self.path):
            self._file = safe_open(self.path, framework="numpy")
            self.metadata = dict(self._file.metadata() or {})
            names = list(self._file.keys())
            slices = {name: self._file.get_slice(name) for name in names}
            self.shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            self.dtypes = {name: part.get_dtype() for name, part in slices.items()}

    def _check_header(self):
        """Refuse what the library would take long for, or takes in silence: it checks offsets, types and shapes."""
        with open_file(self.path, MAX_FILE_BYTES, ModelError) as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise ModelError(self.path, f"a header of {length} bytes", f"must not exceed {MAX_HEADER_BYTES} bytes")
            header = parse_json(file.read(length), f"{self.path}: header", ModelError)
        self._places = {
            name: entry["data_offsets"]
            for name, entry in header.items()
            if name != "__metadata__" and isinstance(entry, dict) and "data_offsets" in entry
        }
        self._start = 8 + length
        tensors = len(header) - ("__metadata__" in header)
        if tensors > MAX_TENSORS:
            raise ModelError(self.path, f"{tensors} tensors", f"must not exceed {MAX_TENSORS}")

    def read(self, dtypes: Collection[str]) -> dict[str, np.ndarray]:
        """All tensors, as a dict of numpy arrays.

        Parameters
        ----------
        dtypes : collection of str
            Accepted types, by the format's names.

        Raises
        ------
        ModelError
            A tensor has another type, or the file carries a digest and it does not match.
        """
        for name, dtype in self.dtypes.items():
            check_dtype(dtype, dtypes, f"{self.path}: {name}")
        with _refusals(self.path):
            tensors = {name: self._file.get_tensor(name) for name in self.shapes}
        self._check_digest(tensors)
        return tensors

    def floats(self, names: Collection[str]) -> dict[str, np.ndarray]:
        """Some tensors as float64 arrays.

        Parameters
        ----------
        names : collection of str

        Raises
        ------
        ModelError
            A tensor is of another type, or the file carries a digest and it does not match.
        """
        for name in names:
            check_dtype(self.dtypes[name], FLOAT_DTYPES, f"{self.path}: {name}")
        if DIGEST_KEY in self.metadata:
            tensors = self.read(set(self.dtypes.values()) - {"BF16"})
            return {name: tensors[name].astype(np.float64) for name in names}
        result = {}
        with open_file(self.path, MAX_FILE_BYTES, ModelError) as file:
            for name in names:
                begin, end = self._places[name]
                file.seek(self._start + begin)
                content = file.read(end - begin)
                result[name] = widened(content, self.dtypes[name], f"{self.path}: {name}").reshape(self.shapes[name])
        return result

    def _check_digest(self, tensors):
        stored = self.metadata.get(DIGEST_KEY)
        if stored is not None and stored != content_digest(tensors, self.metadata):
            found = f"content does not have the digest {stored!r}"
            raise ModelError(self.path, found, "must not be changed or damaged")


def write_tensors(path: str | os.PathLike, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically, with its digest, the same bytes for the same content.

    Parameters
    ----------
    path : path-like
    tensors : dict of str to array
    metadata : dict of str to str

    Raises
    ------
    ModelError
        The file cannot be written.
    """
    path = Path(path)
    # The library takes the memory as it lies, whatever the strides say.
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    blob = serialize(tensors, metadata | {DIGEST_KEY: content_digest(tensors, metadata)})
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "xb") as file:
            file.write(_with_sorted_metadata(blob))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ModelError(path, error.strerror or str(error), "must be a writable place") from error


def _with_sorted_metadata(blob):
    """The library keeps metadata in a hash map of random order; the rest of its header is ordered."""
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + blob[8 + length :]
