"""The inputs of a project: an npz file's, checked before they are read, or random ones."""

import os

import numpy as np

from ..errors import ConfigError, InputError
from ..model.features import check_count, features
from ..reading import NpzFile
from .dataset import Dataset, check_inputs
from .keys import DataSection
from .synthetic import random_inputs

RANDOM_CALIBRATION = 8
"""Random sequences that number formats are chosen from, at least."""
MAX_RANDOM = 1 << 24
"""Most values of random inputs."""


def inputs_of(section: DataSection, path: str | os.PathLike | None, inputs: int) -> Dataset:
    """The data set that a [data] section describes.

    Parameters
    ----------
    section : DataSection
    path : path-like or None
        Its npz file; None for random inputs.
    inputs : int
        Lx of the model.

    Raises
    ------
    ConfigError
        More random inputs than memory should hold.
    InputError
        An array is missing, of another shape or not finite; names file and array.
    """
    if section.random is not None:
        shape = section.steps, inputs, section.peak
        values = max(section.random, RANDOM_CALIBRATION) * section.steps * inputs
        if values > MAX_RANDOM:
            rule = f"must be at most {MAX_RANDOM:,}: data.random ({RANDOM_CALIBRATION} at least) x steps x inputs"
            raise ConfigError("data.random", f"{values:,} values", rule)
        return Dataset(
            random_inputs(max(section.random, RANDOM_CALIBRATION), *shape, seed=0),
            random_inputs(section.random, *shape)[: section.images],
        )
    file = NpzFile(path)
    _check_headers(file, section, inputs)
    scale = section.input_scale
    if isinstance(scale, str):
        scale = float(file.read(scale))
        if not np.isfinite(scale):
            raise InputError(f"{file.path}: {section.input_scale}", scale, "must be finite")
    labels = None
    if section.labels is not None:
        labels = file.read(section.labels)[: section.images]
    try:
        return Dataset(
            _real(file, section, section.calibration, scale),
            _real(file, section, section.x, scale, section.images),
            labels,
            section.metric,
            section.threshold,
        )
    except InputError as error:
        raise InputError(f"{file.path}: {error.subject}", error.found, error.rule) from error


def _check_headers(file, section, inputs):
    """Refuse arrays that cannot fit by what their headers say, before they take memory and time."""
    for key in ("calibration", "x", "labels", "input_scale"):
        name = getattr(section, key)
        if isinstance(name, str) and name not in file.names:
            rule = f"must be one of its arrays: {', '.join(file.names) or 'none'}"
            raise InputError(f"data.{key}", f"{name!r}, which {file.path} does not hold", rule)
    if section.features is not None:
        check_count(section.features, inputs)
    headers = {name: file.header(name) for name in (section.calibration, section.x)}
    for name, (shape, dtype) in headers.items():
        check_inputs(f"{file.path}: {name}", shape, dtype)
        if section.features is None and shape[2] != inputs:
            rule = f"must be (sequences, steps, {inputs}), as the model has inputs"
            raise InputError(f"{file.path}: {name}", f"shape {shape}", rule)
    x = headers[section.x][0]
    if section.labels is not None:
        shape, dtype = file.header(section.labels)
        if dtype.kind not in "biuf":
            raise InputError(f"{file.path}: {section.labels}", f"dtype {dtype}", "must be numbers")
        if shape[:1] != x[:1]:
            rule = f"must have one entry a sequence of {section.x}, whose shape is {x}"
            raise InputError(f"{file.path}: {section.labels}", f"shape {shape}", rule)
    if isinstance(section.input_scale, str):
        shape, dtype = file.header(section.input_scale)
        if shape != () or dtype.kind not in "iuf":
            subject = f"{file.path}: {section.input_scale}"
            raise InputError(subject, f"shape {shape} of {dtype}", "must be one finite number")


def _real(file, section, name, scale, count=None):
    """Stored inputs as real ones (float64), or their features: products of small integer types would wrap in their own
    type."""
    x = file.read(name)[:count].astype(np.float64) * scale
    return x if section.features is None else features(x, section.features, f"{name}: data.features")
