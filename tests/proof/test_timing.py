"""The cycle model: schedules worked out by hand, sums that must hold for every network, and waits without an end."""

import re
from types import MappingProxyType

import numpy as np
import pytest

from lstm_hw.errors import ProgramError
from lstm_hw.machine.isa import MODE_ZERO, SPACE_CONSTANT, instruction
from lstm_hw.machine.latency import CellLatency
from lstm_hw.machine.program import Program
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.timing import Timing
from tests.builders import config_of, random_network


def run(instructions, config=None, memory=None, h_tokens=0, steps=1):
    """Timing of a program that starts at address 0."""
    timing = Timing(config or config_of(), memory, h_tokens)
    program = Program((*instructions, instruction("HALT")), MappingProxyType({"run": 0}))
    for command in program.run("run", steps, False):
        timing.execute(command)
    return timing


def mac(columns, slots=1, **fields):
    return instruction("MAC", columns=columns, slots=slots, mask=1, **({"space": SPACE_CONSTANT} | fields))


def columns_of(timing):
    return timing.lanes.first_issue, timing.lanes.last_issue


def test_an_empty_program():
    """Start 0, fetch 1, execute 2, done in 3."""
    assert run([]).counters.to_dict() == {
        "cycles": 3,
        "busy": 0,
        "stall_weights": 0,
        "stall_h": 0,
        "stall_x": 0,
        "stall_output": 0,
        "empty": 3,
        "read_beats": 0,
    }


@pytest.mark.parametrize("scalars", [0, 1, 5])
def test_one_mac(scalars):
    """Two cycles a scalar; fetch, execute, dispatch, into the queue, out of it, first column."""
    timing = run([instruction("SET", register=1)] * scalars + [mac(10)])
    first = 2 * scalars + 1 + 2 + 1 + 1
    assert columns_of(timing) == (first, first + 9)
    assert timing.counters.busy == 10 and timing.counters.cycles == first + 10


def test_long_macs_follow_without_a_gap_and_short_ones_wait_for_the_sequencer():
    assert columns_of(run([mac(5)] * 6)) == (5, 34)
    # A command every three cycles; two columns take two of them.
    assert columns_of(run([mac(2)] * 6)) == (5, 5 + 5 * 3 + 1)


@pytest.mark.parametrize("columns, between, bubbles", [(1, 0, 2), (3, 0, 2), (1, 1, 1), (2, 3, 0)])
def test_sums_that_were_just_stored(columns, between, bubbles):
    """The slot after the store of its entry waits for it, three columns from the store to the load."""
    slots = [
        mac(20),
        mac(columns, store=1, target=3),
        *([mac(between)] if between else []),
        mac(columns, load=1, source=3),
    ]
    timing = run(slots)
    assert timing.counters.stall_h == bubbles
    assert columns_of(timing) == (5, 5 + 20 + 2 * columns + between + bubbles - 1)


@pytest.mark.parametrize("cells, parallel", [(1, False), (2, False), (5, False), (5, True)])
def test_h_goes_round(cells, parallel):
    """From the last column of a row block to the column that uses the h of its first unit: a cycle behind its write, or
    two before it."""
    config = config_of(cells=cells, parallel=parallel)
    latency, token = CellLatency(config), -2 if parallel else 1
    timing = run(
        [mac(5, finish=1), instruction("CELL", units=1, mask=1, write=1, signal=1), mac(1, space=0, wait=1, take=1)],
        config,
    )
    finished = 5 + 4 + 6  # the last column, and what the drain is told
    start = finished + (1 - finished) % 5  # the first cell starts in cycles 1, 6, 11, ...
    if cells > 1:
        start = min(c for c in range(finished, finished + 6) if (c - 1) % 5 in {2: (0, 3), 5: range(5)}[cells])
    assert columns_of(timing)[1] == start + latency.total + token
    # The MAC comes behind two commands, in cycle 10: the cycle before it waits is an empty one.
    assert timing.counters.stall_h == start + latency.total + token - (5 + 6)


