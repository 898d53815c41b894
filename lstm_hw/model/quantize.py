"""Post-training quantisation: number formats from a calibration set, then rounding of the weights.

Scales are powers of two, one a tensor, so that every rounding is a shift. Products and sums stay exact;
what rounds is the input, the weights, the pre-activations, the results of the activations, c, h and the
head's outputs, each in its own format.
"""

import typing
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from ..errors import ConfigError, FormatError
from ..machine.activation import ACTIVATIONS
from ..machine.config import FORMAT_WIDTHS, VALUE_BITS
from ..machine.formats import QFormat
from .calibrate import ENOUGH_BITS, NEAR, TRACED, Survey, chosen_formats, survey
from .float_model import GATE_ORDER, FloatModel
from .fractions import FRACTIONS, ROUNDINGS, Product, fitting, rounded_layer
from .quant_layer import EXACT_BITS, QuantDense, QuantLstm
from .quant_model import EXPONENT_LIMIT, QuantModel
from .reference import checked_sequences, float_reference, integer_reference

SAMPLE = 256
"""Sequences of the calibration set that a choice between ways of rounding is judged by, at most."""
SAMPLE_PRODUCTS = 1 << 26
"""Products of a run of them, at most, or one sequence."""
VECTORS = 4096
"""Vectors of the sample that statistics are taken of."""
MOST_HEADROOM = 1024
MEASURED_WEIGHTS = 1 << 22
"""Weights of a model up to which formats are chosen by measured errors; of a larger one, by the values alone."""
USUAL_ERROR = 0.1
"""Share of the largest output that an output may be wrong by, where nobody says how much."""
OF_LAYERS = ("cell", "hidden")
"""Formats that each layer may have of its own."""
HEAD = "head"
"""What the linear head and its matrix are called."""
OUTPUT_HEADROOM = 2.0
"""Head outputs may exceed the calibration set's peak by this factor."""


def _option(default, doc, **more):
    return field(default=default, metadata={"doc": doc}, **more)


