"""Two directions on the resident schedule: each row block walks the columns of its own, proved and in every bit."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ModelError, ProgramError
from lstm_hw.machine.arrangement import Arrangement
from lstm_hw.model.both_ways import Part, in_parts
from lstm_hw.model.float_model import GruWeights, LstmWeights, PlainWeights
from lstm_hw.model.quantize import quantize
from lstm_hw.plan.choose import choose
from lstm_hw.plan.sizing import engine_formats, network_of
from lstm_hw.proof.checker import check
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.verify.runs import ModelReference, Piece, image_words, scenario_of
from tests.model.test_both_ways import both

X = np.random.default_rng(2).uniform(-1, 1, (2, 6, 3))


def of_kind(kind, units=4):
    """A model without a head."""
    rng = np.random.default_rng(5)

    def layers():
        if kind == "projected":
            lstm = LstmWeights(rng.normal(0, 0.5, (32, 3)), rng.normal(0, 0.5, (32, 4)), np.ones(32), projected=True)
            return [lstm, PlainWeights(rng.normal(0, 0.5, (4, 8)), np.zeros((4, 0)), np.zeros(4), "projection")]
        if kind == "plain":
            w_x, w_h = rng.normal(0, 0.5, (units, 3)), rng.normal(0, 0.5, (units, units))
            return [PlainWeights(w_x, w_h, np.ones(units), activation="tanh")]
        w_x, w_h, *biases = (rng.normal(0, 0.5, (3 * units, *more)) for more in ((3,), (units,), (), ()))
        return [GruWeights.of_gates(w_x, w_h, *biases, "gru", reset_before=kind == "reset before")]

    front = [PlainWeights(rng.normal(0, 1, (3, 3)), np.zeros((3, 0)), np.zeros(3), "front", activation="relu")]
    return in_parts([Part(front * (kind == "plain")), Part(layers(), layers())], [], "every_step")


def plan_of(qmodel, rows, contexts=1, directions=2):
    network, formats = network_of(qmodel, 16), engine_formats(qmodel) | {"weight_bits": 16}
    if directions == 1:
        network = replace(network, layers=tuple(replace(layer, directions=1) for layer in network.layers))
    given = {"rows": rows, "contexts": contexts}
    found = choose(network, 6, schedule="resident", sequences=contexts, given=given, formats=formats)
    return found.outcome.plan


def proved(model, rows, contexts=1):
    """A plan whose program the checker and the integer reference agree with."""
    qmodel = quantize(model, X)
    plan = plan_of(qmodel, rows, contexts)
    assert check(plan) > 0
    stored = qmodel.quantize_input(X)[:contexts]
    pieces = [Piece(stored), Piece(stored[:, :2])]
    scenario_of(plan, image_words(plan, qmodel), ModelReference(qmodel), pieces, MemoryModel())
    return plan, plan_of(qmodel, rows, contexts, directions=1)


@pytest.mark.parametrize(
    "units, rows, mode, share",
    [(4, 8, "every_step", 0.85), (4, 4, "final_state", 0.65), (16, 16, "none", 0.6), (5, 8, "last_step", 1)],
)
def test_columns_of_the_other_direction_are_left_out(units, rows, mode, share):
    """Unless a row block has units of both."""
    plan, whole = proved(both(mode, units), rows)
    assert (plan.image.words < whole.image.words) == (share < 1)
    assert count_cycles(plan, 6).cycles <= share * count_cycles(whole, 6).cycles


@pytest.mark.parametrize("kind", ["gru", "plain", "projected", "reset before"])
@pytest.mark.parametrize("contexts", [1, 2])
def test_all_kinds(kind, contexts):
    proved(of_kind(kind), 8 if kind != "plain" else 4, contexts)


def test_the_proof_asks_for_all_columns_of_one_direction():
    """What may be left out of two may not of one."""
    plan = plan_of(quantize(both("none"), X), 8)
    layer = replace(plan.network.layers[0], directions=1)
    with pytest.raises(ProgramError, match="column . of row block 0 of layer 0 counted 0 times"):
        check(replace(plan, network=replace(plan.network, layers=(layer,))))


def test_weights_between_directions_are_refused():
    model = both("none")
    w_h = model.layers[0].w_h.copy()
    w_h[0, 7] = 1
    with pytest.raises(ModelError, match="w_h: weights from one direction to the other; must be zero"):
        replace(model, layers=(replace(model.layers[0], w_h=w_h),))
    with pytest.raises(ModelError, match="weight: weights from one direction to the other; must be zero"):
        replace(both("final_state"), head_every_step=True, arrangement=Arrangement("both", "added"))
