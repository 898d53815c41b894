"""Data sets: calibration and test inputs that fit together."""

from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError, InputError
from .score import METRICS

LARGEST_LABEL = 1 << 53


def check_inputs(subject: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse an array that cannot be inputs, by its shape and type.

    Raises
    ------
    InputError
    """
    if dtype.kind not in "iuf" or len(shape) != 3 or 0 in shape:
        rule = "must be real numbers (sequences, steps, inputs), at least one of each"
        raise InputError(subject, f"shape {shape} of {dtype}", rule)


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
            check_inputs(name, values.shape, values.dtype)
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
