"""How an engine that can only zero h and c begins a sequence from another state.

c is the sum of products i*g of one cell step or a few from zero, *stages*, whose pre-activations are constants: such
pairs of table entries are found that c is what it must be, in every bit. The h that they leave is another one; what W_h
makes of the difference is added to the sums of the first step, which is exact.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import FormatError
from .activation import make_activation
from .formats import QFormat, shift_round

REACH = 0.9
"""Share of 1 that a stage adds to c at most."""
MOST_STAGES = 16


@dataclass(frozen=True, eq=False)
class Priming:
    """Steps from zero state to a c.

    Parameters
    ----------
    pre : int64 array (stages, 4H)
        Stored pre-activations of each stage, gates stacked in the order i, f, g, o.
    h : int64 array (H,)
        Stored h that they leave.
    """

    pre: np.ndarray
    h: np.ndarray


def priming(
    c: np.ndarray, activation: str, preact: QFormat, activated: QFormat, cell: QFormat, hidden: QFormat
) -> Priming:
    """Find the stages for a state.

    Parameters
    ----------
    c : int array (H,)
        Stored integers of ``cell``.
    activation : str
        Name of the activation unit.
    preact, activated, cell, hidden : QFormat

    Returns
    -------
    Priming

    Raises
    ------
    FormatError
        c is too large, or no pair of results of the unit gives it.
    """
    c = np.asarray(c, dtype=np.int64)
    stages = max(1, int(np.ceil(np.abs(cell.to_float(c)).max() / REACH)))
    if stages > MOST_STAGES:
        rule = f"must be at most {MOST_STAGES * REACH:g}"
        raise FormatError("initial state", f"c of {np.abs(cell.to_float(c)).max():g}", rule)
    sigmoid, tanh = make_activation(activation, preact, activated).results
    a, b = activated.fraction, cell.fraction
    fraction = a + max(a, b)
    one, lowest = len(sigmoid) - 1, 0  # places in the tables of the largest and of the least pre-activation
    pre, h, now = np.full((stages, 4, len(c)), preact.lowest), np.zeros_like(c), np.zeros_like(c)
    for stage in range(stages):
        wanted = c * (stage + 1) // stages
        kept = int(sigmoid[one]) * now << fraction - a - b
        for unit, (target, start) in enumerate(zip(wanted.tolist(), kept.tolist(), strict=True)):
            i, g = _pair(sigmoid, tanh, *_bounds(target, fraction - b, cell, start, fraction - 2 * a))
            pre[stage, :3, unit] = preact.lowest + np.array([i, one, g])
        i, g = (pre[stage, gate] - preact.lowest for gate in (0, 2))
        total = kept + (sigmoid[i].astype(np.int64) * tanh[g] << fraction - 2 * a)
        now = cell.bound(shift_round(total, fraction - b, cell.rounding))
        argument = now if cell == preact else preact.requantize(total, fraction)
        product = int(sigmoid[lowest]) * tanh[argument - preact.lowest].astype(np.int64)
        h = hidden.bound(shift_round(product, 2 * a - hidden.fraction, hidden.rounding))
        if not np.array_equal(now, wanted):
            raise FormatError("initial state", "a c that no pair of results gives", "must be within the range of c")
    return Priming(pre.reshape(stages, -1), h)


def _bounds(target, dropped, cell, start, lifted):
    """Least and largest i*g with which ``start`` plus it, lifted, is rounded to ``target``."""
    low, high = target << dropped, (target + 1 << dropped) - 1
    if cell.rounding != "floor":  # strictly nearer than half, so that no tie decides
        half = 1 << dropped - 1
        low, high = low - half + 1, low + half - 1
    unit = 1 << lifted
    return -((start - low) // unit), (high - start) // unit


def _pair(sigmoid, tanh, low, high):
    """Places in the tables of an i and a g whose product is from ``low`` to ``high``."""
    order = np.argsort(tanh, kind="stable")
    ascending, candidates = tanh[order].astype(np.int64), np.flatnonzero(sigmoid > 0)
    i = sigmoid[candidates].astype(np.int64)
    at = np.searchsorted(ascending, -(-low // i))
    fits = at < len(ascending)
    fits[fits] = ascending[at[fits]] * i[fits] <= high
    found = np.flatnonzero(fits)
    if not found.size:
        raise FormatError("initial state", "a c that no pair of results gives", "must be one that i*g can be")
    best = found[-1]  # the largest i
    return int(candidates[best]), int(order[at[best]])
