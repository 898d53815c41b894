"""How an engine that can only zero h and c begins a sequence from another state.

c is the sum of products i*g of cell steps from zero, *stages*, whose pre-activations are constants: one stage that is
repeated, then one for which such a pair of table entries is found that c is what it must be, in every bit. h stays
zero: what W_h makes of the h of the state is added to the sums of the first step, which is exact.

c of a GRU is (1 - z)*n of one step from zero, whose r does not matter.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import FormatError
from .activation_unit import ActivationUnit
from .formats import QFormat, shift_round

REACH = 0.9
"""What a stage adds to c at most; less where the formats' largest i*g is less."""
MARGIN = 0.95
"""Share of the largest i*g that a stage adds at most: near it there are few pairs to choose from."""
MOST_REPEATS = 1000
NO_PAIR = "a c that no pair of results gives"
WIDER = "quantize.preact with more integer bits reaches further"
"""The way out, told where formats do not reach a state."""


@dataclass(frozen=True, eq=False)
class Priming:
    """Steps from zero state to a c.

    Parameters
    ----------
    repeats : int
        How often the first stage comes; if never, it is not there.
    pre : int64 array (1 or 2, 4H)
        Stored pre-activations of each stage, stacked as ``CELL_SUMS`` says.
    """

    repeats: int
    pre: np.ndarray


class _Cell:
    """The cell's c on places in the tables, with the largest f."""

    def __init__(self, unit, preact, cell):
        activated = unit.o_format
        self.sigmoid, self.tanh = (np.asarray(table, dtype=np.int64) for table in unit.results_for(preact))
        self.preact, self.cell = preact, cell
        self.a, self.fraction = activated.fraction, activated.fraction + max(activated.fraction, cell.fraction)
        self.f = int(self.sigmoid[-1])
        self.reach = min(REACH, MARGIN * activated.to_float(self.f) * activated.to_float(self.tanh[-1]))

    def kept(self, c):
        """f*c, at ``fraction``."""
        return self.f * c << self.fraction - self.a - self.cell.fraction

    def step(self, c, i, g):
        """The new c."""
        total = self.kept(c) + (self.sigmoid[i] * self.tanh[g] << self.fraction - 2 * self.a)
        return self.cell.bound(shift_round(total, self.fraction - self.cell.fraction, self.cell.rounding))

    def pairs(self, c, wanted):
        """Places of i and g of each unit with which the next c is ``wanted``."""
        dropped, lifted = self.fraction - self.cell.fraction, self.fraction - 2 * self.a
        found = [
            _pair(self.sigmoid, self.tanh, *_bounds(target, dropped, self.cell, start, lifted))
            for target, start in zip(wanted.tolist(), self.kept(c).tolist(), strict=True)
        ]
        return np.array(found).T

    def pre(self, i, g):
        """Pre-activations (4H,)."""
        lowest, highest = (np.full(len(i), place) for place in (self.preact.lowest, self.preact.highest))
        return np.concatenate([self.preact.lowest + i, highest, self.preact.lowest + g, lowest])


class _GruCell(_Cell):
    """The cell of a GRU from zero: 1 - z stands for i, and n for g."""

    def __init__(self, unit, preact, cell):
        super().__init__(unit, preact, cell)
        self.sigmoid = (1 << unit.o_format.fraction) - self.sigmoid

    def pre(self, i, g):
        """Pre-activations (4H,)."""
        nothing = np.zeros(len(i), dtype=np.int64)
        return np.concatenate([nothing, self.preact.lowest + i, self.preact.lowest + g, nothing])


def priming(
    c: np.ndarray,
    unit: ActivationUnit,
    preact: QFormat,
    cell: QFormat,
    kind: str = "lstm",
) -> Priming:
    """Find the stages for a state.

    Parameters
    ----------
    c : int array (H,)
        Stored integers of ``cell``.
    unit : ActivationUnit
    preact, cell : QFormat
        Of the layer.
    kind : str
        Of ``CELL_SUMS``.

    Returns
    -------
    Priming

    Raises
    ------
    FormatError
        c is too large, or no pair of results of the unit gives it.
    """
    c = np.asarray(c, dtype=np.int64)
    if kind == "gru":
        return _last(c, _GruCell(unit, preact, cell))
    stage = _Cell(unit, preact, cell)
    keeps, real = unit.o_format.to_float(stage.f), cell.to_float(c)
    steps = np.arange(1, MOST_REPEATS + 2)
    grown = steps if keeps == 1 else (1 - keeps**steps) / (1 - keeps)  # c behind so many steps that add 1
    enough = np.flatnonzero(np.abs(real).max() <= stage.reach * grown)
    if not enough.size:
        rule = f"must be at most {stage.reach * grown[-1]:.4g} with pre-activations of {preact}; {WIDER}"
        raise FormatError("initial state", f"c of {np.abs(real).max():g}", rule)
    repeats, now, stages = int(enough[0]), np.zeros_like(c), []
    if repeats:
        i, g = stage.pairs(now, cell.quantize(real / grown[repeats]))
        stages.append(stage.pre(i, g))
        for _ in range(repeats):
            now = stage.step(now, i, g)
    return _last(c, stage, now, repeats, stages)


def _last(c, unit, now=0, repeats=0, stages=()):
    """The stage that leads to c, behind what leads to ``now``."""
    now = np.zeros_like(c) + now
    i, g = unit.pairs(now, c)
    if not np.array_equal(unit.step(now, i, g), c):
        raise FormatError("initial state", NO_PAIR, f"must be within the range of c; {WIDER}")
    return Priming(repeats, np.array([*stages, unit.pre(i, g)]))


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
        raise FormatError("initial state", NO_PAIR, f"must be one that i*g can be; {WIDER}")
    best = found[-1]  # the largest i
    return int(candidates[best]), int(order[at[best]])