@pytest.mark.parametrize("seed", range(6))
def test_counters_of_random_networks(seed):
    """Each cycle counts once, each column and each beat once, whatever the memory does."""
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(1, 20, int(rng.integers(2, 5)))]
    model = random_network(rng, sizes, head=int(rng.integers(0, 6)), head_every_step=bool(seed % 2))
    config = config_of(
        rows=int(rng.choice([4, 8, 16])),
        cells=int(rng.choice([1, 2, 5])),
        shifts=model.shifts,
        weight_words=4096,
        accumulators=256,
        finish_entries=64,
    )
    plan = ResidentPlanner(model.network, config).plan()
    blocks = {layer: shape.blocks(config.rows) for layer, shape in enumerate(model.network.layers)}
    before = 0
    for memory in (MemoryModel(), MemoryModel(50, 1), MemoryModel(50, 4)):
        timing = executed(plan, "load", 1, memory)
        counters = timing.counters
        assert counters.read_beats == plan.image.beats(config)
        assert counters.busy == sum(t.words for t in plan.image.tiles if t.part == "bias")
        assert counters.cycles >= max(before, counters.read_beats * memory.interval)
        before = counters.cycles
    lengths = {}
    for steps in (0, 1, 2, 7, 8, 9):
        counters = executed(plan, "run", steps, None, h_tokens=sum(s.outputs for s in model.network.recurrent)).counters
        parts = counters.busy + counters.stall_weights + counters.stall_h + counters.stall_x + counters.stall_output
        assert parts + counters.empty == counters.cycles and counters.empty >= 0
        columns = sum(blocks[n] * s.columns for n, s in enumerate(model.network.layers) if s.kind == "lstm") * steps
        if model.network.head:
            columns += blocks[len(blocks) - 1] * model.network.head.columns * (steps if seed % 2 else 1)
        assert counters.busy == columns and counters.stall_weights == counters.read_beats == 0
        lengths[steps] = counters.cycles
    # In the steady state a step more is as long as the one before, up to the five phases of the cells.
    assert abs((lengths[9] - lengths[8]) - (lengths[8] - lengths[7])) <= 5


def executed(plan, entry, steps, memory=None, h_tokens=0):
    timing = Timing(plan.config, memory, h_tokens)
    for command in plan.program.run(entry, steps, False, [0] * 8):
        timing.execute(command)
    return timing


def test_x_vectors_wait_for_a_free_one():
    """With one buffer the next vector comes only behind the MAC that frees it; with two it is already there."""
    body = [instruction("INPUT", elements=6, wait=1), mac(6, space=1, wait=1, take=1, free=1)] * 4
    one, two = (run([instruction("BUFFERS", count=n), *body]).counters for n in (1, 2))
    assert one.busy == two.busy == 24
    assert one.stall_x > two.stall_x and one.cycles > two.cycles
    # From the free to the next vector: one cycle, the beat, its two cycles to the first column.
    assert one.cycles - two.cycles == one.stall_x - two.stall_x


def test_room_for_finished_row_blocks():
    """Row blocks wait until a CELL has taken others; one that waits for a later CELL would wait for ever."""
    block, cell = mac(1, slots=5, finish=1), instruction("CELL", units=5, mask=1, write=1)
    waits = [run([block, cell] * 2, config_of(finish_entries=n)).counters.stall_output for n in (10, 8)]
    assert waits[0] == 0 < waits[1]
    with pytest.raises(ProgramError, match="row block 5, only 4 find room; must not wait for a CELL that comes later"):
        run([block, cell], config_of(finish_entries=4))
    with pytest.raises(ProgramError, match="waits for row block 1, only 0 are finished; must follow the MAC"):
        run([cell, block])


@pytest.mark.parametrize(
    "instructions, message",
    [
        ([mac(1, space=0, wait=1)], "waits for token 1, only 0 come; must not wait forever"),
        ([mac(3, space=1, wait=1, take=1, offset=2)], "waits for token 5, only 0 come"),
        ([mac(2, fresh=1)], "program address 0: waits for word 2, only 0 arrive; must not wait for words"),
        ([instruction("RING"), mac(2, stream=1)], "program address 1: waits for word 2, only 0 arrive"),
        (
            [instruction("RING", base=1000), instruction("LOAD", beats=2 * 25, stream=1)],
            "a LOAD waits for ring space for ever; must release every word it streams",
        ),
        (
            [instruction("RING", base=1000)] + [instruction("LOAD", beats=2 * 25, stream=1)] * 8,
            "a LOAD that can never be queued; must not wait for ring space that only later MACs release",
        ),
    ],
)
def test_waits_without_an_end(instructions, message):
    with pytest.raises(ProgramError, match=re.escape(message)):
        run(instructions)


def test_tokens_of_h_are_left_for_the_next_run():
    zero = instruction("CELL", units=7, mask=1, mode=MODE_ZERO, write=1, signal=1)
    assert run([zero]).h_left == 7
    assert run([zero, mac(3, space=0, wait=1, take=1)], h_tokens=2).h_left == 6
