"""Mixed precision: how few bits of the weights of each matrix keep a figure within a bound.

First the narrowest width that does for all matrices alike: that of the narrowest engine. From there on one bit after
the other is taken away, each time of the matrix whose loss by weight is least, until no single bit more can go.

The engine stores all weights at the width of the widest matrix, so narrower ones save no memory; they tell where
accuracy needs bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConfigError
from ..machine.limits import WEIGHT_WIDTHS
from .float_model import FloatModel, cells_of
from .fractions import FRACTIONS, ROUNDINGS
from .quant_config import OF_LAYERS, QuantConfig
from .quant_model import QuantModel
from .quantize import FloatRuns, matrix_sizes, quantize

MOST_EVALUATIONS = 400
"""Quantised models that a search measures, at most, unless one says how many."""


class Trials:
    """Quantised models of one float model that differ in the widths of their weights alone, each measured once.

    Formats of values are those that the widest weights get. Fraction bits are chosen by matrix, at no cost in lanes, or
    by row; weights are rounded compensated, which costs no hardware; unless the configuration says otherwise.

    Parameters
    ----------
    model : FloatModel
    calibration : float array (N, T, Lx)
    config : QuantConfig
        Everything but the widths of weights.
    measure : callable (QuantModel) -> float
        The figure.
    bound : float
    higher : bool
        The figure is to be at least ``bound``, as an accuracy, and not at most, as an error.
    widths : sequence of int
        Those that a matrix may have, without gaps.
    """

    def __init__(
        self,
        model: FloatModel,
        calibration: np.ndarray,
        config: QuantConfig,
        measure: Callable[[QuantModel], float],
        bound: float,
        higher: bool = False,
        widths: Sequence[int] = WEIGHT_WIDTHS,
    ):
        self.model, self.sizes, self.lowest, self.widest = model, matrix_sizes(model), min(widths), max(widths)
        self._runs, self._figures = FloatRuns(model, calibration), {}
        self._measure, self._bound, self._sign = measure, bound, -1 if higher else 1
        ways = FRACTIONS[1:] if config.fractions == "auto" else (config.fractions,)
        if config.operand_bits != 16:
            ways = FRACTIONS[:1]
        rounding = ROUNDINGS[-1] if config.rounding == "auto" else config.rounding
        config = replace(config, weight_bits=self.widest, matrix_bits=None)
        plain = replace(config, fractions=FRACTIONS[0], rounding=ROUNDINGS[0])
        layers = quantize(model, calibration, plain, runs=self._runs).layers
        own = {name: tuple(getattr(layer, name) for layer in cells_of(layers) or layers[:1]) for name in OF_LAYERS}
        own = {name: formats[0] if len(set(formats)) == 1 else formats for name, formats in own.items()}
        self._configs = tuple(
            replace(
                config,
                **own,
                fractions=way,
                rounding=rounding,
            )
            for way in ways
        )

    def config(self, bits: dict[str, int], way: int) -> QuantConfig:
        """The configuration with so many bits of each matrix; ``way`` numbers those to choose fraction bits."""
        widest = max(bits.values())
        mixed = bits if min(bits.values()) < widest else None
        return replace(self._configs[way], weight_bits=widest, matrix_bits=mixed)

    def quantized(self, bits: dict[str, int], way: int) -> QuantModel:
        """The model with so many bits of each matrix."""
        return quantize(self.model, self._runs.calibration, self.config(bits, way), runs=self._runs)

    def figure(self, bits: dict[str, int], way: int) -> float:
        """What the model with so many bits of each matrix measures."""
        key = (way, *bits.values())
        if key not in self._figures:
            self._figures[key] = self._measure(self.quantized(bits, way))
        return self._figures[key]

    def loss(self, bits: dict[str, int], way: int) -> float:
        """By how much the figure is beyond the bound; 0 or less is within it."""
        return self._sign * (self.figure(bits, way) - self._bound)

    def uniform(self, width: int) -> dict[str, int]:
        """So many bits of every matrix."""
        return dict.fromkeys(self.sizes, width)

    def total(self, bits: dict[str, int]) -> int:
        """Bits of all weights together, each at its matrix's width."""
        return sum(size * bits[name] for name, size in self.sizes.items())

    def narrowest(self, progress: Callable[[int, int], None] | None = None) -> tuple[int, int]:
        """The least width that does for all matrices alike, and the first way with which it does.

        Raises
        ------
        ConfigError
            There is none.
        """
        candidates = [(w, way) for w in range(self.lowest, self.widest + 1) for way in range(len(self._configs))]
        for done, (width, way) in enumerate(candidates, 1):
            within = self.loss(self.uniform(width), way) <= 0
            if progress:
                progress(done, len(candidates))
            if within:
                return width, way
        width, way = min(candidates, key=lambda candidate: self.loss(self.uniform(candidate[0]), candidate[1]))
        best = self.figure(self.uniform(width), way)
        rule = (
            f"must be at {'least' if self._sign > 0 else 'most'} {best:.6g}, the best that weights of {self.lowest} to "
        )
        rule += f"{self.widest} bits reach (at {width})"
        raise ConfigError("bound of the precision", f"{self._bound:g}", rule)

    @property
    def evaluations(self) -> int:
        """Models that were measured."""
        return len(self._figures)


