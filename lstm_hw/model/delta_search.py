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
    dense, trace = replace(qmodel, thresholds=()), {}
    integer_reference(dense, x_int, trace=trace)
    vectors = [x_int, *(trace[number]["h"] for number in range(len(qmodel.layers)))]
    spreads = [float(np.sqrt(np.mean(np.square(values.astype(np.float64))))) for values in vectors]
    if any(qmodel.input_exponents):
        spreads[0] = 0.0  # inputs have scales of their own: one threshold is not for all
    most = (1 << 16) - 1

    def of(factors):
        """The model whose thresholds are such shares of the spreads, in whole steps."""
        thresholds = tuple(min(most, math.ceil(f * s)) for f, s in zip(factors, spreads, strict=True))
        return replace(qmodel, thresholds=thresholds)

    def within(figure):
        return figure >= bound if higher else figure <= bound

    figure = dense_figure = measure(dense)
    if not within(figure):
        rule = (
            f"must be {'at most' if higher else 'at least'} {dense_figure:.4g}, what the model has without thresholds"
        )
        raise ConfigError("bound of the thresholds", f"{bound:.4g}", rule)
    total, done = HALVINGS + MOST_ROUNDS, 0
    low, high = math.log2(SMALLEST), math.log2(LARGEST)
    factors = [0.0] * len(spreads)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        tried = [2.0**middle] * len(spreads)
        found = measure(of(tried))
        if within(found):
            low, factors, figure = middle, tried, found
        else:
            high = middle
        done += 1
        if progress:
            progress(done, total)
    blocked: set[int] = set()
    for _ in range(MOST_ROUNDS):
        best = None
        for index in range(len(spreads)):
            grown = [f * GROWTH if n == index else f for n, f in enumerate(factors)]
            if index in blocked or of(grown).thresholds == of(factors).thresholds:
                continue
            found = measure(of(grown))
            if not within(found):
                blocked.add(index)  # it will not be less wrong with others larger
                continue
            left = products_left(qmodel, activity(of(grown), x_int))
            if best is None or left < best[0]:
                best = left, grown, found
        if best is None:
            break
        _, factors, figure = best
        done += 1
        if progress:
            progress(min(done, total - 1), total)
    if progress:
        progress(total, total)
    chosen = of(factors)
    shares = activity(chosen, x_int)
    formats = [qmodel.input_format, *(layer.hidden for layer in qmodel.layers)]
    x, *h = (_real(stored, f.fraction) for stored, f in zip(chosen.thresholds, formats, strict=True))
    return Thresholds(x, tuple(h), shares, products_left(qmodel, shares), figure, dense_figure)


def _real(stored: int, fraction: int) -> float:
    """The shortest number that is stored as this threshold."""
    exact = stored * 2.0**-fraction
    for digits in range(1, _DIGITS):
        value = math.floor(exact * 10**digits) / 10**digits
        if math.ceil(value * 2.0**fraction) == stored:
            return value
    return exact
