"""A layer's steps in float64 where that is exact: the integer reference's bits in a fraction of its time.

Sums, products and what rounding adds to them are multiples of a power of two, and so small that float64 holds every one
of them; then rounding half up is a floor, and saturation a clip. Values have sequences in the last dimension, so that
those of a gate lie side by side.
"""

from functools import lru_cache

import numpy as np

from ..machine.activation_unit import ActivationUnit
from ..machine.formats import QFormat
from .quant_layer import QuantRecurrent

EXACT = 1 << 53
"""Integers up to this magnitude, and so sums that stay below it in any order, are exact in float64."""


def is_exact(layer: QuantRecurrent, argument: QFormat) -> bool:
    """Whether float64 gives a layer's bits: formats round half up and saturate, no number takes too many bits, and all
    sums of a step are formed at once, unlike those of a GRU that resets h before its product, and without c.

    ``argument`` is the format of what the activation unit looks up, at least as fine and as wide as pre-activations.
    """
    if layer.reset_before or layer.peepholes is not None:
        return False
    formats = (layer.preact, layer.activation_format, layer.cell, layer.hidden)
    if any((f.rounding, f.overflow) != ("half_up", "saturate") for f in formats):
        return False
    # In real numbers, what may come up at most, and the step that all of it is a multiple of.
    a, pre = layer.activation_format, layer.preact
    unit = 2.0**a.integer
    sums = layer.peak_accumulator * 2.0**-layer.acc_fraction + 2.0 ** (pre.integer + 1)
    sums_step = 2.0 ** -max(layer.acc_fraction + int(layer.row_shift.max()), pre.fraction + 1)
    cells = unit * 2.0**layer.cell.integer + unit**2 + 2.0 ** (argument.integer + 1)
    cells_step = 2.0 ** -max(
        a.fraction + max(a.fraction, layer.cell.fraction), argument.fraction + 1, layer.cell.fraction + 1
    )
    if layer.KIND == "gru":
        candidate = (1 + unit) * 2.0**pre.integer + 2.0 ** (argument.integer + 1)
        candidate_step, hidden_step = (
            2.0 ** -max(a.fraction + pre.fraction, argument.fraction + 1),
            min(cells_step, 2.0 ** -(layer.hidden.fraction + 1)),
        )
        return max(sums / sums_step, candidate / candidate_step, (cells + unit) / hidden_step) < EXACT >> 1
    hidden_step = 2.0 ** -max(2 * a.fraction, layer.hidden.fraction + 1)
    return max(sums / sums_step, cells / cells_step, (unit**2 + 1) / hidden_step) < EXACT >> 1


@lru_cache(maxsize=4)
def _tables(unit: ActivationUnit, preact: QFormat) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sigmoid and tanh as real numbers (float64), from the lowest pre-activation on, and tanh from the unit's lowest
    input on."""
    return *unit.o_format.to_float(unit.results_for(preact)), unit.o_format.to_float(unit.results[1])


class ExactSteps:
    """Steps of a layer for which :func:`is_exact` holds.

    Parameters
    ----------
    layer : QuantRecurrent
    unit : ActivationUnit
    argument : QFormat
        Of what it looks up.
    sequences : int
        How many are worked on side by side.
    """

    def __init__(self, layer: QuantRecurrent, unit: ActivationUnit, argument: QFormat, sequences: int):
        self._layer, self._argument, self._size = layer, argument, layer.hidden_size
        sigmoid, tanh, self._tanh = _tables(unit, layer.preact)
        # Pre-activations count from the lowest on, as the tables do; half of one for rounding.
        scale = np.exp2(layer.preact.fraction - layer.acc_fraction - layer.row_shift)[:, None]
        start = layer.acc_bias[:, None] * scale + (0.5 - layer.preact.lowest)
        self._weights = np.concatenate([layer.factors * scale, start], axis=1)
        self._operands = np.ones((layer.input_size + self._size + 1, sequences))
        self._sums = np.empty((4 * self._size, sequences))
        self._index = np.empty(self._sums.shape, np.intp)
        gates, size = np.empty_like(self._sums), self._size
        self._gates = [gates[first * size : (first + 1) * size] for first in range(4)]
        plain = layer.preact.to_float(np.arange(layer.preact.lowest, layer.preact.highest + 1))
        ends = {
            "lstm": ((sigmoid, 0, 2), (tanh, 2, 3), (sigmoid, 3, 4)),
            "gru": ((sigmoid, 0, 2), (plain, 2, 4)),
        }[layer.KIND]
        self._taken = [(table, self._index[a * size : b * size], gates[a * size : b * size]) for table, a, b in ends]
        self._cell = {"lstm": self._lstm, "gru": self._gru}[layer.KIND]

    def run(self, x: np.ndarray, h: np.ndarray, c: np.ndarray, outputs: np.ndarray | None) -> None:
        """Work on all steps.

        Parameters
        ----------
        x : float64 array (T, Lx, N)
            Stored integers, as all others.
        h, c : float64 arrays (H, N)
            Changed in place.
        outputs : float64 array (T, H, N) or None
            Filled with h of every step.
        """
        inputs = x.shape[1]
        before = self._operands[inputs:-1]
        for step in range(len(x)):
            self._operands[:inputs], before[...] = x[step], h
            np.matmul(self._weights, self._operands, out=self._sums)
            self._index[...] = self._sums  # towards 0: what is below the table clips to its first entry anyway
            for table, index, gates in self._taken:
                table.take(index, mode="clip", out=gates)
            self._cell(*self._gates, h, c)
            if outputs is not None:
                outputs[step] = h

    def _lstm(self, i, f, g, o, h, c):
        """New h and c (H, N) from the gates in real numbers, which are used up."""
        layer, argument, index = self._layer, self._argument, self._index[: self._size]
        f *= c
        i *= g
        i *= 2.0**layer.cell.fraction
        f += i
        np.add(f, 0.5, out=c)
        np.floor(c, out=c)
        np.clip(c, layer.cell.lowest, layer.cell.highest, out=c)
        if layer.cell == argument:
            np.subtract(c, argument.lowest, out=i)
        else:
            np.multiply(f, 2.0 ** (argument.fraction - layer.cell.fraction), out=i)
            i += 0.5 - argument.lowest
        index[...] = i
        self._tanh.take(index, mode="clip", out=g)
        np.multiply(o, g, out=h)
        h *= 2.0**layer.hidden.fraction
        h += 0.5
        np.floor(h, out=h)
        np.clip(h, layer.hidden.lowest, layer.hidden.highest, out=h)

    def _gru(self, r, z, n_x, n_h, h, c):
        """As :meth:`_lstm`."""
        layer, argument, index = self._layer, self._argument, self._index[: self._size]
        r *= n_h
        r += n_x
        r *= 2.0**argument.fraction
        r += 0.5 - argument.lowest
        index[...] = r
        self._tanh.take(index, mode="clip", out=r)
        np.multiply(z, c, out=n_x)
        np.subtract(1, z, out=z)
        z *= r
        z *= 2.0**layer.cell.fraction
        n_x += z
        for number_format, out in ((layer.cell, c), (layer.hidden, h)):
            np.multiply(n_x, 2.0 ** (number_format.fraction - layer.cell.fraction), out=out)
            out += 0.5
            np.floor(out, out=out)
            np.clip(out, number_format.lowest, number_format.highest, out=out)
