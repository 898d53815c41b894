"""Runs of which only the first periods are walked, against the same runs command by command."""

import random

import numpy as np
import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.machine.isa import OPS, REGISTERS
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.fusion import FusionPlanner
from lstm_hw.plan.row_window import RowWindowPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.period import walk
from lstm_hw.proof.timing import Timing
from tests.builders import config_of, random_network
from tests.programs import random_engine, random_program

UNITS = {name for name, op in OPS.items() if op.unit}


def deciding(timing, program, registers):
    """Registers on which counts of loops or times of commands depend: the others need not be as they would be."""
    counts = {instr.count_reg for instr in program.instructions if instr.op == "LOOP"}
    units = [instr for instr in program.instructions if instr.op in UNITS]
    read = counts.union(register for instr in units for register, _ in timing.timed(instr))
    return [value if register in read else None for register, value in enumerate(registers)]


def by_command(config, memory, program, runs, spans=False):
    """Counters of runs that follow one another, and commands executed."""
    registers, left, found, commands = [0] * REGISTERS, 0, [], 0
    for entry, steps, clear in runs:
        timing = Timing(config, memory, 0 if clear else left)
        timing.lanes.spans = [] if spans else None
        for command in program.run(entry, steps, clear, registers):
            timing.execute(command)
            commands += 1
        left = timing.h_left
        found.append((timing.counters, left, deciding(timing, program, registers)))
    return found, commands


def in_periods(config, memory, program, runs):
    """The same, with whole periods skipped."""
    registers, left, found, commands = [0] * REGISTERS, 0, [], 0
    for entry, steps, clear in runs:
        timing = Timing(config, memory, 0 if clear else left)
        commands += walk(timing, program, entry, steps, clear, registers)
        left = timing.h_left
        found.append((timing.counters, left, deciding(timing, program, registers)))
    return found, commands


def memory_of(rng):
    return MemoryModel(rng.choice((1, 5, 40, 150)), rng.choice((1, 1, 2, 3)))


@pytest.mark.parametrize("first", range(0, 40, 20))
def test_random_programs(first):
    """Whatever the program is, no counter, register or token differs; most of its steps are skipped."""
    executed = walked = 0
    for seed in range(first, first + 20):
        rng = random.Random(seed)
        config = random_engine(rng)
        program, memory = random_program(rng, config), memory_of(rng)
        runs = [("run", steps, clear) for steps, clear in ((rng.randint(40, 160), True), (rng.randint(1, 20), False))]
        expected, commands = by_command(config, memory, program, runs)
        found, periods = in_periods(config, memory, program, runs)
        assert found == expected, seed
        executed, walked = executed + commands, walked + periods
    assert walked < 0.6 * executed


@pytest.mark.parametrize("seed", range(30))
def test_one_column_after_the_other(seed):
    """What a MAC does in closed form, against the same column by column."""
    rng = random.Random(seed)
    config = random_engine(rng)
    program, memory = random_program(rng, config), memory_of(rng)
    runs = [("run", 9, True)]
    assert by_command(config, memory, program, runs) == by_command(config, memory, program, runs, spans=True)


def plans(rng):
    """Plans of every schedule for a random layer and engine, as far as they fit."""
    network = Network((LayerShape("lstm", rng.randint(8, 40), rng.randint(8, 40), 15),))
    words, cells = rng.choice((200, 400)), rng.choice((1, 2, 5))
    fields = {
        "h_elements": 512,
        "x_elements": 2048,
        "accumulators": 256,
        "finish_entries": 64,
        "states": 1024,
        "program_length": 512,
    }
    config = config_of(
        rows=16, contexts=2, x_per_beat=4, weight_words=words, cells=cells, outstanding=rng.choice((1, 8)), **fields
    )
    makers = (
        lambda: ConventionalPlanner(network, config),
        lambda: ConventionalPlanner(network, config, 2),
        lambda: RowBlockPlanner(network, config, 2),
        lambda: RowWindowPlanner(network, config, 1),
        lambda: SaccPlanner(network, config, 1, 0),
        lambda: SaccPlanner(network, config, 4, 1),
        lambda: FusionPlanner(network, config, 4),
        lambda: BatchPlanner(network, config, 4, rng.randint(1, 6), 1),
        lambda: BatchPlanner(network, config, 2, rng.randint(1, 6), 3),
    )
    for make in makers:
        try:
            yield make().plan()
        except ConfigError:
            continue


@pytest.mark.parametrize("seed", (0, 3))
def test_plans(seed):
    """Every schedule, loaded and run twice with its state carried over."""
    rng = random.Random(seed)
    made = list(plans(rng))
    assert len(made) >= 4
    executed = skipping = 0
    for plan in made:
        memory, entries = memory_of(rng), plan.program.entries
        runs = [("load", 1, False)] * ("load" in entries) + [("run", 32, True), ("run", 32, False)]
        expected, commands = by_command(plan.config, memory, plan.program, runs)
        found, walked = in_periods(plan.config, memory, plan.program, runs)
        assert found == expected, plan.schedule
        executed, skipping = executed + commands, skipping + walked
    assert skipping < 0.8 * executed


def test_steps_cost_nothing():
    """A run of a million steps is walked in a few of them, and a step more is a step more."""
    model = random_network(np.random.default_rng(5), (6, 17, 9), head=3, head_every_step=True)
    config = config_of(rows=16, shifts=model.shifts, weight_words=4096, accumulators=64, x_elements=64)
    plan = ResidentPlanner(model.network, config).plan()

    def cycles(steps):
        found, walked = in_periods(config, None, plan.program, [("run", steps, True)])
        assert walked < 1000
        return found[0][0].cycles

    assert cycles(60) == by_command(config, None, plan.program, [("run", 60, True)])[0][0][0].cycles
    assert cycles(1_000_060) - cycles(60) == 100_000 * (cycles(70) - cycles(60))


def test_tiles_are_skipped_while_units_are_at_work():
    """The cells finish a step while the lanes go through the next one's x: nobody asks for h until then."""
    network = Network((LayerShape("lstm", 900, 128, 15),))
    depths = {"weight_words": 2048, "h_elements": 512, "x_elements": 4096, "accumulators": 64, "finish_entries": 64}
    more = {"states": 1024, "program_length": 512, "x_per_beat": 8, "axi_data_bits": 512}
    config = config_of(rows=64, contexts=8, cells=1, **depths, **more)
    plan, memory = BatchPlanner(network, config, 2, 2, 3).plan(), MemoryModel(40, 1)
    runs = [("load", 1, False), ("run", 8, True)]
    expected, commands = by_command(plan.config, memory, plan.program, runs)
    found, walked = in_periods(plan.config, memory, plan.program, runs)
    assert found == expected
    assert walked < 0.4 * commands
