"""Number formats that follow the data: of pre-activations, c and h, from float runs of a calibration set.

A format of a given width is a number of integer bits. Three ways propose it: that which holds the largest magnitude,
that which all but ``RARE`` of the values fit, and that of the least mean squared error. What is taken is measured: of
the candidates, the first, in the order of what hardware they take, whose error of the outputs comes near the best.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from ..machine.formats import QFormat
from ..machine.limits import FORMAT_WIDTHS
from .float_model import FloatModel
from .functions import sigmoid
from .quant_layer import OF_PREACT
from .reference import float_reference

ENOUGH_BITS = 16
"""With so many bits formats of values are judged with plainly rounded weights, and no value of h is clipped."""
RARE = 1e-3
"""Share of values that the format by percentile does not hold."""
NEAR = 1.26
"""A mean squared error up to this multiple of the least one, 1 dB, is as good: what takes less hardware is taken."""
TRACED = 1 << 22
"""Pre-activations of a layer that are kept at a time."""
USUAL_INTEGER = 3
"""Integer bits of pre-activations and of c where nothing speaks against it: sigmoid is flat beyond 8."""
LEAST_PREACT_INTEGER, MOST_PREACT_INTEGER = -4, 4
"""The activation unit's table ends at 16; its input is at most so many bits wider than that of one layer."""
MARGIN = 1.25
"""Formats hold so many times the calibration set's largest magnitude, but where functions are flat beyond."""
STATE_MARGIN = 0.9
"""Share of the largest i*g that a state may be: near it there are few pairs to choose from."""
MOST_CELL_INTEGER, LEAST_HIDDEN_INTEGER = 12, -6
MOST_CANDIDATE_INTEGER = 9
"""Of pre-activations where the two sums of a GRU's candidate are added, or an ELU passes sums on: flat nowhere."""
AUTO_WIDTHS = (16, 18, 20, 24)
"""Widths that are tried where the width is open: of c, and as far as they go of pre-activations."""
_EXPONENTS = 64


class Spread:
    """How values are spread, in bounded memory: the largest magnitude, and by power of two counts and sums."""

    def __init__(self):
        self.peak = 0.0
        self._sums = np.zeros((3, 2 * _EXPONENTS + 1))  # of 1, |v| and v**2

    def add(self, values: np.ndarray) -> None:
        """Take more values (any shape, float) into account."""
        magnitudes = np.abs(values).ravel()
        self.peak = max(self.peak, float(magnitudes.max()))
        _, exponents = np.frexp(magnitudes)
        bins = np.where(magnitudes > 0, np.clip(exponents, -_EXPONENTS, _EXPONENTS), -_EXPONENTS) + _EXPONENTS
        with np.errstate(over="ignore"):  # of magnitudes that no format holds
            squares = magnitudes**2
        for row, weights in zip(self._sums, (None, magnitudes, squares), strict=True):
            row += np.bincount(bins, weights, len(row))

    def beyond(self, integer: int) -> float:
        """Share of values of magnitude ``2**integer`` or more."""
        return float(self._above(integer)[0] / self._sums[0].sum())

    def squared_error(self, number_format: QFormat) -> float:
        """Mean squared error of rounding and saturation; rounding errors are even over a step."""
        count, total, squares = self._above(number_format.integer)
        limit, every = 2.0**number_format.integer, self._sums[0].sum()
        clipped = squares - 2 * limit * total + count * limit**2
        return float((max(clipped, 0.0) + (every - count) * number_format.lsb**2 / 12) / every)

    def _above(self, integer):
        return self._sums[:, max(0, integer + 1 + _EXPONENTS) :].sum(axis=1)

    def proposals(self, width: int, margin: float, low: int, high: int) -> list[QFormat]:
        """Formats of a width by largest magnitude, percentile and mean squared error, with ``low`` to ``high`` integer
        bits; ``margin`` is a factor over the largest magnitude."""
        formats = [_with_integer(integer, width) for integer in range(low, high + 1)]
        by_peak = next((f for f in formats if f.holds(self.peak * margin)), formats[-1])
        by_percentile = next((f for f in formats if self.beyond(f.integer) <= RARE), formats[-1])
        by_error = min(formats, key=self.squared_error)
        return list(dict.fromkeys((by_peak, by_percentile, by_error)))


def _with_integer(integer, width):
    return QFormat(integer, width - 1 - integer)