@dataclass(frozen=True)
class QuantConfig:
    """Widths and formats; what is None is chosen from the calibration set.

    Raises
    ------
    ConfigError
        A value is out of range; the message names the field, the value and the rule.
    FormatError
        A given format does not fit the widths or the others.
    """

    weight_bits: int = _option(16, "width of a weight, 2 to 18")
    matrix_bits: Mapping[str, int] | None = _option(
        None,
        'widths of the weights of single matrices, 2 to weight_bits, as { "0.w_x" = 6, "0.w_h" = 8, head = 6 }, where '
        "0 is the first layer; others have weight_bits. The engine stores all weights at the widest width: narrower "
        "ones save no memory. `lstm-hw precision` finds how few bits would do",
        hash=False,
    )
    operand_bits: int = _option(16, "width of an element of x and h, 2 to 18; the engine takes 8 and 16")
    bias_bits: int = _option(24, "width of a bias, 2 to 32")
    accumulator_bits: int = _option(44, f"width that the largest possible sum must fit, up to {EXACT_BITS}")
    preact: QFormat | None = _option(
        None,
        "format of pre-activations, 16 to 20 bits wide for the engine; without it of preact_bits bits, chosen by the "
        "error of the outputs for the calibration set, Q3.12 where others are not 1 dB better",
    )
    preact_bits: int | str = _option(
        16, "width of pre-activations, 16 to 20, or auto: the narrowest within 1 dB of the best"
    )
    activation_format: QFormat = _option(
        QFormat(0, 15), "format of the results of sigmoid and tanh, 16 to 18 bits wide for the engine"
    )
    cell: QFormat | tuple[QFormat, ...] | None = _option(
        None,
        "format of c, 16 to 24 bits wide for the engine, or a list of one a layer, of one width; without it of "
        "cell_bits bits, chosen as preact",
    )
    cell_bits: int | str = _option(
        "auto",
        "width of c, 16 to 24, or auto: the narrowest that holds 1.25 times the calibration set's, is no coarser than "
        "Q3.12 and comes within 1 dB of the best: 16 bits where |c| stays below 6",
    )
    hidden: QFormat | tuple[QFormat, ...] | None = _option(
        None,
        "format of h, operand_bits wide, or a list of one a layer; without it all bits but the sign are fraction bits, "
        "or more are where h stays so small that it pays",
    )
    headroom: float = _option(
        1.0, "the format of x holds so many times the largest magnitude of the calibration set; 1 or more"
    )
    output: QFormat | None = _option(None, "format of the head's outputs, 16 bits wide")
    input_format: QFormat | None = _option(None, "format of x, operand_bits wide")
    activation: str = _option("quadratic64", "activation unit: quadratic64, quadratic128 or pwl")

    fractions: str = _option(
        "auto",
        "fraction bits of weights: shared by the products of a sum; matrix: each has its own (operands are lifted, at "
        "no cost in lanes); row: each row up to 7 more (a shift where sums are drained); with 8-bit operands shared. "
        "auto takes the first that comes near the best for the calibration set",
    )
    rounding: str = _option(
        "auto",
        "of weights: nearest, or compensated: what rounding a weight takes is made up for by others, for vectors as in "
        "the calibration set, at no cost in hardware; auto takes nearest if it comes near the best",
    )
    scale_inputs: bool = _option(
        True,
        "where inputs are of unlike range, store each times a power of two of its own, by which its column of W_x is "
        "divided, if the outputs for the calibration set come nearer to the float model's",
    )
    max_error: float | None = _option(
        None,
        "largest error of an output that is taken, as a share of the largest output of the float model; beyond it "
        "results are marked, and the exit status is not 0 without --allow-error. Without it 0.1, or more where test "
        "inputs have labels that are right or wrong and at most one in a hundred is lost",
    )

    def __post_init__(self):
        if self.max_error is not None and (type(self.max_error) not in (int, float) or not 0 < self.max_error < np.inf):
            raise ConfigError("quantize.max_error", repr(self.max_error), "must be a number above 0")
        for name, ways in (("fractions", FRACTIONS), ("rounding", ROUNDINGS)):
            if getattr(self, name) not in ("auto", *ways):
                rule = f"must be one of auto, {', '.join(ways)}"
                raise ConfigError(f"quantize.{name}", repr(getattr(self, name)), rule)
        if type(self.scale_inputs) is not bool:
            raise ConfigError("quantize.scale_inputs", repr(self.scale_inputs), "must be true or false")
        for name, low, high in (
            ("weight_bits", 2, 18),
            ("operand_bits", 2, 18),
            ("bias_bits", 2, 32),
            ("accumulator_bits", 4, EXACT_BITS),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ConfigError(f"quantize.{name}", repr(value), f"must be an integer from {low} to {high}")
        self._adopt_matrix_bits()
        if self.accumulator_bits < self.weight_bits + self.operand_bits:
            rule = f"must be at least weight_bits + operand_bits = {self.weight_bits + self.operand_bits}"
            raise ConfigError("quantize.accumulator_bits", self.accumulator_bits, rule)
        if self.activation not in ACTIVATIONS:
            raise ConfigError("quantize.activation", repr(self.activation), f"must be one of {', '.join(ACTIVATIONS)}")
        if type(self.headroom) not in (int, float) or not 1 <= self.headroom <= MOST_HEADROOM:
            raise ConfigError("quantize.headroom", repr(self.headroom), f"must be a number from 1 to {MOST_HEADROOM}")
        for name in ("preact", "cell"):
            value, widths = getattr(self, f"{name}_bits"), FORMAT_WIDTHS[name]
            if value != "auto" and (type(value) is not int or value not in widths):
                rule = f"must be an integer from {widths[0]} to {widths[-1]}, or auto"
                raise ConfigError(f"quantize.{name}_bits", repr(value), rule)
        names = ("preact", "activation_format", "output", "input_format", *OF_LAYERS)
        given = [(name, getattr(self, name)) for name in names]
        given = [(name, one) for name, value in given for one in (value if isinstance(value, tuple) else (value,))]
        for name, value in given:
            if value is None and name != "activation_format":
                continue
            if not isinstance(value, QFormat):
                raise ConfigError(f"quantize.{name}", repr(value), "must be a QFormat")
            if not value.signed:
                raise FormatError(f"quantize.{name}", value, "must be signed")
            if name in ("hidden", "input_format") and value.width != self.operand_bits:
                raise FormatError(f"quantize.{name}", value, f"must be operand_bits = {self.operand_bits} bits wide")
            if name == "output" and value.width != VALUE_BITS:
                raise FormatError(f"quantize.{name}", value, f"must be {VALUE_BITS} bits wide")

        if isinstance(self.cell, tuple) and len({f.width for f in self.cell}) != 1:
            rule = "must be one or more formats of one width"
            raise FormatError("quantize.cell", f"formats of {[f.width for f in self.cell]} bits", rule)

    def of_layer(self, number: int) -> "QuantConfig":
        """The configuration with the formats of c and h of one layer."""
        own = {name: value[number] for name in OF_LAYERS if isinstance(value := getattr(self, name), tuple)}
        return replace(self, **own)

    def _adopt_matrix_bits(self):
        if self.matrix_bits is None:
            return
        if not isinstance(self.matrix_bits, Mapping):
            raise ConfigError("quantize.matrix_bits", repr(self.matrix_bits), "must be a table of integers")
        for name, bits in self.matrix_bits.items():
            if type(bits) is not int or not 2 <= bits <= self.weight_bits:
                rule = f"must be an integer from 2 to weight_bits = {self.weight_bits}"
                raise ConfigError(f"quantize.matrix_bits: {name}", repr(bits), rule)
        object.__setattr__(self, "matrix_bits", MappingProxyType(dict(self.matrix_bits)))

    @property
    def error_bound(self) -> float:
        """``max_error``, or what stands for it."""
        return USUAL_ERROR if self.max_error is None else self.max_error

    def bits_of(self, matrix: str) -> int:
        """Width of the weights of a matrix, by its name in :func:`matrix_sizes`."""
        return (self.matrix_bits or {}).get(matrix, self.weight_bits)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values, in field order."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: _plain(value) for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "QuantConfig":
        """Inverse of :meth:`to_dict`; formats may be text, unknown keys are errors."""
        known = {f.name: f.type for f in fields(cls)}
        for name in values:
            if name not in known:
                raise ConfigError(f"quantize.{name}", "unknown key", f"must be one of {', '.join(known)}")
        return cls(
            **{name: _parsed(value) if QFormat in _types(known[name]) else value for name, value in values.items()}
        )


def _parsed(value):
    if isinstance(value, list | tuple):
        return tuple(_parsed(item) for item in value)
    return QFormat.parse(value) if isinstance(value, str) else value


def _plain(value):
    if isinstance(value, tuple):
        return [str(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return str(value) if isinstance(value, QFormat) else value


def _types(annotation):
    """The types that a field's annotation allows."""
    return typing.get_args(annotation) or (annotation,)


def matrix_sizes(model: FloatModel) -> dict[str, int]:
    """Weights of each matrix, by the names of ``QuantConfig.matrix_bits``, the first layer first."""
    layers = enumerate(model.layers)
    sizes = {f"{n}.{name}": getattr(layer, name).size for n, layer in layers for name in ("w_x", "w_h")}
    return sizes | ({} if model.head is None else {HEAD: model.head.weight.size})


class FloatRuns:
    """The float model's runs of a calibration set, kept for all configurations that are tried with it.

    Parameters
    ----------
    model : FloatModel
    calibration : float array (N, T, Lx)

    Raises
    ------
    InputError
        The calibration set has the wrong shape or holds NaN or infinity.
    """

    def __init__(self, model: FloatModel, calibration: np.ndarray):
        self.model, self.calibration = model, checked_sequences("calibration", calibration, model.input_size)
        self.sample = self.calibration[: _sample_size(model, self.calibration)]

    @cached_property
    def survey(self) -> Survey:
        """How values are spread, and the outputs for the sample."""
        return survey(self.model, self.calibration, len(self.sample))

    @cached_property
    def vectors(self) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
        """What the matrices multiply: some x and h of the step before of each layer, and h of a head."""
        return _vectors(self.model, self.calibration[:SAMPLE])


def quantize(
    model: FloatModel,
    calibration: np.ndarray,
    config: QuantConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
    tell: Callable[[str], None] | None = None,
    runs: FloatRuns | None = None,
) -> QuantModel:
    """Quantise a trained model.

    Formats that the configuration leaves open follow the calibration set; see :mod:`.calibrate`. The input format holds
    ``headroom`` times the calibration set's peak, after inputs of unlike range are scaled by powers of two where
    that pays; see ``QuantConfig.scale_inputs``. A weight format holds its matrix's peak; how the two
    matrices of a layer come to the accumulator's one fraction, ``QuantConfig.fractions`` says. The
    output format holds ``OUTPUT_HEADROOM`` times the calibration set's peak, or what the head can reach
    at all if that is less, and rounds as ``preact`` does, since the hardware has one rounding unit for both.

    Parameters
    ----------
    model : FloatModel
    calibration : float array (N, T, Lx)
        Inputs that are typical of use.
    config : QuantConfig, optional
    progress : callable, optional
        Called as ``progress(done, total)`` after each layer, the head included.
    tell : callable, optional
        Called as ``tell(line)`` with each format that was chosen, and why.
    runs : FloatRuns, optional
        Of this model and calibration set, where several configurations are tried.

    Returns
    -------
    QuantModel

    Raises
    ------
    InputError
        The calibration set has the wrong shape or holds NaN or infinity.
    FormatError
        A given format cannot hold the calibration set's inputs or outputs, or no format of the given
        width holds a weight.
    ConfigError
        ``hidden`` has not one format a layer, or ``matrix_bits`` names a matrix that is not there.
    """
    runs = runs or FloatRuns(model, calibration)
    calibration, sample, found = runs.calibration, runs.sample, runs.survey
    config = _checked(config or QuantConfig(), model, runs)
    outputs = max(-found.low, found.high)

    def error(qmodel):
        stored, _ = integer_reference(qmodel, qmodel.quantize_input(sample))
        return float(np.square(qmodel.dequantize_output(stored) - found.outputs).mean())

    def quantized(config, exponents=None, progress=None):
        if exponents is None:
            return _quantize(model, calibration, outputs, config, runs.vectors, progress)
        (x, h), *others = runs.vectors[0]
        vectors = [(x * np.exp2(exponents), h), *others], runs.vectors[1]
        first = replace(model.layers[0], w_x=model.layers[0].w_x / np.exp2(exponents))
        of_scaled = replace(model, layers=(first, *model.layers[1:]))
        qmodel = _quantize(of_scaled, calibration * np.exp2(exponents), outputs, config, vectors, progress)
        return replace(qmodel, input_exponents=exponents)

    # One after the other: formats of values, with few bits of weights used as well as can be; scales of the inputs;
    # weights.
    ways = _weight_ways(config)
    finest = ways[-1] if _has_few(config) else ways[0]
    large = sum(layer.w_x.size + layer.w_h.size for layer in model.layers) > MEASURED_WEIGHTS
    measured = None if large else lambda config: error(quantized(replace(config, **finest)))
    given, reasons = chosen_formats(found, config, measured)
    given = replace(given, **ways[0])
    scaled = {None: quantized(given, progress=progress)}
    for line in (_room(calibration, scaled[None].input_format), *reasons) if tell else ():
        tell(line)
    if config.scale_inputs:
        others = _input_scales(calibration, scaled[None].input_format)
        scaled |= {exponents: quantized(given, exponents) for exponents in others}
    exponents = min(scaled, key=lambda scales: error(scaled[scales])) if len(scaled) > 1 else None
    qmodels = [scaled[exponents], *(quantized(replace(given, **way), exponents) for way in ways[1:])]
    return _nearest_enough(ways, qmodels, error)


def _nearest_enough(ways, qmodels, error):
    """Of models by ways to round weights the one whose fractions take least hardware, and whose rounding is plainest,
    among those whose errors are near the least."""
    digests = [qmodel.digest() for qmodel in qmodels]
    if len(set(digests)) == 1:
        return qmodels[0]
    of_digest = {digest: error(qmodel) for digest, qmodel in zip(digests, qmodels, strict=True)}
    errors = [of_digest[digest] for digest in digests]
    bound = NEAR * min(errors)
    fractions = next(way["fractions"] for way, its in zip(ways, errors, strict=True) if its <= bound)
    alike = [
        (its, qmodel) for way, its, qmodel in zip(ways, errors, qmodels, strict=True) if way["fractions"] == fractions
    ]
    bound = NEAR * min(its for its, _ in alike)
    return next(qmodel for its, qmodel in alike if its <= bound)


def _checked(config, model, runs):
    """The configuration with the width of the engine; an error if it does not fit model and calibration set."""
    found, matrices = runs.survey, matrix_sizes(model)
    for name in config.matrix_bits or ():
        if name not in matrices:
            raise ConfigError("quantize.matrix_bits", repr(name), f"must be one of {', '.join(matrices)}")
    if config.input_format is not None and not config.input_format.holds(runs.calibration):
        rule = f"must hold the calibration set, which reaches {np.abs(runs.calibration).max():g}"
        raise FormatError("quantize.input_format", config.input_format, rule)
    for name in OF_LAYERS:
        formats = getattr(config, name)
        if isinstance(formats, tuple) and len(formats) != len(model.layers):
            given, rule = f"{len(formats)} formats", f"must be one, or one for each of {len(model.layers)} layers"
            raise ConfigError(f"quantize.{name}", given, rule)
    if config.output is not None and model.head is not None and not config.output.holds([found.low, found.high]):
        rule = f"must hold the outputs for the calibration set, which reach {max(-found.low, found.high):g}"
        raise FormatError("quantize.output", config.output, rule)
    return replace(config, weight_bits=max(map(config.bits_of, matrices)))


def _has_few(config):
    """Whether some weights are so short that formats of values are judged with weights rounded with all care."""
    return min((config.weight_bits, *(config.matrix_bits or {}).values())) < ENOUGH_BITS


def _weight_ways(config):
    """Fields of the configuration that say how weights are rounded, the least hardware first."""
    ways, roundings = (config.fractions,), (config.rounding,)
    if config.operand_bits != 16:
        ways = FRACTIONS[:1]
    elif config.fractions == "auto":
        ways = FRACTIONS
    if config.rounding == "auto":
        roundings = ROUNDINGS
    return [{"fractions": way, "rounding": rounding} for way in ways for rounding in roundings]


def _room(calibration, number_format):
    peak = float(np.abs(calibration).max())
    reach = number_format.highest * number_format.lsb
    much = f", which is {reach / peak:.3g} times as much" if peak else ""
    return f"x: {number_format}, for values up to {peak:.3g}; holds {reach:.3g}{much}"


def _sample_size(model, calibration):
    """Sequences that a choice is judged by."""
    products = calibration.shape[1] * sum(layer.w_x.size + layer.w_h.size for layer in model.layers)
    return max(1, min(SAMPLE, SAMPLE_PRODUCTS // products))


def _input_scales(calibration, number_format):
    """Exponents that bring all inputs to the range of the largest, and half of that; none if ranges are alike."""
    bits = bits_of_inputs(calibration, number_format)
    if all(b is None or b >= number_format.width / 2 for b in bits):
        return []
    peaks = np.abs(calibration).max(axis=(0, 1))
    room = np.floor(np.log2(np.divide(peaks.max(), peaks, out=np.ones_like(peaks), where=peaks > 0)))
    room = np.minimum(room, EXPONENT_LIMIT).astype(int)
    return [tuple(map(int, room)), tuple(map(int, room // 2))]


def _quantize(model, calibration, outputs, config, of_matrices, progress=None):
    total = len(model.layers) + (model.head is not None)
    x_format = _input_format(calibration, config)
    vectors, of_head = of_matrices
    layers = []
    for number, weights in enumerate(model.layers):
        of_layer = config.of_layer(number)
        layers.append(_quantize_lstm(weights, x_format, of_layer, number, *vectors[number]))
        x_format = of_layer.hidden
        if progress:
            progress(number + 1, total)
    head = None
    if model.head is not None:
        head = _quantize_head(model.head, outputs, of_layer, of_head)
        if progress:
            progress(total, total)
    return QuantModel(tuple(layers), head, model.head_every_step, config.activation)


def quantization_report(
    model: FloatModel,
    qmodel: QuantModel,
    x: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
    curves: dict[str, list[tuple[np.ndarray, np.ndarray]]] | None = None,
) -> tuple[dict[str, Any], tuple[np.ndarray, np.ndarray]]:
    """Compare a quantised model with the float model that it came from.

    Parameters
    ----------
    model : FloatModel
    qmodel : QuantModel
    x : float array (N, T, Lx)
    progress : callable, optional
        Called as ``progress(done, total)`` with sequences.
    curves : dict, optional
        Filled: ``pre``, ``c``, ``h`` -> for each layer, the largest and the RMS error of every step, two (T,) arrays.

    Returns
    -------
    report : dict
        ``input``: ``clipped``. ``layers``: for each, ``pre``, ``c`` and ``h`` and, by gate, ``i``, ``f``, ``g`` and
        ``o`` of ``pre``: dicts of ``max``, ``mean`` and ``rms`` absolute error over all steps, ``sequence`` and
        ``step`` of the largest, and ``clipped``; and ``zeroed``, by matrix. ``head``: ``zeroed``; None without one.
        ``output``: as of a place, and ``peak`` (the largest magnitude of the float model's) and ``histogram``, of the
        absolute errors in units of the output's last bit: ``edges``, from 0, each twice the one before, and ``counts``
        between them. ``clipped`` is the share of values that were rounded to what their format does not hold,
        ``zeroed`` the share of weights that are not 0 and became 0.
    outputs : (float64 array, int64 array)
        Those of the float model, and the stored integers of the quantised one.
    """
    x = checked_sequences("x", x, model.input_size)
    clipped, outputs = Counter(), []
    errors = [{place: _Errors() for place in (*GATE_ORDER, "c", "h")} for _ in qmodel.layers]
    # Traces take memory: of so many sequences at a time.
    block = max(1, TRACED // (x.shape[1] * 4 * max(model.hidden_sizes)))
    for first in range(0, len(x), block):
        part, exact, rounded = x[first : first + block], {}, {}
        expected, _ = float_reference(model, part, trace=exact)
        found, _ = integer_reference(qmodel, qmodel.quantize_input(part), trace=rounded, clipped=clipped)
        outputs.append((expected, found))
        for number, layer in enumerate(qmodel.layers):
            for place, name in PLACES.items():
                real, wanted = getattr(layer, name).to_float(rounded[number][place]), exact[number][place]
                names = GATE_ORDER if place == "pre" else (place,)
                parts = zip(*(np.split(values, len(names), axis=2) for values in (real, wanted)), strict=True)
                for each, pair in zip(names, parts, strict=True):
                    errors[number][each].add(*pair, first)
        if progress:
            progress(min(first + block, len(x)), len(x))
    exact, stored = map(np.concatenate, zip(*outputs, strict=True))
    for found in errors:
        found["pre"] = _Errors.of([found[gate] for gate in GATE_ORDER])
    for number in range(len(errors)):
        clipped[number, "pre"] = sum(clipped[number, gate] for gate in GATE_ORDER)
    layers = [
        {
            **{place: found.to_dict(clipped[number, place]) for place, found in errors[number].items()},
            "zeroed": {name: _zeroed(getattr(weights, name), getattr(layer, name)) for name in ("w_x", "w_h")},
        }
        for number, (layer, weights) in enumerate(zip(qmodel.layers, model.layers, strict=True))
    ]
    if curves is not None:
        curves |= {place: [found[place].curves for found in errors] for place in PLACES}
    real = qmodel.dequantize_output(stored)
    every_step = (slice(None), None) if exact.ndim == 2 else ...
    output = _Errors()
    output.add(real[every_step], exact[every_step], 0)
    last = clipped["output"] if model.head is not None else clipped[len(layers) - 1, "h"]
    report = {
        "input": {"clipped": qmodel.input_format.count_clipped(qmodel.scaled_input(x)) / x.size},
        "layers": layers,
        "head": None if model.head is None else {"zeroed": _zeroed(model.head.weight, qmodel.head.weight)},
        "output": {
            **output.to_dict(last),
            "peak": float(np.abs(exact).max()),
            **({"step": x.shape[1] - 1} if exact.ndim == 2 else {}),
            "histogram": _histogram(np.abs(real - exact) / qmodel.output_format.lsb),
        },
    }
    return report, (exact, stored)


def _histogram(errors):
    """How many errors, in units of the last bit, are between 0, 1/2, 1, 2 and so on up to the largest."""
    doubled = int(np.ceil(np.log2(max(0.5, errors.max())))) + 1
    edges = [0.0, *(2.0**n for n in range(-1, doubled))]
    edges += [2 * edges[-1]] if errors.max() >= edges[-1] else []
    return {"edges": edges, "counts": np.histogram(errors, edges)[0].tolist()}


PLACES = {"pre": "preact", "c": "cell", "h": "hidden"}
"""Where values of a layer are rounded -> the field with their format."""


def _zeroed(weights, stored):
    return float(np.mean((weights != 0) & (stored == 0)))


class _Errors:
    """Absolute errors, by step, of values (N, T, ...) that come in parts of N."""

    def __init__(self):
        self.count, self.largest, self.total, self.squares = 0, 0.0, 0.0, 0.0
        self.worst = (-1.0, 0, 0)  # the largest, its sequence and its step

    @classmethod
    def of(cls, parts):
        """Those of several kinds of value, of the same steps."""
        errors = cls()
        errors.count, errors.total = sum(part.count for part in parts), sum(part.total for part in parts)
        errors.largest = np.maximum.reduce([part.largest for part in parts])
        errors.squares = sum(part.squares for part in parts)
        errors.worst = max((part.worst for part in parts), key=lambda worst: worst[0])
        return errors

    def add(self, found, expected, first):
        """``first`` is the number of the first sequence."""
        difference = np.abs(found - expected)
        others = (0, *range(2, difference.ndim))
        self.count += difference.size
        self.largest = np.maximum(self.largest, difference.max(axis=others))
        self.total += float(difference.sum())
        self.squares = self.squares + np.square(difference).sum(axis=others)
        at = np.unravel_index(difference.argmax(), difference.shape)
        if difference[at] > self.worst[0]:
            self.worst = (float(difference[at]), first + int(at[0]), int(at[1]))

    @property
    def curves(self):
        """Largest and RMS error of every step."""
        return self.largest, np.sqrt(self.squares * len(self.squares) / self.count)

    def to_dict(self, clipped):
        return {
            "max": self.worst[0],
            "mean": self.total / self.count,
            "rms": float(np.sqrt(self.squares.sum() / self.count)),
            "sequence": self.worst[1],
            "step": self.worst[2],
            "clipped": clipped / self.count,
        }


def _input_format(calibration, config):
    if config.input_format is not None:
        return config.input_format
    peak = float(np.max(np.abs(calibration)))
    if peak == 0:
        raise FormatError("calibration", "all inputs are 0", "must hold typical inputs, or input_format must be given")
    return fitting("calibration", peak * config.headroom, config.operand_bits)


def bits_of_inputs(calibration: np.ndarray, number_format: QFormat) -> list[int | None]:
    """Bits, with the sign, that each input's peak takes of the format that all share; None of one that is always 0.

    Parameters
    ----------
    calibration : float array (N, T, Lx)
    number_format : QFormat
    """
    peaks = np.abs(calibration).max(axis=(0, 1))
    stored = number_format.quantize(peaks)
    return [1 + int(value).bit_length() if peak else None for value, peak in zip(stored, peaks, strict=True)]


def _quantize_lstm(weights, x_format, config, number, x, h):
    source = f"layer {number}"

    def build(rounding):
        return QuantLstm(
            *rounding.stored,
            x_format,
            config.hidden,
            *rounding.weights,
            rounding.bias,
            rounding.accumulator,
            config.preact,
            config.activation_format,
            config.cell,
            config.hidden,
            source,
            rounding.rows,
        )

    products = [
        Product(name, config.bits_of(f"{number}.{name}"), getattr(weights, name), operand, vectors)
        for name, operand, vectors in (("w_x", x_format, x), ("w_h", config.hidden, h))
    ]
    return rounded_layer(config, weights.bias, products, source, build)


def _quantize_head(weights, outputs, config, h):
    reach = np.abs(weights.weight).sum(axis=1) * 2.0**config.hidden.integer + np.abs(weights.bias)
    peak = min(OUTPUT_HEADROOM * outputs, float(reach.max()))

    def build(rounding):
        # More fraction bits than the sums have would be zeros.
        most = min(fitting("head outputs", peak, VALUE_BITS).fraction, rounding.accumulator)
        chosen = replace(config.preact, integer=VALUE_BITS - 1 - most, fraction=most)
        return QuantDense(
            *rounding.stored,
            config.hidden,
            *rounding.weights,
            rounding.bias,
            rounding.accumulator,
            config.output or chosen,
            HEAD,
            rounding.rows,
        )

    product = Product("weight", config.bits_of(HEAD), weights.weight, config.hidden, h)
    return rounded_layer(config, weights.bias, [product], HEAD, build)


def _vectors(model, sample):
    """What the matrices multiply in the float model: some x and h of the step before of each layer, and h of a head."""
    trace = {}
    float_reference(model, sample, trace=trace)
    size = sample.shape[0] * sample.shape[1]
    chosen = np.arange(0, size, max(1, size // VECTORS))
    below, found = sample, []
    for number in range(len(model.layers)):
        h = trace[number]["h"]
        before = np.concatenate([np.zeros_like(h[:, :1]), h[:, :-1]], axis=1)
        found.append(tuple(values.reshape(size, -1)[chosen] for values in (below, before)))
        below = h
    return found, below.reshape(size, -1)[chosen]
