"""Lists in Verilog: bits of the reference and counters of the interpreter, with pauses, empty lists and full ones."""

from dataclasses import dataclass

import numpy as np
import pytest

from lstm_hw.gateware.top import Top
from lstm_hw.machine.config import EngineConfig
from lstm_hw.proof.checker import check
from lstm_hw.verify.runs import ModelReference, Piece, image_words, scenario_of
from lstm_hw.verify.scenario import BENCH_MEMORY, Stress
from lstm_hw.verilog.emit import write_verilog
from sim.play import play
from sim.runner import run_bench
from tests.delta import delta_model, plan_of
from tests.simulators import QUICK


@dataclass
class Built:
    """A delta network with its plan, its Verilog and inputs."""

    qmodel: object
    x: np.ndarray
    plan: object
    verilog: object

    def play(self, folder, pieces, stress=None, simulator="verilator"):
        words = image_words(self.plan, self.qmodel)
        scenario = scenario_of(self.plan, words, ModelReference(self.qmodel), pieces, BENCH_MEMORY, stress)
        return play(scenario, self.verilog, folder, image=self.plan.image, simulator=simulator).runs


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Two layers, of 5 and 3 row blocks, and a head on every step."""
    _, qmodel, x = delta_model(1, (3, 10, 6), 4, True, threshold=0.1)
    plan = plan_of(qmodel, x)
    check(plan)
    folder = tmp_path_factory.mktemp("stack")
    return Built(qmodel, x, plan, write_verilog(folder / "lstm_engine.v", Top(plan.config), "lstm_engine"))


def pieces_of(x):
    """Runs from zero state and runs that go on, of many steps and of one."""
    return [Piece(x[:1]), Piece(x[1:2, :4], False), Piece(x[2:3]), Piece(x[2:3, :1], False), Piece(x[3:4, :1])]


@pytest.mark.parametrize("stress", [None, Stress(0.3, 0.5, 0.3, seed=3), Stress(0.0, 0.9, 0.0, seed=4)])
def test_bits_and_cycles(tmp_path, stack, stress):
    stack.play(tmp_path, pieces_of(stack.x), stress)


def test_nothing_changes_and_everything_does(tmp_path, stack):
    """Lists of x that are empty from the first vector on; and full ones, of changes as large as there are."""
    low, high = stack.qmodel.input_format.lowest, stack.qmodel.input_format.highest
    still = np.zeros((1, 6, 3), dtype=np.int64)
    wild = np.where(np.arange(6)[:, None] % 2, low, high) * np.ones((1, 1, 3), dtype=np.int64)
    quiet, busy = (run["counters"]["busy"] for run in stack.play(tmp_path, [Piece(still), Piece(wild)])[1:])
    assert quiet < busy


@pytest.mark.parametrize(
    "sizes, fields",
    [
        ((1, 9, 5), {"rows": 16, "cells": 5}),
        ((1, 1), {"rows": 4}),
    ],
)
def test_other_shapes(tmp_path, sizes, fields):
    """x of one element, a single row block, a cell a cycle; threshold 0 walks every change."""
    _, qmodel, x = delta_model(2, sizes, threshold=0)
    plan = plan_of(qmodel, x, **fields)
    check(plan)
    verilog = write_verilog(tmp_path / "lstm_engine.v", Top(plan.config), "lstm_engine")
    Built(qmodel, x, plan, verilog).play(tmp_path / "simulation", pieces_of(x), simulator=QUICK)


def test_aborts(tmp_path):
    """A run is given up in every cycle of it, lists half written or half walked; the next from zero state is right."""
    _, qmodel, x = delta_model(3, (2, 3), threshold=0.05, sequences=1)
    plan = plan_of(qmodel, x, rows=4)
    pieces = [Piece(x[:, :2]), Piece(x[:, 2:3], False)]
    scenario = scenario_of(plan, image_words(plan, qmodel), ModelReference(qmodel), pieces)
    scenario.save(tmp_path / "scenario")
    verilog = write_verilog(tmp_path / "lstm_engine.v", Top(plan.config), "lstm_engine")
    environment = {"LSTM_HW_SCENARIO": str(tmp_path / "scenario")}
    run_bench([verilog], "lstm_engine", "sim.bench_abort", short=True, timeout=500, extra_env=environment)


def test_engines_without_lists_have_nothing_of_them(tmp_path):
    """No signal, port or field of an instruction, so their Verilog is what it was."""
    text = write_verilog(tmp_path / "a.v", Top(EngineConfig(rows=4, axi_data_bits=64)), "lstm_engine").read_text()
    for name in ("encoder", "list", "delta", "threshold", "unsized", "next_base", "latest"):
        assert name not in text
