"""PyTorch archives (``torch.save``, TorchScript) as named tensors, without PyTorch and without running what they say.

An archive is a zip file with ``data.pkl``, which is a pickle that names storages, and a member ``data/KEY`` for each
storage. The pickle is interpreted by a machine that knows tensors and dictionaries; every other class that it names
becomes a bag of attributes, and no code of it is looked for. Storages are read when their values are asked for.
"""

import io
import math
import os
import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...errors import ModelError
from ...reading import open_archive, read_stored
from ..store import MAX_FILE_BYTES, MAX_TENSORS, widened
from .options import NONLINEARITY

MAX_PICKLE_BYTES = 1 << 20
"""Longest pickle: it holds names and shapes, never values."""
MAX_VISITS = 1 << 15
"""Most entries of all dictionaries and lists of a pickle, each counted as often as it is reached."""
MAX_DEPTH = 32
RULE = "must be an archive of torch.save (PyTorch 1.6 or later) or of TorchScript"
_STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_HOLDERS = ("_parameters", "_buffers", "_modules")
"""Dictionaries of a pickled module that have no name of their own."""
_VIEWS = ("_flat_weights", "_all_weights")
"""Attributes of a recurrent module with its weights once more."""


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A view into a storage; offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class _Object:
    """An instance of a class that nobody looked for: its attributes."""

    state: object = None


@dataclass
class TorchArchive:
    """Named tensors of an archive; see :class:`~.state_dict.Tensors`.

    Parameters
    ----------
    path : path-like

    Attributes
    ----------
    metadata : dict
        What a module that was saved whole says of its plain RNNs: their prefixes and ``nonlinearity`` -> its name.
    shapes : dict of str to tuple of int
    dtypes : dict of str to str
        By the names of safetensors: ``F32`` and so on.
    unread : list of str
        Parts of a checkpoint that are no network, as the state of an optimiser.

    Raises
    ------
    ModelError
        No such archive, damaged, too large, or with a pickle that does more than name tensors.
    """

    ordered: ClassVar[bool] = True
    path: os.PathLike | str
    metadata: dict[str, str] = field(default_factory=dict, init=False)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict, init=False)
    dtypes: dict[str, str] = field(default_factory=dict, init=False)
    unread: list[str] = field(default_factory=list, init=False)

    def __post_init__(self):
        self.path = Path(self.path)
        self._tensors: dict[str, _Tensor] = {}
        self._visits = 0
        with self._archive() as archive:
            names = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
            if len(names) != 1:
                raise ModelError(self.path, f"{len(names)} members data.pkl", RULE)
            self._folder = names[0].removesuffix("data.pkl")
            if f"{self._folder}byteorder" in archive.namelist():
                order = self._member(archive, f"{self._folder}byteorder", 16)
                if order != b"little":
                    raise ModelError(f"{self.path}: byteorder", repr(order), "must be little")
            content = self._member(archive, names[0], MAX_PICKLE_BYTES)
        self._flatten((), _interpreted(content, f"{self.path}: {names[0]}"), 0)
        self.shapes = {name: tensor.shape for name, tensor in self._tensors.items()}
        self.dtypes = {name: tensor.storage.dtype for name, tensor in self._tensors.items()}

    def _archive(self):
        return open_archive(self.path, MAX_FILE_BYTES, RULE, ModelError)

    def _member(self, archive, name, most):
        return read_stored(archive, name, most, self.path, ModelError)

    def _flatten(self, path, value, depth):
        """Collect the tensors below ``value``, their names joined by points."""
        self._visits += 1
        if self._visits > MAX_VISITS or depth > MAX_DEPTH:
            raise ModelError(f"{self.path}: {'.'.join(path):.80}", "nested too deeply or too large", RULE)
        if isinstance(value, _Object):
            value = value.state
        if isinstance(value, _Tensor):
            name = ".".join(path)
            if name in self._tensors:
                raise ModelError(f"{self.path}: {name}", "two tensors of this name", "must be one")
            self._tensors[name] = value
            if len(self._tensors) > MAX_TENSORS:
                raise ModelError(self.path, f"more than {MAX_TENSORS} tensors", f"must not exceed {MAX_TENSORS}")
        elif isinstance(value, dict):
            if "state" in value and "param_groups" in value:
                self.unread.append(f"{'.'.join(path) or 'the whole'}: state of an optimiser")
                return
            for key, item in value.items():
                if key not in _VIEWS:
                    self._flatten(path if key in _HOLDERS else (*path, str(key)), item, depth + 1)
        elif isinstance(value, str) and path and path[-1] == NONLINEARITY:
            self.metadata[".".join(path)] = value
        elif isinstance(value, list | tuple):
            for number, item in enumerate(value):
                self._flatten((*path, str(number)), item, depth + 1)

    def floats(self, names: list[str]) -> dict[str, np.ndarray]:
        """Tensors as float64 arrays.

        Raises
        ------
        ModelError
            A tensor is damaged or of another type.
        """
        held: dict[str, np.ndarray] = {}
        with self._archive() as archive:
            return {name: self._values(archive, name, held) for name in names}

    def _values(self, archive, name, held):
        tensor, subject = self._tensors[name], f"{self.path}: {name}"
        storage = tensor.storage
        if storage.key not in held:
            most = storage.count * _BYTES[storage.dtype]
            content = self._member(archive, f"{self._folder}data/{storage.key}", most)
            if len(content) != most:
                raise ModelError(subject, f"{len(content)} bytes", f"must be {most}, as data.pkl says")
            held[storage.key] = widened(content, storage.dtype, subject)
        steps = zip(tensor.shape, tensor.strides, strict=True)
        last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
        if not 0 <= last < storage.count or math.prod(tensor.shape) > storage.count or 0 in tensor.shape:
            raise ModelError(subject, f"shape {tensor.shape} of {storage.count} values", "must lie in its storage")
        flat = held[storage.key][tensor.offset :]
        strides = [stride * flat.itemsize for stride in tensor.strides]
        return np.array(np.lib.stride_tricks.as_strided(flat, tensor.shape, strides, writeable=False))


