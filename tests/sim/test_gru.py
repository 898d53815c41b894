"""A GRU in Verilog, resident and streamed: bits of an integer GRU and counters of the interpreter, run after run."""

import numpy as np
import pytest

from lstm_hw.gateware.top import Top
from lstm_hw.machine.formats import QFormat
from lstm_hw.model.reference import integer_reference
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.fusion import FusionPlanner
from lstm_hw.plan.row_window import RowWindowPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.verify.runs import ModelReference, Piece, image_words, scenario_of
from lstm_hw.verify.scenario import BENCH_MEMORY, Stress
from lstm_hw.verilog.emit import write_verilog
from sim.play import play
from tests.builders import PAIRS, config_of, random_network
from tests.delta import delta_model, plan_of
from tests.sim.scenarios import plan_scenario
from tests.simulators import QUICK

PIECES = ((3, True), (1, False), (2, True))
STATE = QFormat(0, 19)


PLANS = {
    "resident": (ResidentPlanner, {}, (5, 7, 6), 3, {"cells": 2, "rows": 16}),
    "side by side": (ResidentPlanner, {}, (4, 9), 0, {"contexts": 2, "x_per_beat": 2, "activation": "cubic"}),
    "pairs": (ResidentPlanner, {}, (3, 6), 2, {**PAIRS, "cells": 5, "cell": QFormat(0, 15)}),
    "conventional": (ConventionalPlanner, {}, (7, 9), 2, {}),
    "rowblock": (RowBlockPlanner, {"groups": 2}, (9, 7), 0, {"contexts": 2, "x_per_beat": 2, "cells": 2}),
    "sacc": (SaccPlanner, {"pinned": 1}, (6, 10), 0, {"contexts": 2, "cells": 5, "rows": 16}),
    "sbe": (
        BatchPlanner,
        {"batch": 3, "pinned": 2, "case": 2, "tile_columns": 4},
        (10, 9, 12),
        2,
        {"program_length": 512},
    ),
    "fusion": (FusionPlanner, {"batch": 4}, (6, 9), 0, {"contexts": 2, "x_per_beat": 2, "program_length": 512}),
    "row window": (RowWindowPlanner, {"window": 2}, (6, 9), 0, {"contexts": 2, "x_per_beat": 2, "program_length": 512}),
}


@pytest.mark.parametrize("name", PLANS)
def test_schedules_run_a_gru(tmp_path, name):
    """Programs pass the checker and the interpreter gives the bits; of some, Verilog gives them too."""
    planner, options, sizes, head, config = PLANS[name]
    bits = {"weight_bits": 8, "operand_bits": 8} if "operand_bits" in config else {}
    model = random_network(np.random.default_rng(7), sizes, head, kind="gru", **bits)
    engine = config_of(**{"weight_words": 512, "cell": STATE, **model.widths, **model.factors, **config})
    plan = planner(model.network, engine, **options).plan()
    check(plan, 5)
    scenario = plan_scenario(model, plan, PIECES, MemoryModel(20))
    if name in ("resident", "rowblock", "sbe"):
        verilog = write_verilog(tmp_path / "lstm_engine.v", Top(plan.config), "lstm_engine")
        simulator = "verilator" if name == "resident" else QUICK
        play(scenario, verilog, tmp_path / "simulation", image=plan.image, simulator=simulator)


RESET_BEFORE = {
    "a stack": (ResidentPlanner, {}, (5, 7, 6), 3, {"rows": 16}),
    "one row block": (ResidentPlanner, {}, (3, 4), 0, {"rows": 16}),
    "side by side": (ResidentPlanner, {}, (4, 9), 0, {"contexts": 2, "x_per_beat": 2, "activation": "cubic"}),
    "a parallel cell": (ResidentPlanner, {}, (3, 6, 5), 2, {**PAIRS, "cells": 5, "parallel": True}),
    "pairs": (ResidentPlanner, {}, (3, 6, 5), 2, {**PAIRS, "cells": 5, "cell": QFormat(0, 15)}),
    "conventional": (ConventionalPlanner, {}, (5, 8, 6, 7), 3, {"h_elements": 256}),
    "rowblock": (RowBlockPlanner, {"groups": 2}, (9, 7), 0, {"contexts": 2, "x_per_beat": 2, "cells": 2}),
    "groups": (RowBlockPlanner, {"groups": 3}, (5, 4, 9), 2, {"cells": 5, "h_elements": 256}),
}


@pytest.mark.parametrize("name", RESET_BEFORE)
def test_reset_before_the_product(tmp_path, name):
    """Programs pass the checker and the interpreter gives the bits; of some, Verilog gives them too."""
    planner, options, sizes, head, config = RESET_BEFORE[name]
    bits = {"weight_bits": 8, "operand_bits": 8} if "operand_bits" in config else {}
    every = {"kind": "gru", "reset_before": True, "head_every_step": bool(head)}
    model = random_network(np.random.default_rng(9), sizes, head, **every, **bits)
    engine = config_of(
        **{"weight_words": 512, "program_length": 512, "cell": STATE, **model.widths, **model.factors, **config}
    )
    plan = planner(model.network, engine, **options).plan()
    check(plan, 5)
    stress = Stress(0.3, 0.5, 0.3, seed=3) if name in ("a stack", "a parallel cell") else None
    scenario = plan_scenario(model, plan, PIECES, MemoryModel(20), stress=stress)
    if name in ("a stack", "a parallel cell", "pairs", "rowblock"):
        verilog = write_verilog(tmp_path / "lstm_engine.v", Top(plan.config), "lstm_engine")
        simulator = "verilator" if name == "a stack" else QUICK
        play(scenario, verilog, tmp_path / "simulation", image=plan.image, simulator=simulator)


def test_lists_of_what_changed(tmp_path):
    """A GRU as a delta network; with thresholds of 0 its outputs are those of the dense one."""
    dense, zero, x = delta_model(1, (3, 7, 5), 2, True, threshold=0.0, kind="gru")
    assert np.array_equal(integer_reference(zero, x)[0], integer_reference(dense, x)[0])
    _, qmodel, x = delta_model(1, (3, 7, 5), 2, True, threshold=0.1, kind="gru")
    assert not np.array_equal(integer_reference(qmodel, x)[0], integer_reference(dense, x)[0])
    plan = plan_of(qmodel, x, count_clipped=True)
    assert plan.config.kind == "gru"
    check(plan)
    pieces = [Piece(x[:1]), Piece(x[1:2, :3], False), Piece(x[2:3, :4])]
    scenario = scenario_of(plan, image_words(plan, qmodel), ModelReference(qmodel), pieces, BENCH_MEMORY)
    verilog = write_verilog(tmp_path / "lstm_engine.v", Top(plan.config), "lstm_engine")
    play(scenario, verilog, tmp_path / "simulation", image=plan.image, simulator=QUICK)