@dataclass
class Survey:
    """What float runs of a calibration set give.

    Parameters
    ----------
    layers : list of dict of str to Spread
        Spreads of ``pre``, ``c`` and ``h`` of each layer over all steps, and of a GRU's ``candidate``: both its sums.
        Of a plain layer of ``plain``, its outputs, and ``pre`` if its activation is looked up.
    outputs : float array
        Of the first sequences, as many as choices are judged by.
    low, high : float
        Least and largest of all outputs, 0 among them.
    dense : list of Spread
        Of the outputs of the linear layers in front of the head.
    start : float
        Largest magnitude of a c, or of a GRU's h, that a layer begins from.
    reach : float
        Largest output behind an ELU of any layer, which is a pre-activation as it is; 0 without.
    alike : bool
        Whether pre-activations and c have one format in all layers, as peepholes need it.
    """

    layers: list[dict[str, Spread]]
    outputs: np.ndarray
    low: float = 0.0
    high: float = 0.0
    dense: list[Spread] = field(default_factory=list)
    start: float = 0.0
    reach: float = 0.0
    alike: bool = False

    def of(self, place: str) -> list[Spread]:
        """The spread of each layer that has such a place."""
        return [layer[place] for layer in self.layers if place in layer]

    @property
    def is_gru(self) -> bool:
        return bool(self.of("candidate"))