def _whole(value, most=1 << 40):
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise pickle.UnpicklingError(f"{value!r:.40} where a size must be")
    return value


def _tensor(storage, offset, size, stride, _grad=False, _hooks=None, unlike=None):
    """What ``torch._utils._rebuild_tensor_v2`` is given; ``unlike`` says of a view that it is negated or conjugated."""
    if unlike:
        raise pickle.UnpicklingError(f"a tensor whose values are not those that are stored: {unlike!r:.40}")
    if not isinstance(storage, _Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise pickle.UnpicklingError("a tensor without a storage")
    if len(size) != len(stride) or len(size) > 8:
        raise pickle.UnpicklingError("a tensor whose shape and strides differ")
    return _Tensor(storage, _whole(offset), tuple(map(_whole, size)), tuple(map(_whole, stride)))


def _parameter(data=None, *_):
    return data


def _mapping(*values):
    if any(values):
        raise pickle.UnpicklingError("a dictionary made of pairs")
    return {}


class _Class:
    """A class that is not looked for."""

    def __new__(cls, *_, **__):
        return _Object()


_KNOWN = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("collections", "OrderedDict"): _mapping,
    **{("torch", name): dtype for name, dtype in _STORAGES.items()},
}


class _Machine(pickle._Unpickler):
    """Pickle's machine in Python, with classes, keys and sizes that a hostile file cannot use."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module, name):
        return _KNOWN.get((module, name), _Class)

    def persistent_load(self, pid):
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], str):
            raise pickle.UnpicklingError("a storage of an unknown kind")
        key = str(pid[2])
        if not re.fullmatch(r"[\w.-]{1,64}", key, re.ASCII):
            raise pickle.UnpicklingError("a storage of an unknown name")
        return _Storage(key, pid[1], _whole(pid[4]))

    def get_extension(self, code):
        raise pickle.UnpicklingError("a class by number")

    def _keys(self):
        """Hashing a deeply nested key would exhaust the stack."""
        if not all(isinstance(key, str | int) for key in self.stack[::2]):
            raise pickle.UnpicklingError("a key that is neither a name nor a number")

    def load_setitem(self):
        if not isinstance(self.stack[-2], str | int):
            raise pickle.UnpicklingError("a key that is neither a name nor a number")
        super().load_setitem()

    def load_setitems(self):
        self._keys()
        super().load_setitems()

    def load_dict(self):
        self._keys()
        super().load_dict()

    def load_build(self):
        state = self.stack.pop()
        if isinstance(self.stack[-1], _Object):
            self.stack[-1].state = state

    def _refuse(self):
        raise pickle.UnpicklingError("an instruction that no archive of tensors needs")

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.BUILD[0]] = load_build
    for _code in (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.BYTEARRAY8, pickle.NEXT_BUFFER):
        dispatch[_code[0]] = _refuse
    del _code


def _interpreted(content, subject):
    try:
        return _Machine(io.BytesIO(content)).load()
    except Exception as error:  # whatever a damaged pickle makes of the machine
        raise ModelError(subject, f"not readable ({type(error).__name__}: {error})", RULE) from error
