"""Post-training quantisation: number formats from a calibration set, then rounding of the weights.

Scales are powers of two, one a tensor, so that every rounding is a shift. Products and sums stay exact;
what rounds is the input, the weights, the pre-activations, the results of the activations, c, h and the
head's outputs, each in its own format.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from itertools import count

import numpy as np

from ..errors import ConfigError, FormatError
from ..machine.arrangement import OF_X, waited
from ..machine.formats import QFormat
from ..machine.limits import FACTOR_BITS, PEEPHOLES, ROW_BITS, VALUE_BITS
from .calibrate import ENOUGH_BITS, NEAR, Survey, chosen_formats, dense_format, survey
from .float_model import FloatModel, cells_of
from .fractions import FRACTIONS, ROUNDINGS, Product, fitting, rounded_layer
from .functions import SIGMOIDS, USUAL, unit_for
from .quant_config import OF_LAYERS, QuantConfig
from .quant_layer import LOOKED_UP, OF_PREACT, RECURRENT, QuantDense, QuantPlain, QuantSkip
from .quant_model import EXPONENT_LIMIT, QuantModel
from .reference import checked_sequences, float_reference, integer_reference
from .sources import Vectors, common_format, with_input

SAMPLE = 256
"""Sequences of the calibration set that a choice between ways of rounding is judged by, at most."""
SAMPLE_PRODUCTS = 1 << 26
"""Products of a run of them, at most, or one sequence."""
VECTORS = 4096
"""Vectors of the sample that statistics are taken of."""
MEASURED_WEIGHTS = 1 << 22
"""Weights of a model up to which formats are chosen by measured errors; of a larger one, by the values alone."""
OUTPUT_HEADROOM = 2.0
"""Head outputs may exceed the calibration set's peak by this factor."""


def matrix_sizes(model: FloatModel) -> dict[str, int]:
    """Weights of each matrix, by the names of ``QuantConfig.matrix_bits``, the first layer first."""
    layers = enumerate(model.layers)
    sizes = {f"{n}.{name}": getattr(layer, name).size for n, layer in layers for name in ("w_x", "w_h")}
    sizes = {name: size for name, size in sizes.items() if size}
    return sizes | {name: layer.weight.size for name, layer in model.named_linear.items()}


