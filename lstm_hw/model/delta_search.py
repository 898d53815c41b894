"""Thresholds of a delta network from data: as few products as a figure of the outputs bears.

First one factor for all: every vector's threshold is that share of the root mean square of its elements. Then one
threshold after the other grows, each time the one that leaves most products out, until none can without the figure
going beyond its bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConfigError
from .delta import activity
from .quant_model import QuantModel
from .reference import integer_reference

LARGEST, SMALLEST = 2.0, 2.0**-12
"""Factors between which the common one is looked for."""
HALVINGS = 8
GROWTH = 1.25
"""Factor by which a single threshold grows."""
MOST_ROUNDS = 16
MOST = (1 << 16) - 1
"""Largest threshold, stored."""
_DIGITS = 12


@dataclass(frozen=True)
class Thresholds:
    """What was found.

    Parameters
    ----------
    x : float
        Threshold of the inputs, in real units.
    h : tuple of float
        Of each layer's h.
    activity : tuple of float
        Share of elements that are passed on, of x and of each layer's h, in the inputs of the search.
    products : float
        Share of the dense model's products that are left.
    figure, dense_figure : float
        What was measured with these thresholds, and without any.
    """

    x: float
    h: tuple[float, ...]
    activity: tuple[float, ...]
    products: float
    figure: float
    dense_figure: float


def products_left(qmodel: QuantModel, shares: Sequence[float]) -> float:
    """Share of the LSTM layers' products that are left when so much is passed on of x and of each layer's h."""
    left = total = 0
    for number, layer in enumerate(qmodel.layers):
        left += layer.hidden_size * (shares[number] * layer.input_size + shares[number + 1] * layer.hidden_size)
        total += layer.hidden_size * (layer.input_size + layer.hidden_size)
    return left / total


def search_thresholds(
    qmodel: QuantModel,
    x_int: np.ndarray,
    measure: Callable[[QuantModel], float],
    bound: float,
    higher: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Thresholds:
    """The thresholds with which a figure stays within its bound, and few products are left.

    Parameters
    ----------
    qmodel : QuantModel
        With or without thresholds, which are not looked at.
    x_int : int array (N, T, Lx)
        Inputs that spreads and activities are of.
    measure : callable (QuantModel) -> float
    bound : float
    higher : bool
        The figure is to be at least ``bound``, as an accuracy, and not at most, as an error.
    progress : callable (done, total), optional

    Returns
    -------
    Thresholds

    Raises
    ------
    ConfigError
        Not even thresholds of 0 are within the bound.
    """
    dense = replace(qmodel, thresholds=())
    search = _Search(qmodel, x_int, spreads_of(dense, x_int), measure, bound, higher)
    dense_figure = measure(dense)
    if not search.within(dense_figure):
        rule = (
            f"must be {'at most' if higher else 'at least'} {dense_figure:.4g}, what the model has without thresholds"
        )
        raise ConfigError("bound of the thresholds", f"{bound:.4g}", rule)
    best, total = ([0.0] * len(search.spreads), dense_figure), HALVINGS + MOST_ROUNDS
    for stage in (search.together, search.each):
        for done, found in stage(best):
            best = found
            if progress:
                progress(min(done, total - 1), total)
    if progress:
        progress(total, total)
    factors, figure = best
    chosen = search.of(factors)
    shares = activity(chosen, x_int)
    formats = [qmodel.input_format, *(layer.hidden for layer in qmodel.layers)]
    x, *h = (_real(stored, f.fraction) for stored, f in zip(chosen.thresholds, formats, strict=True))
    return Thresholds(x, tuple(h), shares, products_left(qmodel, shares), figure, dense_figure)


def spreads_of(qmodel: QuantModel, x_int: np.ndarray) -> list[float]:
    """RMS of x and of each layer's h, stored; 0 for inputs with scales of their own: one threshold is not for all."""
    trace: dict = {}
    integer_reference(qmodel, x_int, trace=trace)
    vectors = [x_int, *(trace[number]["h"] for number in range(len(qmodel.layers)))]
    spreads = [float(np.sqrt(np.mean(np.square(values.astype(np.float64))))) for values in vectors]
    return [0.0, *spreads[1:]] if any(qmodel.input_exponents) else spreads


@dataclass(frozen=True)
class _Search:
    """Thresholds as shares of the spreads; a best is such shares with their figure."""

    qmodel: QuantModel
    x_int: np.ndarray
    spreads: list[float]
    measure: Callable[[QuantModel], float]
    bound: float
    higher: bool

    def within(self, figure):
        return figure >= self.bound if self.higher else figure <= self.bound

    def of(self, factors):
        """The model whose thresholds are such shares, in whole steps."""
        pairs = zip(factors, self.spreads, strict=True)
        return replace(self.qmodel, thresholds=tuple(min(MOST, math.ceil(f * s)) for f, s in pairs))

    def together(self, best):
        """The largest share of all spreads alike, by halving: how many times, and the best so far."""
        low, high = math.log2(SMALLEST), math.log2(LARGEST)
        for done in range(1, HALVINGS + 1):
            middle = (low + high) / 2
            tried = [2.0**middle] * len(self.spreads)
            figure = self.measure(self.of(tried))
            if self.within(figure):
                low, best = middle, (tried, figure)
            else:
                high = middle
            yield done, best

    def each(self, best):
        """One threshold after the other grows, the one that leaves fewest products."""
        blocked: set[int] = set()
        for done in range(HALVINGS + 1, HALVINGS + MOST_ROUNDS + 1):
            grown = list(self._grown(best[0], blocked))
            if not grown:
                return
            best = min(grown, key=lambda one: one[0])[1:]
            yield done, best

    def _grown(self, factors, blocked):
        """Products left, shares and figure of each threshold that may grow; ``blocked`` are those that may not."""
        for index in range(len(self.spreads)):
            grown = [f * GROWTH if n == index else f for n, f in enumerate(factors)]
            model = self.of(grown)
            if index in blocked or model.thresholds == self.of(factors).thresholds:
                continue
            figure = self.measure(model)
            if not self.within(figure):
                blocked.add(index)  # it will not be less wrong with others larger
                continue
            yield products_left(self.qmodel, activity(model, self.x_int)), grown, figure


def _real(stored: int, fraction: int) -> float:
    """The shortest number that is stored as this threshold."""
    exact = stored * 2.0**-fraction
    for digits in range(1, _DIGITS):
        value = math.floor(exact * 10**digits) / 10**digits
        if math.ceil(value * 2.0**fraction) == stored:
            return value
    return exact
