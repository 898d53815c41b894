"""Loading of trained models: one reader for each kind of file, chosen by the suffix.

Safetensors files hold a PyTorch ``state_dict``: ``weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``,
``bias_hh_l0``, ``..._l1`` and so on under one common prefix of any name, and optionally a linear head
(``weight`` and ``bias`` under ``head.``, ``fc.``, ``linear.`` or ``classifier.``). The file's metadata may
say ``gate_order`` (``ifgo``, PyTorch's, unless said otherwise) and ``head`` (``last_step``, ``every_step`` or
``none``). What decides outputs and is said nowhere is assumed, and the model carries that in its ``assumptions``.
"""

import os
import re
from pathlib import Path

import numpy as np

from ..errors import ConfigError, ModelError
from ..reading import check_file
from .float_model import GATE_ORDER, DenseWeights, FloatModel, LstmWeights, check_finite, check_shape, hidden_size_of
from .store import DIGEST_KEY, MAX_FILE_BYTES, TensorFile

FLOAT_DTYPES = ("F16", "F32", "F64")
HEAD_NAMES = ("head", "fc", "linear", "classifier")
HEAD_MODES = ("last_step", "every_step")
NO_HEAD = "none"
"""What a file without a head may say of it."""
HEAD_ASSUMED = (
    "model.head: {path} does not say it; taken as {mode!r} (the head reads h of the last step, not {other!r})"
)
"""What is told of a model whose head's mode is said nowhere."""
_LSTM_NAME = re.compile(r"(.*?)((?:weight|bias)_(?:ih|hh|hr))_l(\d{1,4})(_reverse)?", re.ASCII | re.DOTALL)
_HEAD_NAME = re.compile(rf"((?:.*\.)?(?:{'|'.join(HEAD_NAMES)})\.)(weight|bias)", re.ASCII | re.DOTALL)
_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def load(path: os.PathLike | str, gate_order: str | None = None, head: str | None = None) -> FloatModel:
    """Read a trained model.

    Parameters
    ----------
    path : path-like
        A file whose suffix is one of ``LOADERS``.
    gate_order : str, optional
        Order of the stacked gates, for a file that does not say it.
    head : {"last_step", "every_step"}, optional
        Which hidden states the linear head reads, for a file that does not say it.

    Returns
    -------
    FloatModel

    Raises
    ------
    ModelError
        The file is missing, unreadable, damaged, too large or of an unknown kind, or its tensors are
        not those of an LSTM that this package supports. The message names file, tensor and rule.
    """
    suffix = Path(path).suffix.lower()
    check_file(path, MAX_FILE_BYTES, ModelError)
    if suffix not in LOADERS:
        raise ModelError(path, f"suffix {suffix!r}", f"must be one of {', '.join(LOADERS)}")
    return LOADERS[suffix](path, gate_order, head)


def load_safetensors(path: os.PathLike | str, gate_order: str | None = None, head: str | None = None) -> FloatModel:
    """Read a PyTorch state_dict from a safetensors file; see :func:`load`."""
    file = TensorFile(path)
    prefix, layers = _find_layers(file)
    dense = _find_head(file)
    _refuse_unused(file, prefix, layers, dense)
    hidden = _check_layer_shapes(file, prefix, layers)
    if dense:
        check_shape(f"{path}: {dense}weight", file.shapes[f"{dense}weight"], (None, hidden))
        check_shape(f"{path}: {dense}bias", file.shapes[f"{dense}bias"], file.shapes[f"{dense}weight"][:1])
    order = _gate_positions(file, gate_order)
    mode, assumptions = _head_mode(file, dense, head)

    tensors = file.read(FLOAT_DTYPES)
    for name, values in tensors.items():
        check_finite(f"{path}: {name}", values)
    tensors = {name: values.astype(np.float64) for name, values in tensors.items()}

    def gates(name, layer):
        stacked = tensors[f"{prefix}{name}_l{layer}"]
        return stacked.reshape(4, -1, *stacked.shape[1:])[order].reshape(stacked.shape)

    return FloatModel(
        tuple(
            LstmWeights(
                gates("weight_ih", layer),
                gates("weight_hh", layer),
                gates("bias_ih", layer) + gates("bias_hh", layer),
                source=f"{path}: layer {layer}",
            )
            for layer in range(layers)
        ),
        DenseWeights(tensors[f"{dense}weight"], tensors[f"{dense}bias"], source=f"{path}: head") if dense else None,
        head_every_step=mode == "every_step",
        source=str(path),
        assumptions=assumptions,
    )


def contents(path: os.PathLike | str) -> list[str]:
    """What is in a safetensors file that :func:`load` reads, a line each: tensors, and metadata that nothing reads."""
    file = TensorFile(path)
    lines = [f"{name}: {' x '.join(map(str, shape))}, {file.dtypes[name]}" for name, shape in file.shapes.items()]
    unread = [f"{key} = {value!r}" for key, value in sorted(file.metadata.items()) if key not in METADATA]
    return [*sorted(lines), *([f"not used: metadata {', '.join(unread)}"] if unread else [])]