class FloatRuns:
    """The float model's runs of a calibration set, kept for all configurations that are tried with it.

    Attributes
    ----------
    model, calibration
        As the engine has them: without the model's arrangement, which is done.

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
        checked = checked_sequences("calibration", calibration, model.input_size)
        self.model, self.calibration = model.as_run, model.arrangement.x(checked)
        self.sample = self.calibration[: _sample_size(model, self.calibration)]

    @cached_property
    def survey(self) -> Survey:
        """How values are spread, and the outputs for the sample."""
        return survey(self.model, self.calibration, len(self.sample))

    @cached_property
    def vectors(self) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[np.ndarray]]:
        """What the matrices multiply: some x and h of the step before of each layer, and what each linear one reads."""
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
    runs, arrangement = runs or FloatRuns(model, calibration), model.arrangement
    model, calibration, sample, found = runs.model, runs.calibration, runs.sample, runs.survey
    config = _checked(config or QuantConfig(), model, runs)

    def error(qmodel):
        stored, _ = integer_reference(qmodel, qmodel.quantize_input(sample))
        return float(np.square(qmodel.dequantize_output(stored) - found.outputs).mean())

    def quantized(config, exponents=None, progress=None):
        if exponents is None:
            return _quantize(model, calibration, found, config, runs.vectors, progress)
        (x, h), *others = runs.vectors[0]
        vectors = [(x * np.exp2(exponents), h), *others], runs.vectors[1]
        first = replace(model.layers[0], w_x=model.layers[0].w_x / np.exp2(exponents))
        (_, *layers), linear = with_input(model, np.exp2(-np.array(exponents)))
        of_scaled = replace(model, layers=(first, *layers), **linear)
        if model.head is not None and model.head.skip is not None:
            of_scaled = replace(of_scaled, head=replace(model.head, skip=model.head.skip / np.exp2(exponents)))
        qmodel = _quantize(of_scaled, calibration * np.exp2(exponents), found, config, vectors, progress)
        return replace(qmodel, input_exponents=exponents)

    # One after the other: formats of values, with few bits of weights used as well as can be; scales of the inputs;
    # weights.
    ways = _weight_ways(config)
    finest = ways[-1] if _has_few(config) else ways[0]
    large = sum(layer.w_x.size + layer.w_h.size for layer in model.layers) > MEASURED_WEIGHTS
    measured = None if large else lambda config: error(quantized(replace(config, **finest)))
    given, reasons = chosen_formats(found, config, measured)
    unread = ("cell", "hidden") if not cells_of(model.layers) else ()
    told = "is not used: it is of LSTM and GRU layers, and there are none"
    reasons += [f"quantize.{name} {told}" for name in unread if getattr(config, name) is not None]
    given = replace(given, **ways[0])
    _check_states(model, given)
    scaled = {None: quantized(given, progress=progress)}
    formats = _formats(model, calibration, found, given)
    reasons += _told_near(model, config, formats, _brought_near(model, formats, given))
    if model.functions != USUAL:
        reasons.append(f"activation unit: {given.activation}, since gates have {' and '.join(model.functions)}")
    for line in (_room(calibration, scaled[None].input_format), *reasons) if tell else ():
        tell(line)
    if config.scale_inputs:
        others = _input_scales(calibration, scaled[None].input_format)
        scaled |= {exponents: quantized(given, exponents) for exponents in others}
    exponents = min(scaled, key=lambda scales: error(scaled[scales])) if len(scaled) > 1 else None
    qmodels = [scaled[exponents], *(quantized(replace(given, **way), exponents) for way in ways[1:])]
    return replace(_nearest_enough(ways, qmodels, error), arrangement=arrangement)


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
        cells = len(cells_of(model.layers))
        if isinstance(formats, tuple) and len(formats) != cells:
            rule = (
                f"must be one, or one for each of {cells} layers of cells"
                if cells
                else "must be one: there are no cells"
            )
            given = f"{len(formats)} formats"
            raise ConfigError(f"quantize.{name}", given, rule)
    if config.output is not None and model.head is not None and not config.output.holds([found.low, found.high]):
        rule = f"must hold the outputs for the calibration set, which reach {max(-found.low, found.high):g}"
        raise FormatError("quantize.output", config.output, rule)
    activation = unit_for(model.functions, config.activation)
    return replace(config, weight_bits=max(map(config.bits_of, matrices)), activation=activation)


def _check_states(model, config):
    """Refuse an h or c to begin from that its format does not hold; h of few bits may be clipped within -1 and 1."""
    for number, layer in enumerate(cells_of(model.layers)):
        for key, name, values in zip(("hidden", "cell"), "hc", layer.initial or (), strict=False):
            formats = getattr(config, key)
            held = formats[number] if isinstance(formats, tuple) else formats
            few = key == "hidden" and held.width < ENOUGH_BITS
            _check_state(f"{layer.source}: initial {name}", values, held, f"quantize.{key} = {held}", 1.0 if few else 0)


def _check_state(subject, values, held, told, least=0.0):
    """Refuse values to begin from that a format does not hold; magnitudes of ``least`` may be clipped."""
    peak = float(np.abs(values).max())
    if peak > max(least, (held.highest + 1) * held.lsb):
        raise FormatError(
            subject, f"magnitude {peak:.4g}", f"must be at most {held.highest * held.lsb:.4g}, as {told} holds"
        )


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
    steps = max(calibration.shape[1], model.arrangement.repeats)
    products = steps * sum(layer.w_x.size + layer.w_h.size for layer in model.layers)
    return max(1, min(SAMPLE, SAMPLE_PRODUCTS // products))


def _input_scales(calibration, number_format):
    """Exponents that bring all inputs to the range of the largest, and half of that; none if ranges are alike."""
    bits = bits_of(calibration, number_format)
    if all(b is None or b >= number_format.width / 2 for b in bits):
        return []
    peaks = np.abs(calibration).max(axis=(0, 1))
    room = np.floor(np.log2(np.divide(peaks.max(), peaks, out=np.ones_like(peaks), where=peaks > 0)))
    room = np.minimum(room, EXPONENT_LIMIT).astype(int)
    return [tuple(map(int, room)), tuple(map(int, room // 2))]


def _quantize(model, calibration, found, config, of_matrices, progress=None):
    total = len(model.layers) + len(model.linear)
    formats = _brought_near(model, _formats(model, calibration, found, config), config)
    vectors, of_linear = of_matrices
    layers, cells, of_plain = [], count(), config.of_plain
    peepholes = _peephole_format(model.layers, of_plain.preact)
    for number, weights in enumerate(model.layers):
        x_format, hidden = _read_format(weights, formats[: number + 1]), formats[number + 1]
        if weights.KIND == "plain":
            layers.append(_quantize_plain(weights, x_format, hidden, of_plain, number, *vectors[number]))
        else:
            of_layer = replace(config.of_layer(next(cells)), hidden=hidden)
            of_vectors = x_format, formats[number + 2] if weights.projected else hidden, peepholes
            layers.append(_quantize_recurrent(weights, *of_vectors, of_layer, number, *vectors[number]))
        if progress:
            progress(number + 1, total)
    linear, x, x_format = [], (layers[0].x_format, vectors[0][0]), layers[-1].hidden
    for number, (name, weights) in enumerate(model.named_linear.items()):
        spread = None if weights is model.head else found.dense[number]
        x_format = _read_format(weights, formats) if weights.sources else x_format
        outputs = max(-found.low, found.high)
        linear.append(_quantize_dense(weights, x_format, spread, outputs, of_plain, name, of_linear[number], *x))
        x_format = linear[-1].output
        if progress:
            progress(len(layers) + number + 1, total)
    head = linear.pop() if linear else None
    arranged = {"dense": tuple(linear), "arrangement": model.arrangement}
    return QuantModel(tuple(layers), head, model.head_every_step, config.activation, **arranged)


def _formats(model, calibration, found, config):
    """Formats of x and of each layer's h."""
    formats, cells = [_input_format(calibration, config)], count()
    for weights, spreads in zip(model.layers, found.layers, strict=True):
        if weights.KIND == "plain":
            formats.append(_plain_format(weights, spreads["plain"], config.of_plain))
        else:
            formats.append(config.of_layer(next(cells)).hidden)
    return formats


