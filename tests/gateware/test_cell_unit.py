"""The cell unit against whole vectors: bits, order, addresses, tlast, latency, and output that is held back."""

import random
from collections import deque

import numpy as np
import pytest

from lstm_hw.gateware.cell_unit import CellUnit
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.isa import MODE_CELL, MODE_LINEAR, MODE_ZERO
from lstm_hw.machine.latency import DRAIN_TOLD, drain_latency
from lstm_hw.machine.limits import GATES
from tests.builders import PAIRS, config_of, half_up, lstm_cell
from tests.simulation import monitor, observe, simulate, sink, source

SHIFTS = (15, 11, 20)


def cell_command(units, mode=MODE_CELL, **fields):
    return {
        "units": units,
        "mask": 1,
        "mode": mode,
        "scale": 0,
        "state": 0,
        "state_stride": 0,
        "target": 0,
        "write": int(mode != MODE_LINEAR),
        "signal": int(mode != MODE_LINEAR),
        "emit": 0,
        "last": 0,
    } | fields


def row_blocks(config, command):
    """Finished row blocks that a command reads."""
    rows = command["units"] * (1 if command["mode"] == MODE_LINEAR else GATES)
    return 0 if command["mode"] == MODE_ZERO or not command["mask"] else -(-rows // config.rows)


def reference(config, commands, blocks):
    """What the commands do with the row blocks: (units of c and h in order, output beats in order)."""
    blocks, states = deque(blocks), {}
    units, beats = [], []
    for command in commands:
        contexts = [k for k in range(config.contexts) if command["mask"] >> k & 1]
        count = row_blocks(config, command)
        taken = [blocks.popleft() for _ in range(count)]
        rows = np.concatenate(taken) if taken else np.zeros((GATES * command["units"], config.contexts), dtype=np.int64)
        preact = half_up(rows, config.shifts[command["scale"]], config.preact.width)
        sent = []
        if command["mode"] == MODE_LINEAR:
            for first in range(0, command["units"], GATES):
                for k in contexts:
                    sent += half_up(preact[first : min(first + GATES, command["units"]), k], 0).tolist()
        else:
            for unit in range(command["units"]):
                for position, k in enumerate(contexts):
                    state = command["state"] + unit + position * command["state_stride"]
                    h = states[state] = 0
                    if command["mode"] == MODE_CELL:
                        h, c = lstm_cell(
                            config,
                            preact[GATES * unit : GATES * (unit + 1), k],
                            states.get(state, 0),
                            command["scale"],
                        )
                        states[state] = int(c)
                    sent.append(int(h))
                    units.append(
                        {
                            "write": command["write"],
                            "bank": k,
                            "address": command["target"] + unit,
                            "data": int(h),
                            "signal": command["signal"] and position == len(contexts) - 1,
                        }
                    )
        if command["emit"]:
            beats += [(value, int(command["last"] and n == len(sent) - 1)) for n, value in enumerate(sent)]
    return units, beats


class TB:
    """A cell unit with a model of the lanes behind it: row blocks that finish, and the drain chain.

    Parameters
    ----------
    config : EngineConfig
    commands : list of dicts
    seed : int
    idle, gap, stall : float
        Probability in each cycle that no command is offered, no row block finishes, no output is taken.
    """

    def __init__(self, config, commands, seed=0, idle=0.0, gap=0.0, stall=0.0):
        self.config, self.commands, self.rng = config, commands, random.Random(seed)
        self.idle, self.gap, self.stall = idle, gap, stall
        numbers = np.random.default_rng(seed)
        shape = config.rows, config.contexts
        self.blocks = [
            numbers.integers(-1 << 40, 1 << 40, shape) >> numbers.integers(10, 24)
            for command in commands
            for _ in range(row_blocks(config, command))
        ]
        self.unit = CellUnit(config)
        self.finished, self.freed = [], []  # cycles, one a row block
        self.requests, self.writes, self.beats, self.beat_times = [], [], [], []

    def run(self):
        units, beats = reference(self.config, self.commands, self.blocks)
        signals = [unit for unit in units if unit["write"] or unit["signal"]]

        async def ends(context):
            await source(self.unit.i, self.commands, self.rng, self.idle)(context)
            await context.tick().until(self.unit.o_idle)
            assert len(self.beats) == len(beats), "idle before the last beat was taken"
            assert len(self.writes) == len(signals), "idle before the last h was written"
            await context.tick().repeat(50)

        simulate(
            self.unit,
            ends,
            background=(
                self.lanes,
                self.watch(),
                monitor(self.unit.o, "output"),
                sink(self.unit.o, self.rng, self.stall, self.beats, self.beat_times),
            ),
        )
        assert [(b.data, b.last) for b in self.beats] == beats
        assert len(self.freed) == len(self.blocks)
        for (_, found), unit in zip(self.writes, signals, strict=True):
            assert found["write"] == unit["write"] and found["signal"] == unit["signal"]
            if unit["write"]:
                assert found == unit

    async def lanes(self, context):
        """Finish row blocks as there is room; answer requests with the sums of the row block in that entry."""
        unit, config = self.unit, self.config
        answers, now = deque(), 0
        context.set(unit.i_clear, 1)
        while True:
            room = len(self.finished) - len(self.freed) < config.finish_entries
            finishes = now > 0 and len(self.finished) < len(self.blocks) and room and self.rng.random() >= self.gap
            context.set(unit.i_finished, finishes)
            arrives = bool(answers) and answers[0][0] == now
            context.set(unit.i_arrived, arrives)
            if arrives:
                context.set(unit.i_drained, answers.popleft()[1])
            _, _, request, freed = await context.tick().sample(unit.o_drain, unit.o_finish_free)
            context.set(unit.i_clear, 0)
            if request.valid:
                readable = [
                    n
                    for n, cycle in enumerate(self.finished)
                    if n % config.finish_entries == request.entry and cycle + DRAIN_TOLD < now
                ]
                # A unit of zeros asks as well, and does not look at the answer.
                nothing = np.ones((config.rows, config.contexts), dtype=np.int64)
                block = self.blocks[readable[-1]] if readable else nothing
                width = config.drain_width
                first = request.group * config.group_rows + request.piece * width
                values = block[first : first + width, request.context].tolist()
                answers.append((now + drain_latency(config.groups), values))
                self.requests.append(now)
            if finishes:
                self.finished.append(now)
            if freed:
                self.freed.append(now)
            now += 1

    def watch(self):
        unit = self.unit
        names = ("write", "bank", "address", "data", "signal")

        def note(now, *values):
            found = dict(zip(names, values, strict=True))
            if found["write"] or found["signal"]:
                self.writes.append((now, found))

        return observe(note, unit.o_h_write, unit.o_h_bank, unit.o_h_address, unit.o_h_data, unit.o_signal)


def random_commands(rng, config, count):
    """Commands of all modes; states and h addresses come round only long after their last use, and are the last ones of
    deep memories."""
    commands, state, target = [], config.states - STATES, config.h_elements - ELEMENTS
    for _ in range(count):
        mode = rng.choice((MODE_CELL, MODE_CELL, MODE_LINEAR, MODE_ZERO))
        hidden = mode != MODE_LINEAR
        units, mask = rng.choice((0, 1, 2, rng.randint(1, 14))), rng.randrange(1 << config.contexts)
        stride = rng.choice((units, units + 3))
        need = config.contexts * stride + 1
        state = state if state + need <= config.states else config.states - STATES
        target = target if target + units <= config.h_elements else config.h_elements - ELEMENTS
        commands.append(
            cell_command(
                units,
                mode,
                mask=mask,
                scale=rng.randrange(len(SHIFTS)),
                state=state,
                state_stride=stride,
                target=target,
                write=int(hidden and rng.random() < 0.8),
                signal=int(hidden and rng.random() < 0.7),
                emit=int(mode != MODE_ZERO and rng.random() < 0.7),
                last=int(rng.random() < 0.8),
            )
        )
        state, target = state + need, target + units
    return commands


STATES, ELEMENTS = 600, 300
"""As many as random commands need not to meet again."""
CONFIGS = {
    "1 cell, K=1": {"rows": 8, "cells": 1},
    "2 cells, K=2": {"rows": 16, "cells": 2, "contexts": 2, "x_per_beat": 2},
    "5 cells, K=3, deep": {
        "rows": 32,
        "cells": 5,
        "contexts": 3,
        "x_per_beat": 4,
        "states": 4096 + STATES - 100,
        "h_elements": 1 << 16,
    },
    "5 cells, pwl, R=4": {"rows": 4, "cells": 5, "activation": "pwl", "finish_entries": 3},
    "2 cells, R=8, 2 entries": {
        "rows": 8,
        "cells": 2,
        "finish_entries": 2,
        "activation": "taylor(segments=64, order=3)",
    },
    "2 cells, 24-bit c": {"rows": 8, "cells": 2, "cell": QFormat(9, 14)},
    "2 cells, 20-bit pre-activations": {"rows": 8, "cells": 2, "preact": QFormat(3, 16), "activated": QFormat(0, 17)},
    "2 cells, h of layers": {"rows": 8, "cells": 2, "h_shifts": (0, 3)},
    "5 cells, h of layers": {"rows": 16, "cells": 5, "activation": "nonuniform", "h_shifts": (2, 0, 1)},
    "2 cells, c of layers": {"rows": 8, "cells": 2, "c_shifts": (0, 3)},
    "1 cell, 24-bit c and h of layers": {"rows": 8, "cell": QFormat(9, 14), "c_shifts": (7, 0, 1), "h_shifts": (2, 0)},
    "2 cells, 8-bit h": {"rows": 8, "cells": 2, **PAIRS, "accumulator_bits": 32},
}


def config_named(name):
    return config_of(**{"shifts": SHIFTS, "states": STATES, "h_elements": ELEMENTS} | CONFIGS[name])


@pytest.mark.parametrize("stall", [0.0, 0.9])
@pytest.mark.parametrize("gap", [0.0, 0.95])
@pytest.mark.parametrize("name", CONFIGS)
def test_random_commands(name, gap, stall):
    config = config_named(name)
    for seed in range(2):
        rng = random.Random(f"{name} {gap} {stall} {seed}")
        TB(config, random_commands(rng, config, 10), seed, rng.choice((0.0, 0.5)), gap, stall).run()


@pytest.mark.parametrize("mode", [MODE_CELL, MODE_LINEAR], ids=["h", "plain outputs"])
@pytest.mark.parametrize("cells, units", [(1, 60), (5, 120)])
def test_more_outputs_than_their_queue_holds(cells, units, mode):
    """A stream that takes few of them: units wait, and nothing is lost."""
    config = config_of(rows=8, cells=cells, shifts=SHIFTS, states=STATES, h_elements=ELEMENTS)
    bench = TB(config, [cell_command(units, mode, emit=1, last=1)], stall=0.95)
    assert units > 3 * bench.unit.output_places // 2
    bench.run()