METADATA = ("gate_order", "head", DIGEST_KEY)
"""Metadata that is read."""
LOADERS = {".safetensors": load_safetensors}
"""Readers by suffix: functions of a path, a gate order and a head's mode that return a FloatModel."""


def _find_layers(file):
    """The prefix of the LSTM's tensors and the number of layers, all tensors of each present."""
    matches = {name: match for name in file.shapes if (match := _LSTM_NAME.fullmatch(name))}
    for name, match in matches.items():
        if match[4]:
            raise ModelError(f"{file.path}: {name}", "a bidirectional LSTM", "must have one direction")
        if match[2].endswith("_hr"):
            raise ModelError(f"{file.path}: {name}", "an LSTM with projection", "must have none (proj_size=0)")
    prefixes = sorted({match[1] for match in matches.values()})
    if not prefixes:
        raise ModelError(f"{file.path}: weight_ih_l0", "missing", "must hold the weights of an LSTM")
    if len(prefixes) > 1:
        raise ModelError(file.path, f"LSTMs under the prefixes {prefixes}", "must hold one LSTM")
    layers = 1 + max(int(match[3]) for match in matches.values())
    for layer in range(layers):
        for part in _PARTS:
            if f"{prefixes[0]}{part}_l{layer}" not in file.shapes:
                rule = "must be present (a layer without bias stores zeros)" if "bias" in part else "must be present"
                raise ModelError(f"{file.path}: {prefixes[0]}{part}_l{layer}", "missing", rule)
    return prefixes[0], layers


def _find_head(file):
    """The prefix of the head's tensors, or None without a head."""
    prefixes = sorted({match[1] for name in file.shapes if (match := _HEAD_NAME.fullmatch(name))})
    if not prefixes:
        return None
    if len(prefixes) > 1:
        raise ModelError(file.path, f"linear layers under {prefixes}", "must hold one linear head at most")
    for part in ("weight", "bias"):
        if prefixes[0] + part not in file.shapes:
            rule = "must be present (a layer without bias stores zeros)" if part == "bias" else "must be present"
            raise ModelError(f"{file.path}: {prefixes[0]}{part}", "missing", rule)
    return prefixes[0]


def _refuse_unused(file, prefix, layers, head):
    used = {f"{prefix}{part}_l{layer}" for layer in range(layers) for part in _PARTS}
    used |= {head + "weight", head + "bias"} if head else set()
    unused = sorted(set(file.shapes) - used)
    if unused:
        rule = f"must hold nothing but an LSTM and a linear head ({', '.join(HEAD_NAMES)})"
        raise ModelError(f"{file.path}: {unused[0]}", "unexpected tensor", rule)


def _check_layer_shapes(file, prefix, layers):
    """Check all shapes against each other and return the hidden size of the last layer."""
    inputs = None
    for layer in range(layers):
        names = [f"{prefix}{part}_l{layer}" for part in _PARTS]
        subjects = [f"{file.path}: {name}" for name in names]
        shapes = [file.shapes[name] for name in names]
        hidden = hidden_size_of(subjects[1], shapes[1])
        for subject, shape, expected in zip(subjects, shapes, [(inputs,), (hidden,), (), ()], strict=True):
            check_shape(subject, shape, (4 * hidden, *expected))
        inputs = hidden
    return inputs


def _gate_positions(file, given):
    """For each of i, f, g, o its position among the file's gates."""
    said = file.metadata.get("gate_order")
    if said is not None and given is not None and said != given:
        raise ModelError(f"{file.path}: metadata gate_order", repr(said), f"must be {given!r}, as was given")
    order = GATE_ORDER if said is given is None else given if said is None else said
    letters = order.replace("c", "g")
    if sorted(letters) != sorted(GATE_ORDER):
        rule = "must be a permutation of i, f, g (or c) and o"
        raise ModelError(f"{file.path}: {'gate_order' if said is None else 'metadata gate_order'}", repr(order), rule)
    return [letters.index(gate) for gate in GATE_ORDER]


def _head_mode(file, dense, given):
    """What the head reads, and what had to be assumed for that."""
    subject, said = f"{file.path}: metadata head", file.metadata.get("head")
    if said is not None and said not in (*HEAD_MODES, NO_HEAD):
        raise ModelError(subject, repr(said), f"must be one of {', '.join((*HEAD_MODES, NO_HEAD))}")
    if said is not None and (said == NO_HEAD) != (dense is None):
        raise ModelError(subject, repr(said), f"must agree with the tensors, which have {dense or 'no head'}")
    if given is not None and given not in HEAD_MODES:
        raise ConfigError("model.head", repr(given), f"must be one of {', '.join(HEAD_MODES)}")
    if dense is None:
        if given is not None:
            raise ConfigError("model.head", repr(given), f"must not be given: {file.path} has no linear head")
        return NO_HEAD, ()
    if said is not None and given is not None and said != given:
        raise ModelError(subject, repr(said), f"must be {given!r}, as model.head says")
    if said is None and given is None:
        return HEAD_MODES[0], (HEAD_ASSUMED.format(path=file.path.name, mode=HEAD_MODES[0], other=HEAD_MODES[1]),)
    return given or said, ()
