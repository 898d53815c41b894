"""Data sets: npz files with calibration and test inputs, read without trusting them.

An npz file is a zip archive of arrays. Headers are looked at before anything is expanded, so a small file cannot take
a lot of memory, and nothing in it is ever unpickled.
"""

import math
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, InputError
from .score import METRICS

MAX_BYTES = 1 << 28
"""Largest array, expanded."""
LARGEST_LABEL = 1 << 53
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs in real numbers.

    Parameters
    ----------
    calibration : float64 array (N, T, Lx)
        What the quantiser chooses formats from.
    x : float64 array (N, T, Lx) or None
        Test inputs.
    labels : array (N, ...) or None
        What the outputs should be: int64 or float64, see :class:`.score.Metric`.
    metric : str or None
        What the outputs are judged by, a name of :data:`.score.METRICS`; what follows from model and labels without it.
    threshold : float or None
        Of that metric.

    Raises
    ------
    InputError
        Shapes that do not agree, or values that are not finite.
    """

    calibration: np.ndarray
    x: np.ndarray | None = None
    labels: np.ndarray | None = None
    metric: str | None = None
    threshold: float | None = None

    def __post_init__(self):
        for name in ("calibration", "x"):
            values = getattr(self, name)
            if values is None and name == "x":
                continue
            values = np.asarray(values)
            if values.dtype.kind not in "iuf" or values.ndim != 3 or values.size == 0:
                raise InputError(
                    name, f"shape {values.shape} of {values.dtype}", "must be real numbers (sequences, steps, inputs)"
                )
            values = values.astype(np.float64)
            if not np.all(np.isfinite(values)):
                raise InputError(name, "NaN or infinity", "must be finite")
            object.__setattr__(self, name, values)
        if self.x is not None and self.x.shape[2] != self.calibration.shape[2]:
            rule = f"must be {self.calibration.shape[2]} as in calibration"
            raise InputError("x", f"{self.x.shape[2]} inputs a step", rule)
        if self.metric not in (None, *METRICS):
            raise ConfigError("data.metric", repr(self.metric), f"must be {' or '.join(METRICS)}")
        if self.labels is None:
            return
        labels = np.asarray(self.labels)
        if self.x is None or labels.shape[:1] != self.x.shape[:1] or labels.dtype.kind not in "biuf":
            raise InputError(
                "labels", f"shape {labels.shape} of {labels.dtype}", "must be numbers, for each sequence of x"
            )
        real = labels.astype(np.float64)
        if not np.all(np.abs(real) < LARGEST_LABEL):
            raise InputError("labels", "NaN, infinity or beyond", f"must be finite and below {LARGEST_LABEL}")
        object.__setattr__(self, "labels", real if labels.dtype.kind == "f" else labels.astype(np.int64))


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
        The file is missing, unreadable or no zip archive.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        try:
            with zipfile.ZipFile(self.path) as archive:
                self.names = tuple(n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy"))
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(self.path, reason, "must be a readable npz file (numpy.savez)") from error

    def read(self, name: str) -> np.ndarray:
        """The array ``name``.

        Raises
        ------
        InputError
            There is none, it is damaged, larger than ``MAX_BYTES``, or holds Python objects.
        """
        subject = f"{self.path}: {name}"
        if name not in self.names:
            rule = f"must be one of the arrays in the file: {', '.join(self.names) or 'none'}"
            raise InputError(subject, "missing", rule)
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
                version = np.lib.format.read_magic(file)
                if version not in _HEADERS:
                    raise InputError(subject, f"npy version {version}", "must be 1.0 or 2.0")
                shape, _, dtype = _HEADERS[version](file)
                if dtype.hasobject:
                    raise InputError(subject, f"dtype {dtype}", "must be numbers")
                if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize > MAX_BYTES:
                    raise InputError(subject, f"shape {shape} of {dtype}", f"must not exceed {MAX_BYTES} bytes")
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        except (
            OSError,
            ValueError,
            EOFError,
            KeyError,
            RuntimeError,
            NotImplementedError,
            SyntaxError,
            TypeError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise InputError(subject, f"not readable ({error})", "must be an undamaged array") from error
