"""What stands for sigmoid and for tanh in a model: the functions themselves, or lines, as Keras's hard sigmoids.

The names of lines are those of the activation units that compute them exactly, but for rounding.
"""

from collections.abc import Callable

import numpy as np

from ..errors import ConfigError

USUAL = ("sigmoid", "tanh")


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * np.asarray(x))


def _line(slope, offset, low):
    return lambda x: np.clip(slope * np.asarray(x) + offset, low, 1.0)


def _logsoftmax(y):
    shifted = y - y.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


LEFT_OUT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "": lambda y: y,
    "softmax": lambda y: np.exp(_logsoftmax(y)),
    "logsoftmax": _logsoftmax,
}
"""What may stand behind the outputs of a network in its file and is left out, since the largest output stays the
largest -> the function, of the last axis."""
SIGMOIDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": sigmoid,
    "hard5": _line(1 / 5, 0.5, 0.0),  # hard_sigmoid of Keras 2
    "hard6": _line(1 / 6, 0.5, 0.0),  # ... of Keras 3, and of PyTorch
}
TANHS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"tanh": np.tanh, "hard5": _line(1.0, 0.0, -1.0)}
"""Name -> function of an array."""


def unit_for(functions: tuple[str, str], text: str) -> str:
    """The activation unit of a model with such functions, where ``text`` names the one of a configuration.

    Raises
    ------
    ConfigError
        ``text`` has a unit for sigmoid or tanh that is for another function than the model's.
    """
    parts = [part.strip() for part in text.split("/")]
    chosen = []
    for function, usual, part in zip(functions, USUAL, (parts[0], parts[-1]), strict=True):
        if function != usual and len(parts) > 1 and part != function:
            rule = f"must have {function} for {usual}, as the model has, or one unit alone"
            raise ConfigError("quantize.activation", repr(text), rule)
        chosen.append(part if function == usual else function)
    return text if functions == USUAL else chosen[0] if chosen[0] == chosen[1] else "/".join(chosen)
