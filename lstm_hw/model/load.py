"""Loading of trained models: one reader for each kind of file, chosen by the suffix.

What decides outputs and is said nowhere is assumed, and the model carries that in its ``assumptions``; what this
package cannot compute is refused by its name. The readers are in :mod:`lstm_hw.model.readers`.
"""

import os
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigError, InputError, ModelError
from ..reading import NpzFile, check_file
from .float_model import FloatModel
from .fold import folded
from .readers import json_models
from .readers.keras_file import KerasFile
from .readers.onnx.graph import OnnxGraph
from .readers.options import Reader, ReadOptions
from .readers.state_dict import StateDict
from .readers.tflite_graph import TfliteGraph
from .readers.torch_archive import TorchArchive
from .store import MAX_FILE_BYTES, TensorFile


def _npz(path):
    try:
        file = NpzFile(path)
        arrays = {name: json_models.numbers(file.read(name), f"{path}: {name}") for name in file.names}
    except InputError as error:
        raise ModelError(error.subject, error.found, error.rule) from error
    return StateDict(json_models.HeldTensors(Path(path), {}, arrays))


LOADERS: dict[str, Callable[[Path], Reader]] = {
    ".safetensors": lambda path: StateDict(TensorFile(path)),
    ".pt": lambda path: StateDict(TorchArchive(path)),
    ".pth": lambda path: StateDict(TorchArchive(path)),
    ".ckpt": lambda path: StateDict(TorchArchive(path)),
    ".npz": _npz,
    ".json": json_models.read,
    ".nam": json_models.read,
    ".h5": KerasFile,
    ".hdf5": KerasFile,
    ".keras": KerasFile,
    ".onnx": OnnxGraph,
    ".tflite": TfliteGraph,
}
"""Suffix -> function that opens a file."""


def open_model(path: os.PathLike | str) -> Reader:
    """Open a model file.

    Raises
    ------
    ModelError
        The file is missing, unreadable, damaged, too large or of an unknown kind.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    check_file(path, MAX_FILE_BYTES, ModelError)
    if suffix not in LOADERS:
        raise ModelError(path, f"suffix {suffix!r}", f"must be one of {', '.join(LOADERS)}")
    return LOADERS[suffix](path)


def load(path: os.PathLike | str, options: ReadOptions | None = None) -> FloatModel:
    """Read a trained model.

    Parameters
    ----------
    path : path-like
        A file whose suffix is one of ``LOADERS``.
    options : ReadOptions, optional
        What the file does not say.

    Returns
    -------
    FloatModel

    Raises
    ------
    ModelError
        The file is missing, unreadable, damaged, too large or of an unknown kind, or what it holds is not an LSTM
        that this package supports. The message names file, tensor and rule.
    ConfigError
        An option contradicts the file, or means nothing for it.
    """
    return read(open_model(path), options)


def read(reader: Reader, options: ReadOptions | None = None) -> FloatModel:
    """The model of an open file, with what happens around it in its weights."""
    options = options or ReadOptions()
    model = reader.model(options)
    if options.most_steps is not None and not model.arrangement.most:
        rule = f"must not be given: no layer of {model.source} waits for h of more steps than the last"
        raise ConfigError("model.most_steps", options.most_steps, rule)
    return folded(model, **options.around) if options.around else model
