"""Layers that wait for h of all steps, on the resident schedule: proved, and in every bit of the reference."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, InputError, ModelError, ProgramError
from lstm_hw.explore.bounds import cell_cycles, columns_at_least
from lstm_hw.machine.arrangement import Arrangement, waited
from lstm_hw.model.both_ways import Part, in_parts
from lstm_hw.model.delta_search import search_thresholds
from lstm_hw.model.float_model import DenseWeights, GruWeights, LstmWeights, PlainWeights
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from lstm_hw.plan.choose import choose
from lstm_hw.plan.sizing import engine_formats, network_of
from lstm_hw.proof.checker import check
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.response import response
from lstm_hw.verify.runs import ModelReference, Piece, image_words, scenario_of

X = np.random.default_rng(2).uniform(-1, 1, (2, 6, 3))


def models(kind="lstm", seed=5):
    """Name -> a model, of cells of a kind."""
    rng = np.random.default_rng(seed)

    def cell(inputs, units):
        if kind == "lstm":
            return LstmWeights(*(rng.normal(0, 0.5, (4 * units, *more)) for more in ((inputs,), (units,), ())))
        w_x, w_h, *biases = (rng.normal(0, 0.5, (3 * units, *more)) for more in ((inputs,), (units,), (), ()))
        return GruWeights.of_gates(w_x, w_h, *biases, "gru", reset_before=kind == "before")

    def dense(inputs, outputs, activation="none"):
        return DenseWeights(rng.normal(0, 0.5, (outputs, inputs)), rng.normal(0, 0.5, outputs), activation=activation)

    def both(inputs, units):
        return Part([cell(inputs, units)], [cell(inputs, units)])

    decoder = [PlainWeights.of_dense(dense(5, 4, "relu")), cell(4, 4)]
    return {
        "two both": in_parts([both(3, 4), both(8, 4)], [dense(8, 3)], "final_state"),
        "every step": in_parts([both(3, 4), both(8, 3)], [dense(6, 3)], "every_step", most=7),
        "three both": in_parts([Part([]), both(3, 3), both(6, 4), both(8, 8)], [], "every_step"),
        "both, one": in_parts([both(3, 4), Part([cell(8, 5)])], [dense(5, 3)], "last_step"),
        "one, both": in_parts([Part([cell(3, 5)]), both(5, 4)], [dense(8, 2)], "final_state"),
        "labels": in_parts([both(3, 4)], [dense(8, 5, "relu"), dense(5, 3)], "every_step"),
        "activation": in_parts([both(3, 4)], [dense(8, 5, "sigmoid")], "every_step"),
        "labels of the last": in_parts([both(3, 4)], [dense(8, 5, "relu"), dense(5, 3)], "last_step"),
        "decoder": in_parts([Part([cell(3, 5)]), Part([cell(5, 4)], repeats=True)], [dense(4, 3)], "every_step"),
        "both, decoder of both": in_parts(
            [both(3, 4), replace(both(8, 3), repeats=True), Part([cell(6, 4)])], [dense(4, 3)], "every_step"
        ),
        "decoder of both": in_parts(
            [Part([cell(3, 5)]), replace(both(5, 4), repeats=True)], [dense(8, 3)], "every_step", most=7
        ),
        "three steps": in_parts(
            [Part([cell(3, 5)]), Part(decoder, repeats=True)], [dense(4, 3)], "every_step", repeats=3
        ),
        "nine steps": in_parts(
            [both(3, 4), replace(both(8, 3), repeats=True), Part([cell(6, 4)])],
            [dense(4, 3, "relu"), dense(3, 2)],
            "every_step",
            repeats=9,
        ),
        "both, then eight steps": in_parts(
            [both(3, 3), both(6, 4), Part([cell(8, 5)], repeats=True)], [], "every_step", most=7, repeats=8
        ),
        "two repeats": in_parts(
            [Part([cell(3, 5)]), Part([cell(5, 4)], repeats=True), Part([cell(4, 3)], repeats=True)],
            [dense(3, 2)],
            "last_step",
            repeats=4,
        ),
        "one step": in_parts([Part([cell(3, 5)]), replace(both(5, 4), repeats=True)], [], "every_step", repeats=1),
        "bottleneck": in_parts([Part([cell(3, 5)]), Part(decoder, repeats=True)], [dense(4, 3)], "every_step"),
    }


def projected(seed=6):
    """Two bidirectional layers with projections."""
    rng, parts = np.random.default_rng(seed), []
    for inputs in (3, 4):
        ways = []
        for _ in range(2):
            w_x, w_h = rng.normal(0, 0.5, (16, inputs)), rng.normal(0, 0.5, (16, 2))
            plain = PlainWeights(rng.normal(0, 0.5, (2, 4)), np.zeros((2, 0)), np.zeros(2), "projection")
            ways.append([LstmWeights(w_x, w_h, np.ones(16), projected=True), plain])
        parts.append(Part(*ways))
    return in_parts(parts, [], "every_step")


def begun(seed=7):
    """Two bidirectional layers that begin from a state."""
    rng, parts = np.random.default_rng(seed), []
    for inputs in (3, 4):
        arrays = [[rng.normal(0, 0.5, (8, *more)) for more in ((inputs,), (2,), ())] for _ in range(2)]
        states = [tuple(rng.uniform(-0.9, 0.9, (2, 2))) for _ in range(2)]
        pairs = zip(arrays, states, strict=True)
        parts.append(Part(*([LstmWeights(*some, initial=state)] for some, state in pairs)))
    return in_parts(parts, [], "every_step")


def plan_of(qmodel, rows=8, contexts=1, schedule="resident"):
    network, formats = network_of(qmodel, 16), engine_formats(qmodel) | {"weight_bits": 16}
    given = {"rows": rows, "contexts": contexts}
    return choose(network, 6, schedule=schedule, sequences=contexts, given=given, formats=formats).outcome.plan


def proved(model, rows=8, contexts=1):
    """A plan whose program the checker and the integer reference agree with, in longer runs than are kept too."""
    qmodel = quantize(model, X)
    plan = plan_of(qmodel, rows, contexts)
    assert check(plan) > 0
    stored = qmodel.quantize_input(X)[:contexts]
    long = np.concatenate([stored] * 12, axis=1)[:, : min(70, 3 * (model.arrangement.most or 7))]
    pieces = [Piece(stored), Piece(stored[:, :2]), Piece(long), Piece(stored[:, :1])]
    scenario_of(plan, image_words(plan, qmodel), ModelReference(qmodel), pieces, MemoryModel())
    return plan


@pytest.mark.parametrize("name", models())
def test_networks(name):
    proved(models()[name])


@pytest.mark.parametrize("kind, name", [("gru", "two both"), ("gru", "decoder"), ("before", "every step")])
def test_other_cells_side_by_side(kind, name):
    proved(models(kind)[name], rows=16, contexts=2)


@pytest.mark.parametrize("made", [projected, begun])
def test_projections_and_states(made):
    proved(made())


def test_cycles_grow_with_the_steps():
    """By the same for every step, as of other networks: each is walked once by each layer."""
    plan = plan_of(quantize(models()["two both"], X))
    cycles = [count_cycles(plan, steps).cycles for steps in (20, 40, 60)]
    assert cycles[2] - cycles[1] == cycles[1] - cycles[0]


def test_outputs_come_behind_all_x():
    """From the last x on, a phase of all steps: those of more steps take longer."""
    plan = plan_of(quantize(models()["every step"], X))
    found = [max(response(plan, steps=steps)) for steps in (2, 4, 6)]
    assert found[2] - found[1] == found[1] - found[0] > 0
    assert found[2] < count_cycles(plan, 6).cycles


@pytest.mark.parametrize("name, limit", [("two both", 512), ("one, both", 320), ("labels", 512), ("decoder", 10)])
def test_the_proof_asks_for_the_right_steps(name, limit):
    """Any change of where h of the steps below goes, and where a layer finds it, is found."""
    plan, tried = plan_of(quantize(models()[name], X)), 0
    for at, instruction in enumerate(plan.program.instructions):
        fields = dict(instruction.fields)
        if instruction.op != "ADD" or fields["limit"] != limit:
            continue
        fields["value"] = (fields["value"] + 1) % fields["limit"]
        changed = list(plan.program.instructions)
        changed[at] = type(instruction)("ADD", fields)
        tried += 1
        with pytest.raises(ProgramError):
            check(replace(plan, program=replace(plan.program, instructions=tuple(changed))))
    assert tried >= 2


@pytest.mark.parametrize("name", ["three steps", "nine steps"])
def test_the_proof_counts_the_steps_behind_the_last(name):
    """Those of x in front, and those in which the last one is repeated: any other count is found."""
    plan, tried = plan_of(quantize(models()[name], X)), 0
    for at, instruction in enumerate(plan.program.instructions):
        repeats = plan.network.repeats
        if instruction.op != "LOOP" or (instruction.count, instruction.count_reg) not in ((0, 7), (repeats, 0)):
            continue
        wrong = [(repeats, 0)] if instruction.count_reg else [(0, 7), (repeats - 1, 0), (repeats + 1, 0)]
        for count, register in wrong:
            changed = list(plan.program.instructions)
            changed[at] = type(instruction)("LOOP", {**instruction.fields, "count": count, "count_reg": register})
            tried += 1
            with pytest.raises(ProgramError):
                check(replace(plan, program=replace(plan.program, instructions=tuple(changed))))
    assert tried >= 4


def test_work_and_cycles_of_other_steps():
    """A further step of x takes none behind the last; no plan is below what the bounds say of its products."""
    plan = plan_of(quantize(models()["three steps"], X))
    network, counts = plan.network, [count_cycles(plan, steps) for steps in (8, 28, 48)]
    assert counts[2].cycles - counts[1].cycles == counts[1].cycles - counts[0].cycles
    assert network.steps_of(8) == (8, 3, 3, 3) and network.output_vectors(8) == 3
    first, *behind = network.layers
    assert network.macs(8) == 8 * first.macs + 3 * sum(layer.macs for layer in behind)
    for steps, found in zip((8, 28), counts, strict=False):
        columns, cells = columns_at_least("resident", network, 8, 1, steps, 1), cell_cycles(network, 1, steps, 1)
        assert 0.9 * found.busy < columns <= found.busy and cells <= found.cycles
    assert cell_cycles(network, 1, 28, 1, since=8) == cell_cycles(network, 1, 28, 1) - cell_cycles(network, 1, 8, 1)


@pytest.mark.parametrize(
    "most, units, way_out",
    [
        (
            9000,
            8,
            "65536 at most; must be with a smaller model.most_steps, of which 9000 are kept; or for a smaller model",
        ),
        (7, 160, "must be with engine.rows more: fewer row blocks; or engine.accumulators"),
    ],
)
def test_ways_out_are_those_of_a_model_that_waits(most, units, way_out):
    """No other schedule is one."""
    rng = np.random.default_rng(0)

    def both(inputs):
        arrays = [[rng.normal(0, 0.1, (units, *more)) for more in ((inputs,), (units,), ())] for _ in range(2)]
        return Part(*([PlainWeights(*some)] for some in arrays))

    model = in_parts([both(3), both(2 * units)], [], "every_step", most=most)
    with pytest.raises(ConfigError, match=way_out):
        plan_of(quantize(model, X), rows=4)


def test_h_of_all_steps():
    any_steps = Arrangement(most=64)
    h = np.arange(12.0).reshape(3, 4)
    assert waited("apart", h, any_steps).tolist() == [[0, 1, 10, 11], [4, 5, 6, 7], [8, 9, 2, 3]]
    assert waited("ends", h[:, :1], any_steps).tolist() == [[0, 8], [4, 4], [8, 0]]
    assert waited("twice", h[:, :2], any_steps).tolist() == [[8, 9, 8, 9]] * 3
    assert waited("both", h, any_steps)[0].tolist() == [0, 1, 10, 11, 8, 9, 2, 3]
    assert waited("last", h, any_steps).tolist() == [h[2].tolist()] * 3
    assert waited("twice", h[:, :2], Arrangement(repeats=2)).tolist() == [[8, 9, 8, 9]] * 2
    assert waited("ends", h[:, :1], Arrangement(most=2)).tolist() == [[8, 8], [4, 4], [8, 8]]


def test_a_saved_model(tmp_path):
    for name, arrangement in (("decoder", Arrangement(most=64)), ("three steps", Arrangement(repeats=3))):
        qmodel = quantize(models()[name], X)
        qmodel.save(tmp_path / "q.safetensors")
        found = QuantModel.load(tmp_path / "q.safetensors")
        assert found.digest() == qmodel.digest() and found.layers[1].waits == "last"
        assert found.arrangement == qmodel.arrangement == arrangement


def test_what_cannot_be():
    model = models()["every step"]
    with pytest.raises(InputError, match=r"shape \(1, 8, 3\); must have at most 7 steps"):
        float_reference(model, np.zeros((1, 8, 3)))
    with pytest.raises(InputError, match="state: true for .*; must begin from zero state"):
        qmodel = quantize(models()["decoder"], X)
        float_reference(models()["decoder"], X, integer_reference(qmodel, qmodel.quantize_input(X))[1])
    with pytest.raises(ConfigError, match="'conventional' for a model with a layer that waits for all steps"):
        plan_of(quantize(model, X), schedule="conventional")
    with pytest.raises(ModelError, match="1 layers that wait for all steps, of which there are at most 0"):
        replace(model, arrangement=replace(model.arrangement, most=0))
    with pytest.raises(ModelError, match="16 inputs; must be the 8 hidden units"):
        replace(model, layers=(model.layers[0], replace(model.layers[1], waits="apart")))
    with pytest.raises(ConfigError, match="arrangement: most: 5 to 4"):
        Arrangement(least=5, most=4)
    with pytest.raises(ConfigError, match="repeats: 3, with a linear layer for 5 steps; must be at most 16384"):
        Arrangement(repeats=3, steps=5)
    with pytest.raises(ModelError, match="the last step in 3 steps; must be for a layer that repeats the last h"):
        replace(model, arrangement=replace(model.arrangement, repeats=3))
    with pytest.raises(ModelError, match="0 layers that wait for all steps, of which there are at most 64"):
        decoder = models()["decoder"]
        replace(decoder, arrangement=replace(decoder.arrangement, repeats=3))
    network = network_of(quantize(models()["three steps"], X))
    with pytest.raises(ConfigError, match="network: repeats: 4 steps with 3 of h that is kept"):
        replace(network, repeats=4)


def test_thresholds_are_refused_before_they_are_searched():
    qmodel = quantize(models()["two both"], X)
    found = "delta: for a network with a layer that waits for h of all steps; must be for one without such a layer"
    with pytest.raises(ConfigError, match=found):
        search_thresholds(qmodel, qmodel.quantize_input(X), lambda tried: 0.0, 0.1, False)
    with pytest.raises(ConfigError, match="sparse_h: for a network with a layer that waits"):
        replace(qmodel, sparse_h=(4,) * len(qmodel.layers))
