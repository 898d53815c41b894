"""Delta networks: an element of x or h that changes little since it was last passed on is not passed on.

What a vector was when its elements were last passed on is its *reference*. An element whose change from it is zero, or
less than a threshold, keeps it: ``d = v - r``; where ``d != 0`` and ``|d| >= threshold``, ``r := v``, and the sums of
all rows change by the weights of its column times ``d``. So a sum always is that of the references (Neil et al.,
"Delta Networks for Optimized Recurrent Network Computation", 2017; Gao et al., "DeltaRNN", FPGA 2018). References
start from zero with h and c. With a threshold of 0 they are the vectors, and the outputs have the dense LSTM's bits.

The h of a layer is passed on once, to its own next step and to the layer above, so it has one threshold. A head, and
the output, get h itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConfigError
from ..machine.isa import THRESHOLD_BITS

if TYPE_CHECKING:
    from .quant_model import QuantModel

X = "x"
"""Name of the input's list among those of the layers' h, which are numbers."""


def passed_on(values: np.ndarray, reference: np.ndarray, threshold: int) -> np.ndarray:
    """Which elements are passed on.

    Parameters
    ----------
    values, reference : int array
        Vectors, and what they were when their elements were last passed on.
    threshold : int
        Least change, in the integers of both.

    Returns
    -------
    bool array
    """
    change = np.abs(values - reference)
    return (change >= threshold) & (change != 0)


def with_thresholds(qmodel: QuantModel, x: float, h: Sequence[float]) -> QuantModel:
    """A quantised model whose layers pass on what changes by so much at least.

    Parameters
    ----------
    qmodel : QuantModel
    x : float
        Threshold of the inputs, in their real units.
    h : sequence of float
        Of each LSTM layer's h.

    Returns
    -------
    QuantModel
        Thresholds are rounded up to the next stored integer: what is passed on changes by them at least.

    Raises
    ------
    ConfigError
        A threshold is negative, not finite or beyond its format, there is not one a layer, or inputs have scales of
        their own and x is not 0.
    """
    if len(h) != len(qmodel.layers):
        raise ConfigError("delta.h", f"{len(h)} thresholds", f"must be one, or one for each of {len(qmodel.layers)}")
    if x and any(qmodel.input_exponents):
        rule = "must be 0 where quantize.scale_inputs gives inputs scales of their own: one threshold is not for all"
        raise ConfigError("delta.x", f"{x:g}", rule)
    formats = [qmodel.input_format, *(layer.hidden for layer in qmodel.layers)]
    stored = []
    for name, value, number_format in zip(("x", *["h"] * len(h)), (x, *h), formats, strict=True):
        most = (number_format.highest - number_format.lowest) * 2.0**-number_format.fraction
        if not 0 <= value <= most:
            rule = f"must be between 0 and {most:g}, the largest change in {number_format}"
            raise ConfigError(f"delta.{name}", f"{value:g}", rule)
        stored.append(math.ceil(value * 2.0**number_format.fraction))
    return replace(qmodel, thresholds=tuple(stored))


def checked_thresholds(thresholds: Sequence[int], layers: int) -> tuple[int, ...]:
    """Stored thresholds of x and of each layer's h as a tuple; ConfigError unless they are none or so many."""
    most = (1 << THRESHOLD_BITS) - 1
    thresholds = tuple(thresholds)
    if len(thresholds) not in (0, 1 + layers):
        raise ConfigError("thresholds", f"{len(thresholds)} numbers", f"must be none or {1 + layers}: of x and each h")
    for threshold in thresholds:
        if type(threshold) is not int or not 0 <= threshold <= most:
            raise ConfigError("thresholds", repr(threshold), f"must be integers from 0 to {most}")
    return thresholds


def activity(qmodel: QuantModel, x_int: np.ndarray) -> tuple[float, ...]:
    """Share of elements that are passed on, of x and of each layer's h.

    Parameters
    ----------
    qmodel : QuantModel
        With thresholds.
    x_int : int array (N, T, Lx)

    Returns
    -------
    tuple of float
    """
    from .reference import integer_reference

    changes = Counter()
    integer_reference(qmodel, x_int, changes=changes)
    vectors = x_int.shape[0] * x_int.shape[1]
    sizes = [(X, qmodel.input_size), *enumerate(qmodel.hidden_sizes)]
    return tuple(changes[name] / (vectors * size) for name, size in sizes)