@dataclass(frozen=True)
class Found:
    """What a search found.

    Parameters
    ----------
    sizes, bits : dict of str to int
        Weights of each matrix, and the width that does.
    figure : float
        What the model with these widths measures.
    uniform : int
        The narrowest width that does for all matrices alike.
    uniform_figure : float
        What the model with that measures.
    config : QuantConfig
        Of the found widths: :func:`~.quantize.quantize` makes with it the very model that was measured.
    qmodel : QuantModel
    evaluations : int
        Models that were measured.
    finished : bool
        No single bit more can go; False if the search ended at its number of evaluations.
    """

    sizes: dict[str, int]
    bits: dict[str, int]
    figure: float
    uniform: int
    uniform_figure: float
    config: QuantConfig
    qmodel: QuantModel
    evaluations: int
    finished: bool

    @property
    def engine_bits(self) -> int:
        """Width at which the engine stores every weight."""
        return max(WEIGHT_WIDTHS[0], *self.bits.values())

    @property
    def total(self) -> int:
        """Bits of all weights together, each at its matrix's width."""
        return sum(size * self.bits[name] for name, size in self.sizes.items())

    @property
    def uniform_total(self) -> int:
        """The same at the uniform width."""
        return sum(self.sizes.values()) * self.uniform


def search(
    model: FloatModel,
    calibration: np.ndarray,
    config: QuantConfig,
    bound: float,
    measure: Callable[[QuantModel], float],
    widths: Sequence[int] = WEIGHT_WIDTHS,
    higher: bool = False,
    wider: int = 0,
    evaluations: int = MOST_EVALUATIONS,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Few weight bits, by matrix, that keep a figure within a bound, by a greedy descent.

    Parameters
    ----------
    model, calibration, config, bound, measure, widths, higher
        As of :class:`Trials`.
    wider : int
        Bits by which matrices may be wider than the narrowest uniform width: a descent begins there too, and that of
        fewer bits in all is taken, though the engine stores all weights at the widest.
    evaluations : int
        The descent begins no step that could bring the models that were measured beyond this number.
    progress : callable, optional
        Called as ``progress(done, total)`` with models that were measured, and how many it may be at most as it stands.

    Returns
    -------
    Found

    Raises
    ------
    ConfigError
        No width does for all matrices alike.
    """
    trials = Trials(model, calibration, config, measure, bound, higher, widths)
    uniform, way = trials.narrowest(progress)
    ends = []
    for start in sorted({uniform, min(uniform + wider, trials.widest)}):
        if trials.loss(trials.uniform(start), way) <= 0:  # more bits need not be better
            ends.append(_descend(trials, trials.uniform(start), way, evaluations, progress))
    bits, finished = min(ends, key=lambda end: (trials.total(end[0]), max(end[0].values())))
    return Found(
        trials.sizes,
        bits,
        trials.figure(bits, way),
        uniform,
        trials.figure(trials.uniform(uniform), way),
        trials.config(bits, way),
        trials.quantized(bits, way),
        trials.evaluations,
        finished,
    )


def _descend(trials, bits, way, evaluations, progress):
    """Bits of each matrix after one has been taken away after the other, and whether no more can go."""
    names = tuple(bits)
    while trials.evaluations + len(names) <= evaluations:
        before, steps = trials.loss(bits, way), []
        for place, name in enumerate(names):
            if bits[name] == trials.lowest:
                continue
            fewer = bits | {name: bits[name] - 1}
            loss = trials.loss(fewer, way)
            if progress:
                done = trials.evaluations
                progress(done, done + len(names) * sum(b - trials.lowest for b in bits.values()))
            if loss <= 0:
                size = trials.sizes[name]
                steps.append(((max(0.0, loss - before) / size, -size, place), fewer))
        if not steps:
            return bits, True
        bits = min(steps, key=lambda step: step[0])[1]
    return bits, False
