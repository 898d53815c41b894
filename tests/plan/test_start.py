"""A sequence that begins from a stored state: proved, and the bits of the integer reference, in Verilog too."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import sim.play
from lstm_hw.errors import ConfigError, FormatError, ProgramError
from lstm_hw.machine.activation import make_activation
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.isa import SPACE_CONSTANT
from lstm_hw.machine.priming import priming
from lstm_hw.model.float_model import DenseWeights, FloatModel, GruWeights, LstmWeights, PlainWeights
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.plan.sizing import accumulator_bits, engine_formats, lifts_of, network_of, stored_weight_bits
from lstm_hw.proof.checker import check
from lstm_hw.verify.runs import ModelReference, Piece, image_words, scenario_of
from tests.builders import config_of
from tests.proof.test_checker import changed
from tests.sim.engines import emitted
from tests.simulators import QUICK

NARROW = QuantConfig(weight_bits=8)


def float_model(sizes=(3, 6), outputs=2, c=2.5, kind="lstm"):
    """Layers with an initial state each, and a head on every step."""
    rng, layers = np.random.default_rng(1), []
    for inputs, units in zip(sizes, sizes[1:], strict=False):
        if kind != "lstm":
            parts = (rng.normal(0, 0.4, (3 * units, *rest)) for rest in ((inputs,), (units,), (), ()))
            layers.append(GruWeights.of_gates(*parts, "layer", rng.uniform(-0.99, 0.99, units), kind == "reset"))
            continue
        shapes = ((4 * units, inputs), (4 * units, units), (4 * units,))
        initial = rng.uniform(-1, 1, units), rng.uniform(-c, c, units)
        layers.append(LstmWeights(*(rng.normal(0, 0.4, shape) for shape in shapes), initial=initial))
    head = DenseWeights(rng.normal(0, 0.3, (outputs, sizes[-1])), np.zeros(outputs))
    return FloatModel(tuple(layers), head, True)


def of_h_alone(sizes=(3, 6, 5, 4, 5), outputs=2):
    """Layers whose h is all that is kept, or that of a projection: plain RNNs, ReLU behind tanh, around an LSTM with a
    projection, each with an initial state."""
    rng, layers = np.random.default_rng(1), []

    def some(*shape):
        return rng.normal(0, 0.4, shape)

    inputs, first, units, projection, last = sizes
    for activation, size, below in (("tanh", first, inputs), ("relu", last, projection)):
        h = rng.uniform(-0.9, 0.9, size) * (1 if activation == "tanh" else 3)
        weights = some(size, below), some(size, size), some(size)
        layers.append(PlainWeights(*weights, "rnn", (h, h), activation=activation))
    c, h = rng.uniform(-2, 2, units), rng.uniform(-0.9, 0.9, projection)
    weights = some(4 * units, first), some(4 * units, projection), some(4 * units)
    lstm = LstmWeights(*weights, "lstm", (np.zeros(units), c), True)
    projected = PlainWeights(some(projection, units), np.zeros((projection, 0)), np.zeros(projection), "p", (h, h))
    head = DenseWeights(rng.normal(0, 0.3, (outputs, last)), np.zeros(outputs))
    return FloatModel((layers[0], lstm, projected, layers[1]), head, True)


def quantised(sizes=(3, 6), config=NARROW, model=None, **fields):
    model = model or float_model(sizes, **fields)
    x = np.random.default_rng(2).uniform(-1, 1, (2, 12, sizes[0]))
    return model, quantize(model, x, config), x


def planned(qmodel, planner=ResidentPlanner, **fields):
    network, weight_bits = network_of(qmodel), stored_weight_bits(qmodel)
    operand_bits = qmodel.input_format.width
    bits = accumulator_bits(network, weight_bits, operand_bits, max(lifts_of(qmodel)))
    values = {"rows": 8, "x_per_beat": 2, "accumulators": 64, "program_length": 512, "weight_bits": weight_bits}
    values |= {"h_elements": 128, "states": 128, "shifts": tuple(shape.shift for shape in network.layers)}
    config = config_of(**values | fields)
    return planner(network, replace(config, accumulator_bits=bits, **engine_formats(qmodel))).plan()


def scenario(plan, qmodel, x):
    x = qmodel.quantize_input(x[: plan.sequences])
    pieces = [Piece(x[:, :5]), Piece(x[:, 5:6], False), Piece(x[:, 6:], False), Piece(x[:, :2])]
    return scenario_of(plan, image_words(plan, qmodel), ModelReference(qmodel), pieces)


@pytest.mark.parametrize(
    "sizes, config, fields",
    [
        ((3, 6), QuantConfig(), {}),
        ((3, 6), QuantConfig(weight_bits=6, fractions="row"), {"contexts": 2}),
        ((3, 6), QuantConfig(weight_bits=8, operand_bits=8), {}),
        ((4, 5, 7), NARROW, {"rows": 16}),
    ],
)
@pytest.mark.parametrize("peak", [0.5, 30])
def test_the_bits_of_the_integer_reference(sizes, config, fields, peak):
    _, qmodel, x = quantised(sizes, config, c=peak)
    plan = planned(qmodel, **fields)
    check(plan)
    scenario(plan, qmodel, x)


@pytest.mark.parametrize("config, fields", [(NARROW, {}), (QuantConfig(cell=QFormat(0, 23)), {"contexts": 2})])
@pytest.mark.parametrize("kind", ["gru", "reset"])
def test_a_gru_begins_from_its_h(config, fields, kind):
    """One step from zero leads to c, of 16 and of 24 bits."""
    model, qmodel, x = quantised((3, 6, 4), config, kind=kind)
    given = [tuple(np.tile(values, (2, 1)) for values in layer.initial) for layer in model.layers]
    np.testing.assert_array_equal(float_reference(model, x)[0], float_reference(model, x, given)[0])
    plan = planned(qmodel, **fields)
    check(plan)
    scenario(plan, qmodel, x)


ROWBLOCK = partial(RowBlockPlanner, groups=2)
PINNED = partial(ConventionalPlanner, pinned=2)
BATCHES = partial(BatchPlanner, batch=3, pinned=1, tile_columns=2)


@pytest.mark.parametrize(
    "planner, fields",
    [(ConventionalPlanner, {}), (PINNED, {}), (ROWBLOCK, {"contexts": 2}), (BATCHES, {}), (BATCHES, {"contexts": 2})],
)
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_where_weights_stream(planner, fields, kind):
    model, qmodel, x = quantised((4, 6, 5), kind=kind)
    plan = planned(qmodel, planner, **fields)
    check(plan)
    scenario(plan, qmodel, x if plan.sequences < 3 else np.tile(x, (2, 1, 1)))


@pytest.mark.parametrize("planner", [ResidentPlanner, ConventionalPlanner, ROWBLOCK])
def test_plain_layers_and_projections(planner):
    model, qmodel, x = quantised(model=of_h_alone())
    given = [tuple(np.tile(values, (2, 1)) for values in layer.initial) for layer in model.layers]
    np.testing.assert_array_equal(float_reference(model, x)[0], float_reference(model, x, given)[0])
    plan = planned(qmodel, planner)
    check(plan)
    scenario(plan, qmodel, x)


@pytest.mark.parametrize("kind", ["lstm", "gru", "reset", "plain"])
def test_in_verilog(tmp_path, kind):
    _, qmodel, x = quantised(model=of_h_alone()) if kind == "plain" else quantised(kind=kind)
    plan = planned(qmodel, ResidentPlanner if kind == "gru" else ConventionalPlanner)
    played = scenario(plan, qmodel, x)
    sim.play.play(played, emitted(tmp_path, played), tmp_path / "scenario", simulator=QUICK)


def test_references_begin_from_it():
    model, qmodel, x = quantised()
    given = [tuple(np.tile(values, (2, 1)) for values in layer.initial) for layer in model.layers]
    np.testing.assert_array_equal(float_reference(model, x)[0], float_reference(model, x, given)[0])
    stored = [tuple(np.tile(values, (2, 1)) for values in layer.initial) for layer in qmodel.layers]
    for values, number_format, real in zip(stored[0], ("hidden", "cell"), model.layers[0].initial, strict=True):
        error = getattr(qmodel.layers[0], number_format).to_float(values[0]) - real
        assert np.abs(error).max() <= getattr(qmodel.layers[0], number_format).lsb / 2
    x = qmodel.quantize_input(x)
    for trace in (None, {}):
        np.testing.assert_array_equal(
            integer_reference(qmodel, x, trace=trace)[0], integer_reference(qmodel, x, stored, trace)[0]
        )
    zeros = [tuple(np.zeros_like(values) for values in pair) for pair in stored]
    assert (integer_reference(qmodel, x)[0] != integer_reference(qmodel, x, zeros)[0]).any()


def test_the_file_has_it(tmp_path):
    _, qmodel, _ = quantised()
    qmodel.save(tmp_path / "m.safetensors")
    again = QuantModel.load(tmp_path / "m.safetensors")
    assert again.digest() == qmodel.digest()
    for ours, theirs in zip(again.layers[0].initial, qmodel.layers[0].initial, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "wrong, rule",
    [
        ("stage", "must be separated by the h that was written after it"),
        ("entry", "row block 0 of layer 0 added to row block 1 of layer 0"),
        ("emit", "h of a stage; must not be written, and not be sent"),
        ("digit", "must be multiplied by their constants"),
    ],
)
def test_the_proof_sees_another_start(wrong, rule):
    _, qmodel, _ = quantised()
    plan = planned(qmodel)
    instructions = list(enumerate(plan.program.instructions))
    entry = plan.program.entries["run"]
    constants = [a for a, i in instructions if a > entry and i.op == "MAC" and i.space == SPACE_CONSTANT]
    cells = [a for a, i in instructions if a > entry and i.op == "CELL"]
    address, fields = {
        "stage": (cells[1], {"mode": 2}),
        "entry": (constants[-1], {"target": plan.program.instructions[constants[-1]].target - 1}),
        "emit": (cells[1], {"emit": 1}),
        "digit": (constants[0], {"operand": plan.program.instructions[constants[0]].operand - 1}),
    }[wrong]
    with pytest.raises(ProgramError, match=rule):
        check(changed(plan, address, **fields))


def test_not_every_schedule_has_one():
    _, qmodel, _ = quantised()
    with pytest.raises(ConfigError, match="'sacc' for a model with an initial state; must be one that is"):
        planned(qmodel, SaccPlanner, contexts=2)
    with pytest.raises(ConfigError, match="initial state: with thresholds"):
        replace(qmodel, thresholds=(0, 0))


def test_a_state_that_no_stages_lead_to():
    formats = QFormat(3, 12), QFormat(12, 4)
    with pytest.raises(FormatError, match="initial state: c of 2000; must be at most 7"):
        priming(np.array([2000 << 4]), make_activation("quadratic64"), *formats)


def test_a_state_that_formats_do_not_hold():
    """None is clipped in silence; formats of c that follow the data follow the state too."""
    model = float_model()
    h, c = model.layers[0].initial
    large = replace(model, layers=(replace(model.layers[0], initial=(h * 1.5 / np.abs(h).max(), c)),))
    x = np.random.default_rng(2).uniform(-1, 1, (2, 3, 3))
    with pytest.raises(FormatError, match="initial h: magnitude 1.5; must be at most 1, as quantize.hidden = Q0.15"):
        quantize(large, x)
    for config in (QuantConfig(), QuantConfig(operand_bits=8, weight_bits=8)):
        far = replace(model, layers=(replace(model.layers[0], initial=(h, c * 40)),))
        layer = quantize(far, x, config).layers[0]
        assert np.abs(layer.cell.to_float(layer.initial[1]) - c * 40).max() <= layer.cell.lsb
    with pytest.raises(FormatError, match="initial c: magnitude .*; must be at most 8, as quantize.cell = Q3.12"):
        quantize(far, x, QuantConfig(cell=QFormat(3, 12)))
    layer = model.layers[0]
    small = replace(layer, w_x=layer.w_x / 1000, w_h=layer.w_h / 1000, bias=layer.bias / 1000)
    small = replace(model, layers=(small,))
    qmodel = quantize(small, x)
    with pytest.raises(
        FormatError, match="initial state: weights of .* fraction bits in sums; .*quantize.preact fewer"
    ):
        network_of(qmodel)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("state", [0.2, 0.55, 0.98])
def test_small_sums_and_a_large_state(kind, state):
    """Pre-activations get the integer bits that the state needs, though all sums are below 1."""
    model = float_model(kind=kind)
    (layer,) = model.layers
    layer = replace(layer, w_x=layer.w_x / 8, w_h=layer.w_h / 8, bias=layer.bias / 8)
    model = replace(model, layers=(replace(layer, initial=(np.full(6, state),) * 2),))
    x = np.random.default_rng(2).uniform(-1, 1, (2, 3, 3))
    for preact in (None, QFormat(0, 15)):
        qmodel = quantize(model, x, QuantConfig(preact=preact))
        reached = preact is None or kind == "lstm" or state < 0.6
        if not reached:
            with pytest.raises(FormatError, match="no pair of results gives.*quantize.preact with more integer bits"):
                image_words(planned(qmodel), qmodel)
            continue
        plan = planned(qmodel)
        stored = qmodel.quantize_input(x)
        scenario_of(plan, image_words(plan, qmodel), ModelReference(qmodel), [Piece(stored[:1]), Piece(stored[1:])])
    with pytest.raises(
        FormatError, match="c of 3; must be at most 1.9.* with pre-activations of Q0.15; quantize.preact"
    ):
        priming(
            QFormat(3, 12).quantize(np.array([3.0])),
            make_activation("quadratic64", QFormat(0, 15)),
            QFormat(0, 15),
            QFormat(3, 12),
        )


@pytest.mark.parametrize("rounding", ["half_up", "half_even", "floor"])
@pytest.mark.parametrize("unit", ["quadratic64", "hard5/nonuniform(segments=16)", "plan"])
@pytest.mark.parametrize("peak", [0.5, 25])
def test_any_c_is_reached(rounding, unit, peak):
    """The stages as the cell computes them, by the formula."""
    preact, activated, cell = QFormat(3, 12), QFormat(0, 15), QFormat(5, 14, rounding=rounding)
    c = cell.quantize(np.random.default_rng(4).uniform(-peak, peak, 5))
    activation, now = make_activation(unit, preact, activated), np.zeros_like(c)
    found = priming(c, activation, preact, cell)
    for pre in [*[found.pre[0]] * found.repeats, found.pre[-1]]:
        i, f, g, _ = (activation.compute(values, n == 2) for n, values in enumerate(np.split(pre, 4)))
        total = (f * now << 1) + (i * g)  # 15 + 14 fraction bits, and 30
        now = cell.requantize(total, 30)
    np.testing.assert_array_equal(now, c)