def _read_format(weights, formats):
    """Format of what a layer reads, from those of x and of each h in front of it."""
    return common_format([formats[source + 1] for source in weights.sources]) if weights.sources else formats[-1]


def _brought_near(model, formats, config):
    """Formats of x and of each h; of those that a layer reads side by side, none has so many more fraction bits than
    another that the lanes could not multiply them by one weight."""
    formats, most = [*formats], 0 if config.operand_bits != 16 else FACTOR_BITS - config.operand_bits - ROW_BITS
    readers = [layer for layer in (*model.layers, *model.linear) if layer.sources]
    for _ in range(len(formats)):  # what one loses, others that are read with it may lose
        for layer in readers:
            bound = min(formats[source + 1].fraction for source in layer.sources) + most
            for source in layer.sources:
                before = formats[source + 1]
                fraction = min(before.fraction, bound)
                _check_free(model, source, before, fraction)
                formats[source + 1] = replace(before, integer=before.width - 1 - fraction, fraction=fraction)
    return formats


def _check_free(model, source, number_format, fraction):
    """Refuse to make the outputs of an activation that is looked up coarser: they have its format."""
    if source == OF_X or fraction == number_format.fraction:
        return
    if getattr(model.layers[source], "activation", "none") in OF_PREACT:
        found = f"{number_format} beside what has {fraction} fraction bits at most"
        rule = "must be read with operands of 16 bits, or beside values that have fewer integer bits"
        raise FormatError(f"layer {source}: hidden", found, rule)


def _told_near(model, config, formats, near):
    """What is told of formats that others made coarser; an error where that of x, or of the h of cells, was given."""
    if config.input_format not in (None, near[0]):
        rule = f"must have at most {near[0].fraction} fraction bits: a layer reads x beside what has fewer"
        raise FormatError("quantize.input_format", config.input_format, rule)
    for number, (layer, before, after) in enumerate(zip(model.layers, formats[1:], near[1:], strict=True)):
        if config.hidden is not None and layer.KIND != "plain" and before != after:
            rule = f"must have at most {after.fraction} fraction bits: a layer reads h of layer {number} beside such"
            raise FormatError("quantize.hidden", before, rule)
    for source, (before, after) in enumerate(zip(formats, near, strict=True), -1):
        name = "x" if source < 0 else f"h of layer {source}"
        if before != after:
            yield f"{name}: {after} instead of {before}, since a layer reads it beside what has fewer fraction bits"


