"""LSTM layers whose gates see c: proved, and the bits of the integer reference, in Verilog too."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import sim.play
from lstm_hw.errors import ConfigError, FormatError, ModelError, ProgramError
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.isa import MODE_CELL, MODE_KEEP
from lstm_hw.model.both_ways import Part, in_parts
from lstm_hw.model.float_model import DenseWeights, FloatModel, LstmWeights, PlainWeights
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.proof.checker import check
from lstm_hw.verify.runs import ModelReference, Piece, image_words, scenario_of
from tests.builders import config_of
from tests.plan.test_start import NARROW, planned, scenario
from tests.proof.test_checker import changed
from tests.sim.engines import emitted
from tests.simulators import QUICK


def float_model(sizes=(4, 6, 5), initial=None, scale=1.0, chain=False):
    """Layers with peepholes, begun from a state of such a size or not, and a head on every step, behind another linear
    layer or not."""
    rng, layers = np.random.default_rng(1), []
    for inputs, units in zip(sizes, sizes[1:], strict=False):
        shapes = ((4 * units, inputs), (4 * units, units), (4 * units,))
        state = initial and (rng.uniform(-0.9, 0.9, units), rng.uniform(-initial, initial, units))
        peepholes = rng.normal(0, scale, (3, units))
        weights = (rng.normal(0, 0.4, shape) for shape in shapes)
        layers.append(LstmWeights(*weights, initial=state, peepholes=peepholes))
    dense = (DenseWeights(rng.normal(0, 0.4, (5, sizes[-1])), np.zeros(5), activation="tanh"),) if chain else ()
    head = DenseWeights(rng.normal(0, 0.3, (2, 5 if chain else sizes[-1])), np.zeros(2))
    return FloatModel(tuple(layers), head, True, dense=dense)


def quantised(config=NARROW, **fields):
    model = float_model(**fields)
    x = np.random.default_rng(2).uniform(-1, 1, (4, 12, model.input_size))
    return model, quantize(model, x, config), x


RESIDENT = ResidentPlanner
BATCHES = partial(BatchPlanner, batch=3, pinned=1, tile_columns=2)


@pytest.mark.parametrize(
    "planner, config, given, fields",
    [
        (RESIDENT, QuantConfig(), {}, {}),
        (RESIDENT, QuantConfig(weight_bits=6, fractions="row"), {"scale": 3.0}, {"contexts": 2}),
        (RESIDENT, QuantConfig(weight_bits=8, operand_bits=8), {"chain": True}, {"rows": 16, "cells": 2}),
        (RESIDENT, NARROW, {"initial": 0.5}, {"cells": 5, "rows": 16}),
        (ConventionalPlanner, NARROW, {"initial": 0.5}, {}),
        (partial(ConventionalPlanner, pinned=2), NARROW, {"chain": True}, {}),
        (partial(RowBlockPlanner, groups=2), QuantConfig(), {}, {"contexts": 2}),
        (BATCHES, NARROW, {"initial": 0.5}, {"contexts": 2}),
    ],
)
def test_the_bits_of_the_integer_reference(planner, config, given, fields):
    _, qmodel, x = quantised(config, **given)
    plan = planned(qmodel, planner, **fields)
    check(plan)
    scenario(plan, qmodel, x)


def test_in_verilog(tmp_path):
    _, qmodel, x = quantised(chain=True, initial=0.5)
    plan = planned(qmodel, ConventionalPlanner, cells=2)
    played = scenario(plan, qmodel, x)
    sim.play.play(played, emitted(tmp_path, played), tmp_path / "scenario", simulator=QUICK)


def test_gates_see_c():
    """By the formulas, step by step; layers without peepholes in a stack with some have zeros."""
    model, qmodel, x = quantised(QuantConfig())
    h, c, outputs = np.zeros((4, 6)), np.zeros((4, 6)), []
    layer = model.layers[0]
    for step in range(x.shape[1]):
        i, f, g, o = np.split(x[:, step] @ layer.w_x.T + h @ layer.w_h.T + layer.bias, 4, axis=1)
        of_i, of_f, of_o = layer.peepholes
        c = 1 / (1 + np.exp(-f - of_f * c)) * c + 1 / (1 + np.exp(-i - of_i * c)) * np.tanh(g)
        h = 1 / (1 + np.exp(-o - of_o * c)) * np.tanh(c)
        outputs.append(h)
    np.testing.assert_allclose(float_reference(FloatModel((layer,)), x)[0], np.stack(outputs, 1), atol=1e-12)
    wanted, found = float_reference(model, x)[0], integer_reference(qmodel, qmodel.quantize_input(x))[0]
    assert np.abs(qmodel.dequantize_output(found) - wanted).max() < 2e-3
    without = replace(model, layers=(layer, replace(model.layers[1], peepholes=None)))
    qmodel = quantize(without, x)
    assert not qmodel.layers[1].peepholes.any() and qmodel.layers[0].peepholes.any()
    found = integer_reference(qmodel, qmodel.quantize_input(x))[0]
    assert np.abs(qmodel.dequantize_output(found) - float_reference(without, x)[0]).max() < 2e-3


def test_with_a_projection_and_in_both_directions():
    model, rng = float_model((4, 6)), np.random.default_rng(3)
    layer = model.layers[0]
    projected = replace(layer, w_h=rng.normal(0, 0.4, (24, 3)), projected=True)
    projection = PlainWeights(rng.normal(0, 0.4, (3, 6)), np.zeros((3, 0)), np.zeros(3))
    head = DenseWeights(rng.normal(0, 0.3, (2, 3)), np.zeros(2))
    x = rng.uniform(-1, 1, (2, 8, 4))
    both = in_parts([Part([layer], [float_model((4, 6), scale=2.0).layers[0]])], [], "every_step")
    for network in (FloatModel((projected, projection), head, True), both):
        qmodel = quantize(network, x, NARROW)
        plan = planned(qmodel)
        check(plan)
        stored = qmodel.quantize_input(x)[:1]
        scenario_of(plan, image_words(plan, qmodel), ModelReference(qmodel), [Piece(stored), Piece(stored[:, :3])])


@pytest.mark.parametrize(
    "wrong, rule",
    [
        ("mode", "mode 0 for layer 0; must be that of its kind"),
        ("state", "must be kept where its c is, in front of the first step"),
        ("digit", "must be multiplied by their constants"),
        ("write", "peepholes; must not be written or sent"),
        ("missing", "must not wait for what no earlier command produces"),
    ],
)
def test_the_proof_sees_other_peepholes(wrong, rule):
    _, qmodel, _ = quantised(sizes=(4, 6))
    plan = planned(qmodel)
    instructions = list(enumerate(plan.program.instructions))
    (keeps,) = (a for a, i in instructions if i.op == "CELL" and i.mode == MODE_KEEP and i.units == 2)
    digit = next(a for a, i in instructions if a > plan.program.entries["run"] and i.op == "MAC" and i.finish)
    address, fields = {
        "mode": (keeps, {"mode": MODE_CELL}),
        "state": (keeps, {"state": plan.program.instructions[keeps].state + 1}),
        "digit": (digit, {"operand": plan.program.instructions[digit].operand + 1}),
        "write": (keeps, {"write": 1}),
        "missing": (keeps, {"units": 1}),
    }[wrong]
    with pytest.raises(ProgramError, match=rule):
        check(changed(plan, address, **fields))


def test_what_has_no_peepholes():
    model, qmodel, x = quantised()
    with pytest.raises(ConfigError, match="'sacc' for a model with peepholes; must be one that is for it"):
        planned(qmodel, SaccPlanner, contexts=2)
    for name in ("thresholds", "sparse_h"):
        with pytest.raises(ConfigError, match="for layers with peepholes; must be for layers without peepholes"):
            replace(qmodel, **{name: (0, 0, 0)[: 2 + (name == "thresholds")]})
    with pytest.raises(FormatError, match="initial state: c of 2.83.*; must be what a single cell step"):
        planned(quantised(initial=3.0)[1])
    with pytest.raises(FormatError, match="formats: preact .*, as of the first layer"):
        quantize(model, x, QuantConfig(cell=(QFormat(3, 12), QFormat(2, 13))))
    layer = model.layers[0]
    with pytest.raises(ModelError, match=r"peepholes: shape \(3, 5\); must be \(3, 6\)"):
        replace(layer, peepholes=np.zeros((3, 5)))
    with pytest.raises(ModelError, match="peepholes: of a layer of kind plain; must be of an LSTM"):
        PlainWeights(np.zeros((4, 2)), np.zeros((4, 4)), np.zeros(4), peepholes=np.zeros((3, 4)))
    for changes, error in (
        ({"peephole_format": None}, "peephole_format: None; must be a signed format of 16 bits"),
        ({"peepholes": None}, "peepholes: missing"),
        ({"peepholes": qmodel.layers[0].peepholes / 2}, "peepholes: dtype float64; must be integers"),
        ({"peepholes": qmodel.layers[0].peepholes + (1 << 15)}, "peepholes: .*; must fit"),
    ):
        with pytest.raises((FormatError, ModelError), match=error):
            replace(qmodel.layers[0], **changes)
    for fields, error in (
        ({"kind": "gru"}, "engine.peepholes: .*; must be none but for kind lstm"),
        (
            {"preact_shifts": (0, 1), "shifts": (15, 15)},
            r"engine.preact_shifts: .*; must be \[\] in an engine with peepholes",
        ),
        ({"preact": QFormat(3, 14), "cell": QFormat(3, 14)}, "engine.peepholes: .*; must be signed, 18 bits wide"),
    ):
        with pytest.raises(ConfigError, match=error):
            config_of(peepholes=QFormat(1, 14), **fields)
    assert EngineConfig.from_dict(config_of(peepholes=QFormat(1, 14)).to_dict()).peepholes == QFormat(1, 14)
