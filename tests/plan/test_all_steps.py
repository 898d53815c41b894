"""A linear layer that reads h of all steps: proved, and the bits of the integer reference."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, InputError, ModelError, ProgramError
from lstm_hw.machine.arrangement import Arrangement
from lstm_hw.machine.isa import SPACE_CONSTANT
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.model.both_ways import Part, in_parts
from lstm_hw.model.budget import error_budget
from lstm_hw.model.float_model import DenseWeights, FloatModel
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from lstm_hw.plan.choose import choose
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.plan.sizing import engine_formats, network_of
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.verify.runs import ModelReference, Piece, image_words, scenario_of
from tests.builders import config_of
from tests.plan.test_plain import cells
from tests.projects import float_model
from tests.proof.test_checker import changed

STEPS = 4
X = np.random.default_rng(3).uniform(-1, 1, (4, STEPS, 3))


def model_of(outputs=(3,), activations=("none",), hidden=(5,), steps=STEPS, seed=1):
    rng = np.random.default_rng(seed)
    layers, linear, size = float_model(rng, hidden=hidden, outputs=0).layers, [], steps * hidden[-1]
    for count, activation in zip(outputs, activations, strict=True):
        linear.append(DenseWeights(rng.normal(0, 0.4, (count, size)), rng.normal(0, 0.5, count), activation=activation))
        size = count
    return FloatModel(layers, linear.pop(), dense=tuple(linear), arrangement=Arrangement(steps=steps))


def plan_of(qmodel, rows=8, contexts=1):
    formats, given = engine_formats(qmodel) | {"weight_bits": 16}, {"rows": rows, "contexts": contexts}
    found = choose(network_of(qmodel, 16), STEPS, schedule="resident", sequences=contexts, given=given, formats=formats)
    return found.outcome.plan


def test_h_side_by_side():
    model = model_of()
    h, _ = float_reference(FloatModel(model.layers), X)
    expected = h.reshape(len(X), -1) @ model.head.weight.T + model.head.bias
    np.testing.assert_allclose(float_reference(model, X)[0], expected, atol=1e-12)
    with pytest.raises(InputError, match=r"shape \(4, 3, 3\); must have 4 steps: a linear layer has weights"):
        float_reference(model, X[:, :3])


@pytest.mark.parametrize(
    "outputs, activations, hidden, rows, contexts",
    [
        ((3,), ("none",), (5,), 8, 1),
        ((2,), ("sigmoid",), (5,), 8, 2),
        ((9, 4, 2), ("relu", "tanh", "none"), (5, 3), 4, 1),
        ((21, 2), ("elu", "none"), (6,), 4, 4),
    ],
)
def test_the_interpreter_gives_the_bits_of_the_reference(outputs, activations, hidden, rows, contexts):
    """Of as many steps as there are weights for, of fewer and of more, whatever the number of row blocks."""
    qmodel = quantize(model_of(outputs, activations, hidden), X)
    plan = plan_of(qmodel, rows=rows, contexts=contexts)
    assert check(plan) > 0
    stored = qmodel.quantize_input(X)[:contexts]
    pieces = [
        Piece(stored),
        Piece(stored[:, :1]),
        Piece(np.concatenate([stored, stored[:, :3]], axis=1)),
        Piece(stored),
    ]
    scenario_of(plan, image_words(plan, qmodel), ModelReference(qmodel), pieces, MemoryModel())


@pytest.mark.parametrize("kind, rows", [("lstm", 8), ("gru", 4)])
def test_both_directions(kind, rows):
    """Weights of the other direction are in the order in which the engine comes by its h, from the last step."""
    rng = np.random.default_rng(7)
    ways = [Part(cells(rng, 3, 5, kind), cells(rng, 3, 5, kind))]
    head = DenseWeights(rng.normal(0, 0.4, (3, STEPS * 10)), rng.normal(0, 0.5, 3), activation="tanh")
    model = in_parts(ways, [head], "all_steps")
    h = in_parts(ways, [], "every_step")
    side_by_side = float_reference(h, X)[0].reshape(len(X), -1)
    np.testing.assert_allclose(
        float_reference(model, X)[0], np.tanh(side_by_side @ head.weight.T + head.bias), atol=1e-12
    )
    qmodel = quantize(model, X)
    plan, stored = plan_of(qmodel, rows=rows), qmodel.quantize_input(X)[:1]
    assert check(plan) > 0
    pieces = [Piece(stored), Piece(np.concatenate([stored, stored[:, :3]], axis=1)), Piece(stored)]
    scenario_of(plan, image_words(plan, qmodel), ModelReference(qmodel), pieces, MemoryModel())
    outputs, _ = integer_reference(qmodel, qmodel.quantize_input(X))
    np.testing.assert_allclose(qmodel.dequantize_output(outputs), float_reference(model, X)[0], atol=1e-3)


@pytest.mark.parametrize("outputs, activations", [((3,), ("none",)), ((4, 2), ("relu", "none"))])
def test_numbers(tmp_path, outputs, activations):
    model = model_of(outputs, activations)
    qmodel = quantize(model, X)
    qmodel.save(tmp_path / "q.safetensors")
    kept = QuantModel.load(tmp_path / "q.safetensors")
    assert kept.digest() == qmodel.digest() and kept.arrangement == Arrangement(steps=STEPS)
    real = kept.dequantize_output(integer_reference(kept, kept.quantize_input(X))[0])
    expected = float_reference(model, X)[0]
    np.testing.assert_allclose(real, expected, atol=5e-4)
    traced, trace = integer_reference(kept, kept.quantize_input(X), trace={})[0], {}
    assert np.array_equal(kept.dequantize_output(traced), real)
    float_reference(model, X, trace=trace)
    assert trace[1]["y"].shape == (4, 1, outputs[0])
    budget = error_budget(model, qmodel, X)
    assert budget["all"]["max"] == pytest.approx(np.abs(real - expected).max(), rel=1e-6)


@pytest.mark.parametrize(
    "find, wrong, error",
    [
        ({"slots": 1, "store": 1}, {"weight_reg": 0}, r"columns of steps .* must meet h of layer 0 of the one step"),
        ({"slots": 1, "store": 1}, {"store": 0}, "must be written before it is read|counted 0 times|must start from"),
        ({"slots": 1, "store": 1}, {"wait": 0}, "may not exist yet"),
        ({"finish": 1, "space": SPACE_CONSTANT}, {"finish": 0}, "must follow the MAC that finishes it"),
        (
            {"finish": 1, "space": SPACE_CONSTANT},
            {"source": 1},
            "row block 0 of layer 1 added to row block 0 of",
        ),
    ],
)
def test_the_proof_sees_a_wrong_step(find, wrong, error):
    plan = plan_of(quantize(model_of(), X))
    address = [
        a
        for a, i in enumerate(plan.program.instructions)
        if i.op == "MAC" and (plan.program.comments.get(a, "").startswith(("layer 1, columns", "nothing")))
    ]
    (at,) = [a for a in address if all(plan.program.instructions[a].fields[k] == v for k, v in find.items())]
    with pytest.raises(ProgramError, match=error):
        check(changed(plan, at, **wrong), STEPS + 1)


def test_other_schedules_refuse_it():
    network = network_of(quantize(model_of(), X), 16)
    for planner in (ConventionalPlanner, RowBlockPlanner, lambda n, c: BatchPlanner(n, c, 2, 2)):
        with pytest.raises(ConfigError, match="for a model with a linear layer that reads all steps; must be one"):
            planner(network, config_of(rows=8))
    with pytest.raises(ConfigError, match="linear layer that reads all steps|weight_words"):
        choose(network, STEPS, given={"rows": 8, "weight_words": 16})


def test_what_cannot_be():
    model, cell = model_of(), LayerShape("lstm", 3, 5, 15)
    for change, error in (
        ({"head_every_step": True}, "4 steps on every step; must be those that a linear layer reads"),
        ({"head": None}, "4 steps without a linear layer"),
        ({"arrangement": Arrangement(steps=5)}, "20 inputs; must be the 25 hidden units of the last layer in 5 steps"),
        ({"arrangement": Arrangement()}, "20 inputs; must be the 5 hidden units"),
    ):
        with pytest.raises(ModelError, match=error):
            replace(model, **change)
    with pytest.raises(ConfigError, match="steps: 4 of x that is read both, .* and 0 where outputs are not taken as"):
        Arrangement("both", "added", steps=4)
    with pytest.raises(ConfigError, match="layer steps: 4 of a layer of kind lstm; must be of kind linear"):
        replace(cell, steps=4)
    head = LayerShape("linear", 5, 2, 15, steps=4)
    assert head.columns == 20 and Network((cell, head)).macs(4) == 4 * cell.macs + 40
    with pytest.raises(ConfigError, match="must be of the first linear layer alone, once a sequence"):
        Network((cell, head), head_every_step=True)
    with pytest.raises(ConfigError, match="must be of the first linear layer alone, once a sequence"):
        Network((cell, replace(head, steps=0), LayerShape("linear", 2, 2, 15, steps=2)))