def _input_format(calibration, config):
    if config.input_format is not None:
        return config.input_format
    peak = float(np.max(np.abs(calibration)))
    if peak == 0:
        raise FormatError("calibration", "all inputs are 0", "must hold typical inputs, or input_format must be given")
    return fitting("calibration", peak * config.headroom, config.operand_bits)


def bits_of(values: np.ndarray, number_format: QFormat) -> list[int | None]:
    """Bits, with the sign, that the peak of each input or output takes of the format that all share; None of one that
    is always 0.

    Parameters
    ----------
    values : float array (N, T, Lx)
    number_format : QFormat
    """
    peaks = np.abs(values).max(axis=(0, 1))
    stored = number_format.quantize(peaks)
    return [1 + int(value).bit_length() if peak else None for value, peak in zip(stored, peaks, strict=True)]


def _plain_format(weights, spread, config):
    """Format of the outputs of a plain layer, whose magnitudes are ``spread``."""
    width = config.operand_bits
    if weights.activation in LOOKED_UP:
        integer = config.activation_format.integer
    elif weights.activation == "elu":
        integer = config.preact.integer
    else:
        integer = dense_format(spread, width).integer
        if weights.initial is not None:
            integer = max(integer, fitting(f"{weights.source}: initial h", weights.initial[0], width).integer)
    return replace(config.preact, integer=integer, fraction=width - 1 - integer)


def _quantize_plain(weights, x_format, hidden, config, number, x, h):
    initial = None
    if weights.initial is not None:
        _check_state(f"{weights.source}: initial h", weights.initial[0], hidden, f"the outputs' {hidden}")
        initial = (hidden.quantize(weights.initial[0]),) * 2
    products = [Product("w_x", config.bits_of(f"{number}.w_x"), weights.w_x, x_format, x)]
    if weights.w_h.size:
        products.append(Product("w_h", config.bits_of(f"{number}.w_h"), weights.w_h, hidden, h))

    def build(rounding):
        (w_x, *w_h, bias), (w_x_format, *w_h_format) = rounding.stored, rounding.weights
        fraction = rounding.accumulator - hidden.fraction  # of no weights
        none = replace(w_x_format, integer=w_x_format.width - 1 - fraction, fraction=fraction)
        return QuantPlain(
            w_x,
            *(w_h or [np.zeros(weights.w_h.shape, np.int64)]),
            bias,
            x_format,
            hidden,
            w_x_format,
            *(w_h_format or [none]),
            rounding.bias,
            rounding.accumulator,
            config.preact,
            config.activation_format,
            config.cell,
            hidden,
            f"layer {number}",
            rounding.rows,
            initial,
            activation=weights.activation,
            waits=weights.waits,
            sources=weights.sources,
        )

    return rounded_layer(config, weights.bias, products, f"layer {number}", build)


def _peephole_format(layers, preact):
    """Format of the peepholes of all layers, as wide as pre-activations; None without."""
    values = [layer.peepholes.ravel() for layer in layers if layer.peepholes is not None]
    if not values:
        return None
    integer = max(0, fitting("peepholes", np.concatenate(values), preact.width).integer)
    return replace(preact, integer=integer, fraction=preact.width - 1 - integer)


