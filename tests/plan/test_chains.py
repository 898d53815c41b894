"""Chains of linear layers with activations, under every schedule: proved, and the bits of the integer reference."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, ModelError, ProgramError
from lstm_hw.machine.isa import MODE_LINEAR
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.model.delta import with_thresholds
from lstm_hw.model.float_model import DenseWeights, FloatModel
from lstm_hw.model.quantize import quantize
from lstm_hw.plan.choose import choose
from lstm_hw.plan.compressed import CompressedPlanner
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.delta import DeltaPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.fusion import FusionPlanner
from lstm_hw.plan.resources import estimate
from lstm_hw.plan.row_window import RowWindowPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.plan.sizing import accumulator_bits, engine_formats, network_of
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.verify.runs import ModelReference, Piece, image_words, scenario_of
from tests.builders import config_of, smallest_buffer
from tests.projects import float_model, with_chain
from tests.proof.test_checker import changed, where

SCHEDULES = {
    "resident": ResidentPlanner,
    "row blocks": RowBlockPlanner,
    "row blocks, 3 groups": lambda network, config: RowBlockPlanner(network, config, 3),
    "conventional": ConventionalPlanner,
    "pinned": lambda network, config: ConventionalPlanner(network, config, pinned=4),
    "sacc": SaccPlanner,
    "sacc, batch 2": lambda network, config: SaccPlanner(network, config, batch=2),
    "row window": lambda network, config: RowWindowPlanner(network, config, network.layers[0].blocks(config.rows)),
    "fusion": lambda network, config: FusionPlanner(network, config, 4),
    "blocking-batching": lambda network, config: BatchPlanner(network, config, 3, 2, tile_columns=2),
    "blocking-batching, case 2": lambda network, config: BatchPlanner(network, config, 3, 2, 2, tile_columns=2),
    "compressed": lambda network, config: CompressedPlanner(network, config, 2),
    "delta": DeltaPlanner,
}


SIZES = (21, 5, 6, 4, 3, 7)


def made(every_step, hidden=(13,), sizes=SIZES, **more):
    """A quantised model with a chain, and inputs."""
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, (6, 9, 6))
    model = with_chain(float_model(rng, inputs=6, hidden=hidden, outputs=0), every_step, sizes=sizes, **more)
    return quantize(model, x), x


def engine(model, network, **fields):
    values = {"rows": 16, "contexts": 2, "x_per_beat": 2, "h_elements": 512, "x_elements": 256, "states": 512}
    values |= {"accumulators": 128, "program_length": 512} | fields
    config = config_of(**values, shifts=tuple(shape.shift for shape in network.layers))
    return replace(config, accumulator_bits=accumulator_bits(network, 16), **engine_formats(model))


def plan_of(schedule, model, **fields):
    network = network_of(model)
    if schedule == "delta":
        fields |= {"contexts": 1, "x_per_beat": 1}
    if schedule == "compressed":
        fields |= {"contexts": 1, "decoder": "bitmap", "weight_words": 2048}
    return SCHEDULES[schedule](network, engine(model, network, **fields)).plan()


def runs_of(plan, model, x):
    x = model.quantize_input(x[: plan.sequences])
    pieces = [Piece(x[:, :4]), Piece(x[:, 4:5], False), Piece(x[:, 5:], False), Piece(x[:, :1])]
    return scenario_of(plan, image_words(plan, model), ModelReference(model), pieces, MemoryModel(5))


def check_bits(schedule, model, x, **fields):
    """The plan is proved, and has the bits of the integer reference from piece to piece."""
    plan = plan_of(schedule, model, **fields)
    check(plan)
    runs_of(plan, model, x)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("every_step", [False, True])
def test_bits_in_pieces(schedule, every_step):
    model, x = made(every_step)
    if schedule == "delta":
        model = with_thresholds(model, 0.1, [0.1])
    check_bits(schedule, model, x)


@pytest.mark.parametrize("schedule", ["conventional", "sacc"])
@pytest.mark.parametrize("every_step", [False, True])
def test_chains_whose_weights_stream(schedule, every_step):
    model, x = made(every_step, hidden=(5,), sizes=(80, 40, 4, 5, 3, 7))
    network = network_of(model)
    config = smallest_buffer(engine(model, network, weight_words=60), lambda c: SCHEDULES[schedule](network, c), 20)
    planner = SCHEDULES[schedule](network, config)
    assert planner.heads[0].streamed
    plan = planner.plan()
    check(plan)
    runs_of(plan, model, x)


def test_two_layers_and_one_linear_layer_with_an_activation():
    model, x = made(True, hidden=(7, 5), activations=["tanh"])
    plan = plan_of("resident", model)
    check(plan)
    runs_of(plan, model, x)
    with pytest.raises(ConfigError, match="engine.chains: False; must be true for 1 linear layers with tanh"):
        ResidentPlanner(plan.network, replace(plan.config, chains=False))
    *layers, head = plan.network.layers
    network = replace(plan.network, layers=(*layers, replace(head, activation="elu")))
    with pytest.raises(ConfigError, match="engine.chains: False; must be true for .*, and engine.elu for a linear"):
        ResidentPlanner(network, replace(plan.config, chains=False))


@pytest.mark.parametrize(
    "wrong, error",
    [
        ({"activation": 0}, "activation 0 of layer 1; must be 1"),
        ({"write": 0}, "may not exist yet|that nobody wrote"),
        ({"signal": 0}, "token .* must not wait for what no earlier command produces"),
        ({"target": 0}, "may still be read|must be the elements|must be of layer"),
        ({"emit": 1}, "sends .* outputs; must send"),
    ],
)
def test_the_proof_sees_a_wrong_chain(wrong, error):
    model, _ = made(True)
    plan = plan_of("resident", model)
    with pytest.raises(ProgramError, match=error):
        check(changed(plan, where(plan, "CELL", mode=MODE_LINEAR), **wrong), 6)


def test_the_proof_sees_operands_that_are_read_too_early():
    model, _ = made(False)
    plan = plan_of("conventional", model)
    at = where(plan, "CELL", mode=MODE_LINEAR)
    behind = next(n for n, i in enumerate(plan.program.instructions) if n > at and i.fields.get("wait"))
    with pytest.raises(ProgramError, match="may not exist yet"):
        check(changed(plan, behind, offset=0))


def test_the_schedules_are_compared():
    model, _ = made(True)
    found = choose(network_of(model), 5, compare=True, formats=engine_formats(model))
    assert found.outcome.name == "resident" and found.outcome.plan.config.chains
    timed = {tried.name for tried in found.tried if tried.counters}
    assert {"resident", "conventional", "sacc"} <= timed


def test_what_a_chain_must_be():
    lstm, linear = LayerShape("lstm", 4, 6, 15), LayerShape("linear", 6, 6, 14, activation="relu")
    assert Network((lstm, linear, linear), True).macs(3) == 3 * (lstm.macs + 72)
    assert Network((lstm, linear, linear)).macs(3) == 3 * lstm.macs + 72
    assert not Network((lstm, replace(linear, activation="none"))).has_chain
    for layers in ((lstm, linear, lstm), (linear, lstm), ()):
        with pytest.raises(ConfigError, match="must be one or more recurrent layers, then linear layers or none"):
            Network(layers)
    with pytest.raises(ConfigError, match="layer activation: 'gelu'; must be one of none, relu"):
        replace(linear, activation="gelu")
    with pytest.raises(ConfigError, match="layer activation: 'relu'"):
        replace(lstm, activation="relu")
    layers = float_model(np.random.default_rng(1), hidden=(4,)).layers
    one = DenseWeights(np.zeros((3, 4)), np.zeros(3))
    for given, error in (
        ({"dense": (one,)}, "dense: 1 linear layers without a head"),
        ({"dense": (one,), "head": one}, "head: 4 inputs; must be the 3 outputs of dense 0"),
        ({"dense": (one, one), "head": one}, "dense 1: 4 inputs; must be the 3 outputs of dense 0"),
    ):
        with pytest.raises(ModelError, match=error):
            FloatModel(layers, **given)
    with pytest.raises(ModelError, match="activation: 'gelu'; must be one of none, relu"):
        replace(one, activation="gelu")


@pytest.mark.parametrize(
    "family, elu, lut, ff, dsp",
    [("xc7", False, 30, 243, 0), ("xc7", True, 168, 400, 2), ("ecp5", False, 130, 294, 0), ("ecp5", True, 392, 546, 2)],
)
def test_the_estimate_has_what_chains_take(family, elu, lut, ff, dsp):
    """More than an engine of 8 rows without them, as Yosys counts both."""
    plain, found = (estimate(config_of(**more), family) for more in ({}, {"chains": True, "elu": elu}))
    assert (found.bram36, found.dsp) == (plain.bram36, plain.dsp + dsp)
    assert found.lut - plain.lut == pytest.approx(lut, abs=110)  # of 3,000 or more
    assert found.ff - plain.ff == pytest.approx(ff, abs=40)
