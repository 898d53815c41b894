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
            if dtype not in dtypes:
                raise ModelError(f"{self.path}: {name}", f"dtype {dtype}", f"must be one of {', '.join(dtypes)}")
        with _refusals(self.path):
            tensors = {name: self._file.get_tensor(name) for name in self.shapes}
        stored = self.metadata.get(DIGEST_KEY)
        if stored is not None and stored != content_digest(tensors, self.metadata):
            found = f"content does not have the digest {stored!r}"
            raise ModelError(self.path, found, "must not be changed or damaged")
        return tensors


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