def _quantize_recurrent(weights, x_format, h_format, peephole_format, config, number, x, h):
    source = f"layer {number}"
    peepholes = {}
    if peephole_format:  # the cells of an engine are alike: a layer without them has zeros
        values = np.zeros((len(PEEPHOLES), weights.hidden_size)) if weights.peepholes is None else weights.peepholes
        peepholes = {"peepholes": peephole_format.quantize(values), "peephole_format": peephole_format}

    def build(rounding):
        return RECURRENT[weights.KIND](
            *rounding.stored,
            x_format,
            h_format,
            *rounding.weights,
            rounding.bias,
            rounding.accumulator,
            config.preact,
            config.activation_format,
            config.cell,
            config.hidden,
            source,
            rounding.rows,
            initial,
            weights.projected,
            waits=weights.waits,
            sources=weights.sources,
            **peepholes,
        )

    initial = None
    if weights.initial is not None:
        formats = config.hidden, config.cell
        initial = tuple(f.quantize(values) for f, values in zip(formats, weights.initial, strict=True))
    products = [
        Product(name, config.bits_of(f"{number}.{name}"), getattr(weights, name), operand, vectors)
        for name, operand, vectors in (("w_x", x_format, x), ("w_h", h_format, h))
    ]
    return rounded_layer(config, weights.bias, products, source, build)


def _quantize_dense(weights, v_format, spread, outputs, config, name, vectors, x_format, x):
    """A linear layer; one in front of the head has the ``spread`` of its outputs, the head their largest magnitude."""
    reach = np.abs(weights.weight).sum(axis=1) * 2.0**v_format.integer + np.abs(weights.bias)
    products = [Product("weight", config.bits_of(name), weights.weight, v_format, vectors)]
    if weights.skip is not None:
        reach += np.abs(weights.skip).sum(axis=1) * 2.0**x_format.integer
        products.append(Product("skip", config.bits_of(name), weights.skip, x_format, x, moves=False))
    peak = min(OUTPUT_HEADROOM * outputs, float(reach.max()))
    width = VALUE_BITS if spread is None else config.operand_bits

    def output(accumulator):
        if weights.activation in LOOKED_UP:
            return width - 1 - config.activation_format.integer
        if weights.activation == "elu":
            return width - 1 - config.preact.integer
        wanted = fitting("head outputs", peak, width) if spread is None else dense_format(spread, width)
        return min(wanted.fraction, accumulator)  # more fraction bits than the sums have would be zeros

    def build(rounding):
        most = output(rounding.accumulator)
        chosen = replace(config.preact, integer=width - 1 - most, fraction=most)
        (weight, *skip, bias), (w_format, *skip_format) = rounding.stored, rounding.weights
        given = config.output if spread is None else None
        values = (weight, bias, v_format, w_format, rounding.bias, rounding.accumulator, given or chosen)
        values = (*values, name, rounding.rows, weights.activation)
        if not skip:
            return QuantDense(*values, sources=weights.sources)
        return QuantSkip(
            *values, sources=weights.sources, skip=skip[0], skip_format=skip_format[0], skip_x_format=x_format
        )

    return rounded_layer(config, weights.bias, products, name, build)


def _vectors(model, sample):
    """What the matrices multiply in the float model: some x and h of the step before of each layer, and what each
    linear one reads."""
    trace = {}
    float_reference(model, sample, trace=trace)
    read, found = Vectors(model, sample), []
    for number, layer in enumerate(model.layers):
        below = waited(layer.waits, read.read(layer), model.arrangement)
        h = trace[number + layer.projected]["h"][..., : layer.w_h.shape[1]]
        first = np.zeros_like(h[:, :1])
        if h.shape[2] and (initial := model.layers[number + layer.projected].initial) is not None:
            first = first + initial[0]
        before = np.concatenate([first, h[:, :-1]], axis=1)
        if layer.reset_before:
            r = SIGMOIDS[model.functions[0]](trace[number]["pre"][..., : layer.hidden_size])
            before = np.concatenate([before, r * before], axis=2)
        found.append((_some(below), _some(before)))
        read.add(number, trace[number]["h"])
    below = read.read(model.linear[0] if model.linear else None)
    read = [below.reshape(len(sample), -1) if model.arrangement.steps else _some(below)]
    for number in range(len(model.layers), len(model.layers) + len(model.dense)):
        y = trace[number]["y"]
        y = y.reshape(-1, y.shape[2])
        read.append(y[:: -(-len(y) // VECTORS)])
    return found, read


def _some(vectors):
    """Some of the vectors (N, T, H), in rows."""
    size = vectors.shape[0] * vectors.shape[1]
    return vectors.reshape(size, vectors.shape[2])[np.arange(0, size, max(1, size // VECTORS))]
