"""Features that the host computes of an application's x, in float, before the network and so before the engine.

As of radio samples I and Q: their amplitude, powers of it, and sine and cosine of their angle.
"""

import re
from collections.abc import Sequence

import numpy as np

from ..errors import ConfigError, InputError

KINDS = ("abs", "sin", "cos")
"""Of some inputs: the root of the sum of their squares; of two, sine and cosine of their angle, x1 and x0 over that."""
MOST_FEATURES = 1 << 12
_FEATURE = re.compile(rf"(?:({'|'.join(KINDS)})\(([^()]*)\)|(x\d+))(?:\^([1-9]))?", re.ASCII)
_INPUT = re.compile(r"\s*x(0|[1-9]\d{0,4})\s*", re.ASCII)
RULE = "must be an input as x0, abs(x0, x1), sin(x0, x1) or cos(x0, x1), or a power of one up to 9, as abs(x0, x1)^3"


def features(x: np.ndarray, names: Sequence[str], subject: str = "x") -> np.ndarray:
    """The features of x, step by step.

    Parameters
    ----------
    x : array (N, T, inputs)
        Of the application.
    names : sequence of str
        ``x0`` is the first input; ``abs(x0, x1)`` the root of the sum of squares of inputs; ``cos(x0, x1)`` and
        ``sin(x0, x1)`` x0 and x1 over that; ``^2`` to ``^9`` behind any of these is a power.
    subject : str
        What errors call x.

    Returns
    -------
    float64 array (N, T, features)

    Raises
    ------
    ConfigError
        A feature that there is not.
    InputError
        x has another shape, lacks an input, or holds NaN or infinity; or an angle is asked for of inputs that are both
        zero, which have none.
    """
    parsed = parse(names)
    x = np.asarray(x)
    if x.dtype.kind not in "iuf" or x.ndim != 3:
        rule = "must be real numbers (sequences, steps, inputs)"
        raise InputError(subject, f"shape {x.shape} of {x.dtype}", rule)
    if x.shape[2] < (least := inputs_read(names)):
        raise InputError(subject, f"{x.shape[2]} inputs", f"must be {least} at least, which the features read")
    x = x.astype(np.float64)
    if not np.all(np.isfinite(x)):
        raise InputError(subject, "NaN or infinity", "must be finite")
    columns = [_column(kind, x[..., list(inputs)], name, subject) for name, (kind, inputs, _) in parsed]
    powers = [power for _, (_, _, power) in parsed]
    return np.stack([column**power for column, power in zip(columns, powers, strict=True)], axis=-1)


def _column(kind, values, name, subject):
    if not kind:
        return values[..., 0]
    length = np.sqrt(np.square(values).sum(axis=-1))
    if kind == "abs":
        return length
    if not np.all(length):
        sequence, step = np.argwhere(length == 0)[0]
        found = f"{name} of zeros in sequence {sequence}, step {step}"
        raise InputError(subject, found, "must not be: they have no angle, as they have none in the network's training")
    return values[..., int(kind == "sin")] / length


def parse(names: Sequence[str], key: str = "features") -> list[tuple[str, tuple[str, tuple[int, ...], int]]]:
    """Each feature with its kind, ``""`` of an input alone, the inputs that it reads, and its power; ConfigError,
    which names ``key``."""
    if not 1 <= len(names) <= MOST_FEATURES:
        raise ConfigError(key, f"{len(names)} features", f"must be 1 to {MOST_FEATURES}")
    return [(name, _parsed(name, key)) for name in names]


def _parsed(name, key):
    match = _FEATURE.fullmatch(name)
    inputs = [_INPUT.fullmatch(part) for part in match[2 if match[1] else 3].split(",")] if match else [None]
    if not all(inputs) or match[1] in ("sin", "cos") and len(inputs) != 2:
        raise ConfigError(key, repr(name), RULE)
    return match[1] or "", tuple(int(one[1]) for one in inputs), int(match[4] or 1)


def check_count(names: Sequence[str], inputs: int) -> None:
    """Refuse features, of ``data.features``, that are not as many as a model has inputs; ConfigError."""
    if len(names) != inputs:
        raise ConfigError("data.features", f"{len(names)} features", f"must be the {inputs} inputs of the model")


def inputs_read(names: Sequence[str]) -> int:
    """How many inputs x has at least of which these are features."""
    return 1 + max(max(inputs) for _, (_, inputs, _) in parse(names))
