"""Widths of what the cell unit rounds, and of the sums of its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .formats import QFormat

if TYPE_CHECKING:
    from .config import EngineConfig

EXACT_BITS = 63
"""Widest intermediate value: what the int64 reference computes exactly."""


class Rounding(NamedTuple):
    """Exact integers of one of several fractions, which become stored integers of one format.

    Parameters
    ----------
    width : int
        Bits of the signed integers.
    fractions : tuple of int
        Fraction bits that they may have, above or below those of the format.
    to : QFormat
    """

    width: int
    fractions: tuple[int, ...]
    to: QFormat

    @property
    def drop(self) -> int:
        """Bits that go: the input is first raised to a common number of fraction bits, so that none is lost early."""
        return max(0, *(fraction - self.to.fraction for fraction in self.fractions))

    @property
    def alike(self) -> bool:
        """Whether all have the same fraction, so that nothing is to be aligned."""
        return len(set(self.fractions)) == 1

    @property
    def sum_width(self) -> int:
        """Bits of the raised integer, or of half of what is kept if that is more, with a carry."""
        return max(self.width + self.drop + self.to.fraction - min(self.fractions), self.drop) + 1

    @property
    def exact(self) -> bool:
        """Whether that is exact in the reference too."""
        return self.sum_width <= EXACT_BITS

    @property
    def rule(self) -> str:
        """What it must do to be ``exact``."""
        return f"reach {self.to} within {EXACT_BITS} bits, a carry included"


def preact_rounding(config: EngineConfig) -> Rounding:
    """Of finished sums to pre-activations, by layer and row shift."""
    fractions = tuple(
        shift + config.preact.fraction + row for shift in config.shifts for row in range(config.row_shifts)
    )
    return Rounding(config.accumulator_bits - config.row_bits, fractions, config.preact)


class CellArithmetic:
    """Places and widths in a cell.

    Both products that make c are aligned to the larger fraction and added exactly. A c of more fraction bits lifts i*g
    and the fraction of the sum by as many; f*c has them by itself.

    Parameters
    ----------
    config : EngineConfig

    Attributes
    ----------
    layers : int
        Layers whose formats differ; 1 where none do.
    preact_lifts, c_shifts, h_shifts : tuple of int
        Of each of them.
    sum_fraction, sum_width : int
        Of the sum for c of the first of them; of a GRU those of h.
    f_shift, g_shift : int
        Places by which f*c and i*g stand higher in it; of a GRU z*c and (1 - z)*n.
    left_width : int
        Bits of the wider operand of the multiplier.
    c, tanh, h : Rounding
        Of the sum for c, of that for what tanh reads, and of what becomes h.
    peephole : Rounding or None
        With peepholes, of a pre-activation and its product with c.
    pre_shift, peephole_shift : int
        Places by which either stands higher in that sum.
    """

    def __init__(self, config: EngineConfig):
        activated, cell = config.activated, config.cell
        self.sum_fraction = max(activated.fraction + cell.fraction, 2 * activated.fraction)
        self.f_shift = self.sum_fraction - activated.fraction - cell.fraction
        self.g_shift = self.sum_fraction - 2 * activated.fraction
        of_layers = config.preact_shifts, config.c_shifts, config.h_shifts
        differ = any(len(set(shifts)) > 1 for shifts in of_layers)
        self.layers = layers = max(map(len, of_layers)) if differ else 1
        self.preact_lifts = tuple(map(config.preact_lift, range(layers)))
        self.c_shifts, self.h_shifts = (
            (*shifts[:layers], *[shifts[-1] if shifts else 0] * (layers - len(shifts)))
            for shifts in (config.c_shifts, config.h_shifts)
        )
        self.peephole = None
        {"lstm": self._lstm, "gru": self._gru}[config.kind](config)
        self.c = Rounding(self.sum_width, (self.sum_fraction,), cell)

    def _lstm(self, config):
        activated, cell = config.activated, config.cell
        self.left_width = max(activated.width, cell.width)
        lifted = activated.width + self.g_shift + max(self.c_shifts)
        self.sum_width = 2 + activated.width + max(cell.width + self.f_shift, lifted)
        fractions = tuple(self.sum_fraction + shift for shift in (self.c_shifts if any(self.c_shifts) else (0,)))
        self.tanh = Rounding(self.sum_width, fractions, config.argument)
        fractions = tuple(2 * activated.fraction - shift for shift in self.h_shifts)
        self.h = Rounding(activated.width * 2, fractions, config.hidden)
        if config.peepholes:
            self._peepholes(config.preact, config.peepholes, cell, config.argument)

    def _peepholes(self, preact, weight, cell, argument):
        fraction = max(preact.fraction, weight.fraction + cell.fraction)
        self.pre_shift = fraction - preact.fraction
        self.peephole_shift = fraction - weight.fraction - cell.fraction
        width = 1 + max(preact.width + self.pre_shift, weight.width + cell.width + self.peephole_shift)
        self.peephole = Rounding(width, (fraction,), argument)

    def _gru(self, config):
        bits, fraction = config.activated.width, config.activated.fraction
        cell, preact = config.cell.width, config.preact.width
        one = max(bits, fraction + 1) + 1  # 1 - z
        self.left_width = max(one, cell, preact)
        products = max(bits + cell + self.f_shift, bits + one + self.g_shift + max(self.c_shifts))
        self.sum_width = 2 + max(products, max(bits, fraction) + preact)
        lifts = self.preact_lifts if any(self.preact_lifts) else (0,)
        fractions = tuple(fraction + config.argument.fraction - lift for lift in lifts)
        self.tanh = Rounding(self.sum_width, fractions, config.argument)
        fractions = tuple(self.sum_fraction + c - h for c, h in zip(self.c_shifts, self.h_shifts, strict=True))
        self.h = Rounding(self.sum_width, fractions, config.hidden)
