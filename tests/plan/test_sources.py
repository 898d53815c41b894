"""Layers that read several vectors, as skips around layers: proved, with the bits of the integer reference."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, FormatError, ModelError, ProgramError
from lstm_hw.machine.arrangement import OF_X, Arrangement
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.isa import SPACE_H, SPACE_X
from lstm_hw.machine.network import LayerShape, Network, Source
from lstm_hw.model.budget import partly_rounded, places_of
from lstm_hw.model.delta import with_thresholds
from lstm_hw.model.float_model import DenseWeights, FloatModel
from lstm_hw.model.fold import folded
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from lstm_hw.plan.choose import choose
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.sizing import engine_and_plan, engine_formats, network_of, stored_weight_bits
from lstm_hw.proof.checker import check
from lstm_hw.prune.apply import prune
from lstm_hw.prune.settings import PruneConfig
from tests.plan.test_chains import check_bits, engine, runs_of
from tests.plan.test_plain import cells, head, plain
from tests.proof.test_checker import changed, where

SIZE = 6
X = np.random.default_rng(5).uniform(-3, 3, (6, 9, SIZE))  # formats of x and h differ


def reading(layers, *sources):
    """The layer with the sources."""
    return [replace(layers[0], sources=sources), *layers[1:]]


def tied(layer, *sources):
    """A layer that reads the sum of several vectors: the same weights for each."""
    name = "weight" if isinstance(layer, DenseWeights) else "w_x"
    return replace(layer, sources=sources, **{name: np.hstack([getattr(layer, name)] * len(sources))})


def model_of(name):
    rng = np.random.default_rng(4)
    first = cells(rng, SIZE, SIZE)
    if name == "skip, every step":
        return FloatModel(first, tied(head(rng, SIZE), OF_X, 0), True)
    if name == "chain of skips":
        layers = (*first, tied(*cells(rng, SIZE, SIZE), OF_X, 0), tied(*cells(rng, SIZE, SIZE), OF_X, 0, 1))
        return FloatModel(layers, tied(head(rng, SIZE), 1, 2))
    if name == "side by side":
        layers = (*first, *reading(cells(rng, 2 * SIZE, 5), OF_X, 0))
        return FloatModel(layers, *reading([head(rng, SIZE + 5)], 0, 1), True, dense=())
    if name == "branches":
        layers = (*first, *reading(cells(rng, SIZE, 5), OF_X), *reading(cells(rng, SIZE + 5, 7), 0, 1))
        return FloatModel(layers)
    if name == "gru and plain":
        layers = (*plain(rng, SIZE, 5, "tanh"), *cells(rng, 5, 5, "gru"), tied(*cells(rng, 5, 5, "gru"), 0, 1))
        return FloatModel(layers, replace(tied(head(rng, 5, 4), 0, 2), activation="relu"), True, dense=())
    layers = (*cells(rng, SIZE, 9, projection=SIZE), *reading(cells(rng, 2 * SIZE, 5), OF_X, 1))
    chain = tied(head(rng, 5, 4, "relu"), 2)
    return FloatModel(layers, head(rng, 4, 2), True, dense=(chain,))


MODELS = ("skip, every step", "chain of skips", "side by side", "branches", "gru and plain", "projection and chain")


@pytest.fixture(scope="module", params=MODELS)
def made(request):
    model = model_of(request.param)
    return model, quantize(model, X)


def step_by_step(model, x):
    """Outputs of one sequence (T, Lx), in which each layer gets what it reads."""
    state = [[np.zeros(layer.hidden_size)] * 2 for layer in model.layers]
    outputs = []
    for vector in x:
        found = {OF_X: vector}
        for number, layer in enumerate((*model.layers, *model.linear)):
            linear = number >= len(model.layers)
            read = np.concatenate([found[source] for source in layer.sources or (number - 1,)])
            if linear:
                y = layer.weight @ read + layer.bias
                found[number] = np.maximum(y, 0) if layer.activation == "relu" else y
                continue
            alone = replace(layer, sources=())
            if layer.projected:
                alone = (alone, model.layers[number + 1])
            elif number and model.layers[number - 1].projected:
                found[number] = state[number][0]
                continue
            parts = alone if isinstance(alone, tuple) else (alone,)
            pairs = [tuple(values[None] for values in state[number + n]) for n in range(len(parts))]
            h, after = float_reference(FloatModel(parts), read[None, None], pairs)
            for n, pair in enumerate(after):
                state[number + n] = [values[0] for values in pair]
            found[number] = h[0, 0]
        outputs.append(found[len(model.layers) + len(model.linear) - 1])
    return np.array(outputs if model.gives_every_step else outputs[-1])


def test_the_float_reference(made):
    model, _ = made
    assert np.allclose(float_reference(model, X[:1])[0][0], step_by_step(model, X[0]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("contexts", [1, 2])
def test_bits_in_pieces(made, contexts):
    check_bits("resident", made[1], X, contexts=contexts, x_per_beat=contexts)


def test_numbers(made, tmp_path):
    """Fast and slow references, places that round, and the file."""
    model, qmodel = made
    exact, _ = float_reference(model, X)
    x = qmodel.quantize_input(X)
    stored, after = integer_reference(qmodel, x)
    slow, same = integer_reference(qmodel, x, trace={})
    assert np.array_equal(slow, stored) and all(map(np.array_equal, sum(after, ()), sum(same, ())))
    assert np.abs(qmodel.dequantize_output(stored) - exact).mean() < 3e-4
    assert np.array_equal(partly_rounded(model, qmodel, X, places_of(qmodel)), qmodel.dequantize_output(stored))
    assert np.allclose(partly_rounded(model, qmodel, X, ()), exact, rtol=0, atol=1e-12)
    qmodel.save(tmp_path / "model.safetensors")
    again = QuantModel.load(tmp_path / "model.safetensors")
    assert again.digest() == qmodel.digest()
    assert [layer.sources for layer in again.layers] == [layer.sources for layer in model.layers]
    first, state = integer_reference(qmodel, x[:, :4])
    second, _ = integer_reference(qmodel, x[:, 4:], state)
    whole = np.concatenate([first, second], axis=1) if model.gives_every_step else second
    assert np.array_equal(whole, stored)


@pytest.mark.parametrize("bits, most", [(8, 0.2), (16, 4e-4)])
def test_unlike_ranges(bits, most):
    """x of large values beside h: a format for all with 8 bits; and inputs of unlike ranges have scales."""
    model, x = model_of("chain of skips"), X * np.array([20, 1, 1e-3, 1, 1, 1])
    quantize_to = QuantConfig(weight_bits=bits, operand_bits=bits, accumulator_bits=24 if bits == 8 else 48)
    told = []
    qmodel = quantize(model, x, quantize_to, tell=told.append)
    assert any(line.startswith("h of layer 0") and "instead of" in line for line in told) == (bits == 8), told
    assert bits == 8 or any(qmodel.input_exponents)
    assert qmodel.layers[0].hidden.fraction - qmodel.input_format.fraction == (0 if bits == 8 else 6) or bits == 16
    network = network_of(qmodel)
    _, plan = engine_and_plan(network, rows=16, weight_bits=stored_weight_bits(qmodel), **engine_formats(qmodel))
    check(plan)
    runs_of(plan, qmodel, x)
    exact, _ = float_reference(model, x)
    stored, _ = integer_reference(qmodel, qmodel.quantize_input(x))
    assert np.abs(qmodel.dequantize_output(stored) - exact).mean() < most


def test_what_cannot_be_coarser():
    """Results of tanh have its format, and lanes of 8 bits lift nothing; nor may what was given."""
    rng = np.random.default_rng(2)
    narrow = QuantConfig(weight_bits=8, operand_bits=8, accumulator_bits=24)
    model = FloatModel((*plain(rng, SIZE, SIZE, "tanh"), tied(*cells(rng, SIZE, SIZE), OF_X, 0)))
    with pytest.raises(FormatError, match="layer 0: hidden: Q0.7 beside what has 5 fraction bits at most; must"):
        quantize(model, X, narrow)
    assert quantize(model, X / 4, narrow).layers[1].sources
    with pytest.raises(FormatError, match="quantize.hidden: Q0.7; must have at most 5 fraction bits: .* h of layer 0"):
        quantize(model_of("chain of skips"), X, replace(narrow, hidden=QFormat(0, 7)))


def test_what_stands_around_goes_into_all_readers():
    model = model_of("chain of skips")
    around = folded(model, 2.0, (0.5,) + (0.0,) * 5, held={"1": 0.25})
    x = X / 2
    inside = x * 2 + np.array([0.5] + [0.0] * 5)
    inside[..., 1] = 0.5
    outputs, _ = float_reference(around, np.delete(x, 1, axis=2))
    assert np.allclose(outputs, float_reference(model, inside)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "find, wrong, error",
    [
        ({"space": SPACE_X, "free": 1}, {"free": 0}, "no x vector is ever free"),
        ({"space": SPACE_X, "free": 1}, {"space": SPACE_H}, "added to products of|must be of layer -1"),
        ({"space": SPACE_X, "free": 1}, {"operand_reg": 0}, "added to products of|may not exist yet"),
        ({"space": SPACE_X, "free": 1}, {"columns": 5}, "mixes words|counted 0 times"),
        ({"space": SPACE_X, "wait": 1}, {"free": 1}, "may still be read|must be the elements|added to products"),
    ],
)
def test_the_proof_sees_another_vector(find, wrong, error):
    qmodel = quantize(model_of("chain of skips"), X)
    network = network_of(qmodel)
    plan = ResidentPlanner(network, engine(qmodel, network, rows=4, x_elements=24)).plan()
    with pytest.raises(ProgramError, match=error):
        check(changed(plan, where(plan, "MAC", **find), **wrong), 6)


def test_the_schedule():
    qmodel = quantize(model_of("chain of skips"), X)
    network, formats = network_of(qmodel), engine_formats(qmodel)
    assert choose(network, 5, formats=formats).outcome.name == "resident"
    with pytest.raises(ConfigError, match="for a model with a skip around a layer"):
        ConventionalPlanner(network, engine(qmodel, network))


def test_what_sources_must_be():
    model = model_of("chain of skips")
    first, second, third = model.layers
    for layers, linear, error in (
        ((replace(first, sources=(OF_X,)),), None, "none of a first layer"),
        ((first, replace(second, sources=(0, OF_X))), None, "in ascending order"),
        ((first, replace(second, sources=(OF_X, 1))), None, "must be numbers of recurrent layers in front of it"),
        ((first, replace(second, sources=(OF_X,))), None, "layer 1: 12 inputs; must be the 6 elements of its sources"),
        ((first,), replace(model.head, sources=(OF_X, 0)), "x, of a linear layer on the last step"),
    ):
        with pytest.raises(ModelError, match=error):
            FloatModel(layers, linear)
    with pytest.raises(ModelError, match="3 steps without a linear layer"):
        replace(model_of("branches"), arrangement=Arrangement(steps=3))
    with pytest.raises(ModelError, match="must be the projection"):
        projected = model_of("projection and chain").layers
        FloatModel((*projected[:2], replace(projected[2], sources=(0, 1))))
    for refused in (lambda: prune(model, PruneConfig("unstructured", 0.5)),):
        with pytest.raises(ConfigError, match="prune: for a model with a skip around a layer"):
            refused()
    with pytest.raises(ConfigError, match="delta: for a model with a skip around a layer"):
        with_thresholds(quantize(model, X), 0.1, [0.1] * 3)
    lstm = LayerShape("lstm", 4, 6, 15)
    above = LayerShape("lstm", 10, 6, 15, sources=(Source(OF_X, 4, 0), Source(0, 6, 2)))
    assert Network((lstm, above)).traits == ("a skip around a layer",) and Network((lstm, above)).last_of_x == 1
    with pytest.raises(ConfigError, match="10 inputs; must be the 3"):
        replace(above, sources=(Source(OF_X, 3, 0),))
    for layers in ((lstm, replace(above, inputs=9, sources=(Source(OF_X, 3, 0), Source(0, 6, 2)))), (above, lstm)):
        with pytest.raises(ConfigError, match="network: sources"):
            Network(layers)
