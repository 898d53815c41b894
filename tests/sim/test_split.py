"""Columns of a last row block that are split over the lanes: bits, cycles, Verilog, and what a program may not do."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, FormatError, ProgramError
from lstm_hw.gateware.top import Top
from lstm_hw.machine.isa import SPACE_CONSTANT, Instruction
from lstm_hw.machine.latency import FINISH_DELAY, CellLatency
from lstm_hw.machine.layout import Tile
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.machine.pack import split_columns
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.proof.checker import check
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.verify.scenario import Stress
from lstm_hw.verilog.emit import write_verilog
from sim.play import play
from tests.builders import config_of, random_network
from tests.sim.scenarios import plan_scenario
from tests.simulators import QUICK

PIECES = ((3, True), (1, False), (2, True), (4, False))
LARGE = {"weight_words": 2048, "h_elements": 256, "x_elements": 128, "accumulators": 64, "states": 256}
FIVE = {"cells": 5, "parallel": True}
# How the tests' networks look: sizes, outputs of a head, traits, and fields of an engine
NETWORKS = {
    "two row blocks": ((5, 9), 0, {}, {"rows": 32, "split": 2, **FIVE}),
    "a quarter each, a beat a port": ((6, 18), 3, {}, {"rows": 64, "split": 4, "axi_ports": 2, "cells": 5}),
    "two sequences, rows of twelve": ((4, 8), 0, {}, {"rows": 24, "split": 2, "contexts": 2, "x_per_beat": 2}),
    "a stack and a head": ((5, 9, 12, 17), 4, {"head_every_step": True}, {"rows": 32, "split": 2, "cells": 2}),
    "three row blocks in turn": ((1, 17), 0, {}, {"rows": 32, "split": 2, "cells": 5}),
    "a part of two groups": ((3, 21), 0, {}, {"rows": 64, "split": 2, **FIVE}),
    "a GRU": ((5, 9, 9), 2, {"kind": "gru"}, {"rows": 32, "split": 2, **FIVE}),
    "a part that is full": ((7, 12), 0, {"lifts": ((0, 3),)}, {"rows": 32, "split": 2, "accumulator_bits": 48}),
}
IN_VERILOG = {"a quarter each, a beat a port", "two sequences, rows of twelve"}


def planned(name, **fields):
    sizes, head, traits, config = NETWORKS[name]
    model = random_network(np.random.default_rng(3), sizes, head, **traits)
    engine = config_of(**{**LARGE, "program_length": 512, **model.widths, **model.factors, **config, **fields})
    return model, ResidentPlanner(model.network, engine).plan()


def cycles_per_step(plan):
    return (count_cycles(plan, 60).cycles - count_cycles(plan, 30).cycles) / 30


@pytest.mark.parametrize("name", NETWORKS)
def test_bits_of_the_network_in_no_more_cycles(tmp_path, name):
    """The interpreter gives the bits of the integer reference; of some, Verilog gives them and its cycles too."""
    model, plan = planned(name)
    assert check(plan, 5) == check(planned(name, split=1)[1], 5) > 0
    assert cycles_per_step(plan) <= cycles_per_step(planned(name, split=1)[1])
    scenario = plan_scenario(model, plan, PIECES, MemoryModel(20))
    if name in IN_VERILOG:
        verilog = write_verilog(tmp_path / "lstm_engine.v", Top(plan.config), "lstm_engine")
        stressed = plan_scenario(model, plan, PIECES, MemoryModel(20), stress=Stress(0.3, 0.5, 0.3, seed=3))
        for one in (scenario, stressed):
            play(one, verilog, tmp_path / "simulation", image=plan.image, simulator=QUICK)


@pytest.mark.parametrize("activation, most", [("quadratic64", 47), ("table", 43)])
def test_a_small_network_takes_the_cycles_that_its_h_takes(activation, most):
    """8 inputs and 20 units on 64 lanes: 35 cycles of columns, but h of the last unit comes 19 behind the first."""
    network = Network((LayerShape("lstm", 8, 20, 15),))
    config = config_of(**LARGE, rows=64, **FIVE, split=4, activation=activation)
    cell = CellLatency(config)
    latency = FINISH_DELAY + cell.total + cell.token
    assert cycles_per_step(ResidentPlanner(network, config).plan()) == latency + 19 <= most


@pytest.mark.parametrize(
    "planner, sizes",
    [(ResidentPlanner, (3, 8)), (ResidentPlanner, (3, 14)), (ResidentPlanner, (56, 9)), (RowBlockPlanner, (3, 9))],
    ids=["one row block", "too many rows", "too many columns", "another schedule"],
)
def test_an_engine_that_would_split_nothing_is_refused(planner, sizes):
    network = Network((LayerShape("lstm", *sizes, 15),))
    with pytest.raises(ConfigError, match=r"engine.split: 2; must be 1: .* at most 64"):
        planner(network, config_of(**LARGE, rows=32, split=2))


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"rows": 48, "split": 2}, "engine.split: 2; must be 1, or a power of two up to the 3 lane groups"),
        ({"rows": 32, "split": 4}, "engine.split: 4; must be 1, or a power of two up to the 2 lane groups"),
        ({"rows": 64, "split": 3}, "engine.split: 3; must be 1, or a power of two"),
        ({"rows": 64, "split": 4, "window": 16}, "engine.window: 16; must be 0 in an engine with split = 4"),
    ],
)
def test_engines_that_can_not_split_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        config_of(**fields)


def _with(instruction, **fields):
    return Instruction(instruction.op, MappingProxyType({**instruction.fields, **fields}))


def _changed(plan, which, **fields):
    """The plan with other fields in the MACs that ``which`` chooses."""
    changed = [_with(i, **fields) if i.op == "MAC" and which(i) else i for i in plan.program.instructions]
    return replace(plan, program=replace(plan.program, instructions=tuple(changed)))


@pytest.mark.parametrize(
    "which, fields, message",
    [
        (lambda mac: mac.gather, {"gather": 0, "fill": 0}, "must be all .* of a tile of .* columns, with gather"),
        (lambda mac: mac.gather, {"fill": 64}, "must have one|must hold the elements that the columns multiply"),
        (lambda mac: mac.gather, {"fill": 65}, "must begin with the first part"),
        (lambda mac: mac.gather, {"fill": 126}, "must name some of 64 places"),
        (lambda mac: mac.gather, {"fill": 3}, "must name some of 64 places"),
        (lambda mac: mac.fill and not mac.gather, {"fill": 0}, "times x that nobody wrote"),
        (lambda mac: mac.fill and not mac.gather, {"gather": 1, "wait": 0}, "must not be with gather"),
        (lambda mac: mac.gather and mac.finish, {"mask": 0}, "finish without contexts"),
    ],
)
def test_what_a_program_may_not_do(which, fields, message):
    _, plan = planned("two row blocks")
    with pytest.raises(ProgramError, match=message):
        check(_changed(plan, which, **fields))


def test_sums_of_parts_are_finished_as_such():
    """A last MAC whose columns all lanes multiply would hand the sum of the first part to the cell unit."""
    _, plan = planned("two row blocks")
    instructions = list(plan.program.instructions)
    last = max(at for at, i in enumerate(instructions) if i.op == "MAC" and i.gather)
    bias = next(i for i in instructions if i.op == "MAC" and i.space == SPACE_CONSTANT)
    none = dict.fromkeys(("hold", "load", "store", "fresh", "target", "source"), 0)
    instructions[last] = _with(instructions[last], finish=0)
    instructions.insert(last + 1, _with(bias, **none, slots=1, finish=1))
    spoilt = replace(plan, program=replace(plan.program, instructions=tuple(instructions)))
    with pytest.raises(ProgramError, match="row block 0 of layer 0 added to row block 1|sums of parts"):
        check(spoilt)


def test_columns_lie_in_the_parts_that_multiply_them():
    rng = np.random.default_rng(0)
    columns = np.zeros((1, 8, 5), dtype=np.int64)
    columns[:, :4] = rng.integers(1, 9, (1, 4, 5))
    words = split_columns(columns, 2)
    assert words.shape == (1, 8, 3) and Tile(0, "h", 1, 1, 0, 5, split=2).words == 3
    assert np.array_equal(words[:, :4], columns[:, :4, 0::2])
    assert np.array_equal(words[:, 4:, :2], columns[:, :4, 1::2]) and not words[:, 4:, 2].any()
    with pytest.raises(FormatError, match="must be of the first one"):
        split_columns(columns, 4)
