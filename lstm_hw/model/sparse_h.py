"""Sparse h: groups of h that are nearly zero do not reach the next step's sums.

A group of four elements is kept if the sum of their sizes is a threshold at least, or if one of them is larger than
half of it; the columns of W_h of the others are left out (Shi et al., "E-LSTM: Efficient Inference of Sparse LSTM on
Embedded Heterogeneous System", DAC 2019, "inherent sparsity of h"). Only the layer's own next step sees h so: layers
above, a head and the output get h itself. With a threshold of 0 all groups are kept.
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
from ..machine.limits import H_GROUP

if TYPE_CHECKING:
    from .quant_model import QuantModel


def kept_groups(h: np.ndarray, threshold: int) -> np.ndarray:
    """Which groups of h are kept.

    Parameters
    ----------
    h : int array (..., H)
    threshold : int
        Least size of a group, in the integers of h.

    Returns
    -------
    bool array (..., groups)
        The last group may have fewer elements.
    """
    sizes = np.abs(np.asarray(h, dtype=np.int64))
    padding = [(0, 0)] * (sizes.ndim - 1) + [(0, -sizes.shape[-1] % H_GROUP)]
    groups = np.pad(sizes, padding).reshape(*sizes.shape[:-1], -1, H_GROUP)
    return (groups.sum(-1) >= threshold) | (2 * groups.max(-1) > threshold)


def sparse(h: np.ndarray, threshold: int) -> np.ndarray:
    """h (..., H) with zeros in the groups that are not kept."""
    kept = np.repeat(kept_groups(h, threshold), H_GROUP, axis=-1)
    return np.where(kept[..., : h.shape[-1]], h, 0)


def with_sparse_h(qmodel: QuantModel, h: Sequence[float]) -> QuantModel:
    """A quantised model that leaves out groups of h of less than these sizes.

    Parameters
    ----------
    qmodel : QuantModel
    h : sequence of float
        Least size of a group of each recurrent layer's h, in its real units; rounded up to the next stored integer.

    Returns
    -------
    QuantModel

    Raises
    ------
    ConfigError
        A size is negative, not finite or beyond what the engine holds, there is not one a layer, or the model has
        thresholds of changes.
    """
    if len(h) != len(qmodel.layers):
        found = f"{len(h)} thresholds"
        raise ConfigError("sparse_h.threshold", found, f"must be one, or one for each of {len(qmodel.layers)}")
    stored = []
    for value, layer in zip(h, qmodel.layers, strict=True):
        step = 2.0**-layer.hidden.fraction
        most = ((1 << THRESHOLD_BITS) - 1) * step
        if not 0 <= value <= most:
            rule = f"must be between 0 and {most:g}, the largest size that {layer.hidden} is compared with"
            raise ConfigError("sparse_h.threshold", f"{value:g}", rule)
        stored.append(math.ceil(value / step))
    return replace(qmodel, sparse_h=tuple(stored))


def leaving_out(qmodel: QuantModel, x_int: np.ndarray, share: float) -> QuantModel:
    """A quantised model with the largest sizes at which at most a share of the groups of each layer's h is left out.

    Parameters
    ----------
    qmodel : QuantModel
    x_int : int array (N, T, Lx)
        Stored inputs that it is counted for.
    share : float
        From 0 to 1.

    Returns
    -------
    QuantModel
        Sizes are found to a 256th; those of upper layers with the ones below as they are.
    """
    sizes = [0] * len(qmodel.layers)
    for number in range(len(sizes)):
        low, high = 0, 1 << THRESHOLD_BITS  # low leaves out as few, high more
        while high - low > max(1, low // 256):
            sizes[number] = (low + high) // 2
            kept = kept_share(replace(qmodel, sparse_h=tuple(sizes)), x_int)[number]
            low, high = (sizes[number], high) if 1 - kept <= share else (low, sizes[number])
        sizes[number] = low
    return replace(qmodel, sparse_h=tuple(sizes))


def checked_sparse_h(sizes: Sequence[int], layers: int) -> tuple[int, ...]:
    """Stored sizes as a tuple; ConfigError unless they are none or one a layer."""
    most, sizes = (1 << THRESHOLD_BITS) - 1, tuple(sizes)
    if len(sizes) not in (0, layers):
        raise ConfigError("sparse_h", f"{len(sizes)} numbers", f"must be none or {layers}, one a layer")
    for size in sizes:
        if type(size) is not int or not 0 <= size <= most:
            raise ConfigError("sparse_h", repr(size), f"must be integers from 0 to {most}")
    return sizes


def kept_share(qmodel: QuantModel, x_int: np.ndarray) -> tuple[float, ...]:
    """Share of groups that are kept, of each layer's h.

    Parameters
    ----------
    qmodel : QuantModel
        With sparse h.
    x_int : int array (N, T, Lx)

    Returns
    -------
    tuple of float
    """
    from .reference import integer_reference

    kept = Counter()
    integer_reference(qmodel, x_int, changes=kept)
    steps = x_int.shape[0] * x_int.shape[1]
    return tuple(kept[n] / (steps * -(-size // H_GROUP)) for n, size in enumerate(qmodel.hidden_sizes))