def survey(model: FloatModel, calibration: np.ndarray, kept: int) -> Survey:
    """Run a calibration set in blocks of sequences.

    Parameters
    ----------
    model : FloatModel
    calibration : float array (N, T, Lx)
    kept : int
        Sequences whose outputs are kept.
    """
    layers = [{place: Spread() for place in _places_of(layer)} for layer in model.layers]
    dense = [Spread() for _ in model.dense]
    steps, parts, low, high = max(calibration.shape[1], model.arrangement.repeats), [], 0.0, 0.0
    block = max(1, TRACED // (steps * 4 * max(model.hidden_sizes)))
    for first in range(0, len(calibration), block):
        trace = {}
        outputs, _ = float_reference(model, calibration[first : first + block], trace=trace)
        low, high = min(low, float(outputs.min())), max(high, float(outputs.max()))
        parts.append(outputs[: max(0, kept - first)])
        for number, places in enumerate(layers):
            trace[number]["candidate"] = trace[number]["pre"][..., 2 * model.hidden_sizes[number] :]
            trace[number]["plain"] = trace[number]["h"]
            for place, spread in places.items():
                spread.add(trace[number][place])
        for number, spread in enumerate(dense, len(layers)):
            spread.add(trace[number]["y"])
    start = 0.0
    for layer, places in zip(model.layers, layers, strict=True):
        of_state = ("plain",) if layer.KIND == "plain" else "hc"
        for place, values in zip(of_state, layer.initial or (), strict=False):
            places[place].add(values)
        if layer.initial is not None and layer.KIND != "plain":
            start = max(start, float(np.abs(layer.initial[1]).max()))
    alike = any(layer.peepholes is not None for layer in model.layers)
    ends = (*(places.get("plain") for places in layers), *dense)
    peaks = [spread.peak for layer, spread in zip((*model.layers, *model.dense), ends, strict=True) if _is_elu(layer)]
    peaks += [high] if _is_elu(model.head) else []
    return Survey(layers, np.concatenate(parts), low, high, dense, start, max(peaks, default=0.0), alike)


def _is_elu(layer):
    return getattr(layer, "activation", None) == "elu"


def _places_of(layer):
    if layer.KIND == "plain":
        return ("pre", "plain") if layer.activation in OF_PREACT else ("plain",)
    return ("pre", "c", "h", "candidate") if layer.KIND == "gru" else ("pre", "c", "h")


def dense_format(spread: Spread, width: int) -> QFormat:
    """Format of the outputs of a linear layer that another one reads: it holds them with a margin, or of few bits has
    the least mean squared error."""
    by_peak, *_ = spread.proposals(width, MARGIN, LEAST_HIDDEN_INTEGER, width - 1)
    if width >= ENOUGH_BITS:
        return by_peak
    candidates = [_with_integer(integer, width) for integer in range(LEAST_HIDDEN_INTEGER, width)]
    return min(candidates, key=spread.squared_error)


def chosen_formats(found: Survey, config: Any, error: Callable[[Any], float] | None) -> tuple[Any, list[str]]:
    """Fill in the formats of pre-activations, c and h that a configuration leaves open.

    From the finest candidate of each on, one after the other is replaced by the first of its candidates that keeps the
    outputs' error near the least that was seen: so what one format gains is not hidden by the others.

    Parameters
    ----------
    found : Survey
    config : QuantConfig
    error : callable
        Mean squared error of the outputs with a filled configuration, on a sample of the calibration set; without it
        the first candidates are taken.

    Returns
    -------
    config : QuantConfig
        With every format but those of x and of the outputs.
    reasons : list of str
        What was chosen and why, a line each.
    """
    choices = {
        name: [one for one in dict.fromkeys(candidates(config, found)) if not (found.alike and isinstance(one, tuple))]
        for name, (_, _, candidates) in PLACES.items()
        if getattr(config, name) is None
    }
    config = replace(config, **{name: max(formats, key=_fineness) for name, formats in choices.items()})
    error, least, reasons = error and cache(error), np.inf, []
    for name, formats in choices.items():
        place, words, _ = PLACES[name]
        configs, why = [replace(config, **{name: candidate}) for candidate in formats], ""
        config = configs[0]
        if len(configs) > 1 and error:
            errors = [error(one) for one in configs]
            least = min(least, *errors)
            config = next((one for one, its in zip(configs, errors, strict=True) if its <= NEAR * least), None)
            config = config or configs[int(np.argmin(errors))]
            measured = (f"{np.sqrt(its):.2g} with {_words(f)}" for f, its in zip(formats, errors, strict=True))
            why = f"; rms error of the outputs {', '.join(measured)}"
        if not found.of(place):
            continue
        peak = max(spread.peak for spread in found.of(place))
        reasons.append(f"{words}: {_words(getattr(config, name))}, for values up to {peak:.3g}{why}")
    return config, reasons


def _fineness(formats):
    return sum(f.fraction for f in formats) / len(formats) if isinstance(formats, tuple) else formats.fraction


def _words(formats):
    return " ".join(map(str, formats)) if isinstance(formats, tuple) else str(formats)


def _widest(proposals):
    """Of one format a layer by each way, the one that has the most integer bits; layers share the engine's."""
    ways = max(map(len, proposals))
    return [max((p[min(n, len(p) - 1)] for p in proposals), key=lambda f: f.integer) for n in range(ways)]


def _of_cell(config, found) -> Iterator[QFormat | tuple[QFormat, ...]]:
    """One for all layers, then one each; where the width is open, none that clips the calibration set, and a margin.

    That of a GRU is a mean of results of tanh, so it has no integer bit.
    """
    auto, spreads = config.cell_bits == "auto", found.of("c")
    widths = AUTO_WIDTHS if auto else (config.cell_bits,)
    if found.is_gru:
        yield from (_with_integer(0, width) for width in widths)
        return
    if not spreads:
        yield _with_integer(USUAL_INTEGER, widths[0])
        return
    usual = _with_integer(USUAL_INTEGER, AUTO_WIDTHS[0] if auto else config.cell_bits)
    if usual.holds(max(s.peak for s in spreads) * MARGIN):
        yield usual
    own = {width: [s.proposals(width, MARGIN, 0, MOST_CELL_INTEGER) for s in spreads] for width in widths}
    # None that is coarser than usual, unless there is no wider one.
    fine = [w for w in widths if w == widths[-1] or min(p[0].fraction for p in own[w]) >= usual.fraction]
    for width in fine:
        proposals = _widest(own[width])
        yield from proposals[:1] if auto else proposals
    for width in fine:
        formats = tuple(proposals[0] for proposals in own[width])
        # Beyond the fraction bits of what is added to it, a c gains nothing.
        if len(set(formats)) > 1 and min(f.fraction for f in formats) < config.activation_format.fraction:
            yield formats


def _of_preact(config, found) -> Iterator[QFormat | tuple[QFormat, ...]]:
    """Formats of pre-activations; none that clips the calibration set where sigmoid is not flat, nor what is added to
    something or passed on by an ELU, with a margin."""
    auto, least = config.preact_bits == "auto", _holding(found.reach * MARGIN)
    widths = [w for w in AUTO_WIDTHS if w in FORMAT_WIDTHS["preact"]] if auto else [config.preact_bits]
    for formats in _of_sums(found, widths):
        if max(f.integer for f in (formats if isinstance(formats, tuple) else (formats,))) >= least:
            yield formats
    if least > USUAL_INTEGER:
        yield from (_with_integer(least, width) for width in widths)


def _of_sums(found, widths):
    """One for all layers, then one each, by the sums of cells and of what is looked up."""
    spreads = found.of("pre")
    only_cells = len(spreads) == len(found.of("c"))  # plain layers look up values of the widest format
    if found.is_gru:
        integers = [_of_gru(layer, found.start) for layer in found.layers if "pre" in layer]
        least = max(integers)
        for width in widths:
            yield from (_with_integer(n, width) for n in dict.fromkeys((max(least, USUAL_INTEGER), least)))
            yield from _each(width, integers) if only_cells else ()
        return
    for width in widths:
        yield _with_integer(USUAL_INTEGER, width)
        if not spreads:
            continue
        for proposal in _widest([s.proposals(width, MARGIN, 0, MOST_PREACT_INTEGER) for s in spreads]):
            if proposal.integer >= _least_integer(proposal, max(s.peak for s in spreads), found.start):
                yield proposal
        if not only_cells:
            continue
        own = [s.proposals(width, MARGIN, LEAST_PREACT_INTEGER, MOST_PREACT_INTEGER) for s in spreads]
        for way in range(max(map(len, own))):
            formats = [proposals[min(way, len(proposals) - 1)] for proposals in own]
            integers = [
                max(f.integer, _least_integer(f, s.peak, found.start)) for f, s in zip(formats, spreads, strict=True)
            ]
            for most in (USUAL_INTEGER, MOST_PREACT_INTEGER):
                yield from _each(width, [min(integer, most) for integer in integers])


def _of_gru(spreads, start):
    """Integer bits of pre-activations of a GRU's layer that hold both sums of its candidate, and gates until flat."""
    gates = min(2.0**USUAL_INTEGER - 1, spreads["pre"].peak * MARGIN)
    peak = max(spreads["candidate"].peak * MARGIN if "candidate" in spreads else 0.0, gates)
    return max(_holding(peak), _least_to_begin(start))


def _holding(peak):
    """Integer bits that hold a magnitude, or the most."""
    holding = (n for n in range(MOST_CANDIDATE_INTEGER) if _with_integer(n, 63).holds(peak))
    return next(holding, MOST_CANDIDATE_INTEGER)


def _least_integer(proposal, peak, start):
    """Integer bits that pre-activations need at least, of such a format and up to such a magnitude."""
    return _least_to_begin(start) if proposal.holds(peak * MARGIN) else USUAL_INTEGER


def _each(width, integers):
    """A format each, unless they are all alike: with so many integer bits, or as few as the activation unit's input,
    which holds them all, has room for."""
    least = max(integers) - (FORMAT_WIDTHS["preact"][-1] - width)
    formats = tuple(_with_integer(max(integer, least), width) for integer in integers)
    if len(set(formats)) > 1:
        yield formats


def _least_to_begin(start):
    """Integer bits of pre-activations with which a cell comes to a state in one step, or as many as is usual."""
    largest = [sigmoid(2.0**n) * np.tanh(2.0**n) for n in range(USUAL_INTEGER)]
    return next((n for n, product in enumerate(largest) if start <= STATE_MARGIN * product), USUAL_INTEGER)


def _of_hidden(config, found) -> Iterator[QFormat | tuple[QFormat, ...]]:
    """One for all layers, then one each; of few bits also such that a few values are clipped."""
    spreads = found.of("h")
    yield _with_integer(0, config.operand_bits)
    if not spreads:
        return
    own = [s.proposals(config.operand_bits, MARGIN, LEAST_HIDDEN_INTEGER, 0) for s in spreads]
    if config.operand_bits >= ENOUGH_BITS:
        own = [proposals[:1] for proposals in own]
    yield from _widest(own)
    for way in range(max(map(len, own))):
        formats = tuple(proposals[min(way, len(proposals) - 1)] for proposals in own)
        if len(set(formats)) > 1:
            yield formats


PLACES = {
    "cell": ("c", "c", _of_cell),
    "preact": ("pre", "pre-activations", _of_preact),
    "hidden": ("h", "h", _of_hidden),
}
"""Field of the configuration -> place of the values, its words, and the formats to try, what takes least first."""
