"""No planner loses a cycle, a beat or an instruction: the figures of all schedules over layers, engines and memories.

A figure may only fall.
"""

from dataclasses import replace
from itertools import pairwise

import pytest

from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.fusion import FusionPlanner
from lstm_hw.plan.row_window import RowWindowPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.plan.sizing import accumulator_bits, size_engine
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.timing import Timing
from tests.builders import config_of


def layer(inputs, hidden):
    return Network((LayerShape("lstm", inputs, hidden, 15),))


def small(**fields):
    values = {"rows": 8, "contexts": 2, "h_elements": 64, "x_elements": 256, "states": 64, "weight_words": 1024}
    return config_of(**values | {"accumulators": 128, "program_length": 256} | fields)


def large(network, rows=64, contexts=2, words=512, port=256, batch=8):
    blocks, stride = network.layers[0].blocks(rows), -(-network.layers[0].inputs // 4) * 4
    return config_of(
        rows=rows,
        contexts=contexts,
        weight_words=words,
        accumulator_bits=accumulator_bits(network, 16),
        x_per_beat=4,
        h_elements=2 * blocks * rows // 4,
        states=2 * contexts * blocks * rows // 4,
        x_elements=2 * batch * stride,
        accumulators=min(256, 2 + blocks * (1 + batch)),
        finish_entries=2 * blocks,
        program_length=256,
        cells=2,
        axi_data_bits=port,
        activation="pwl",
    )


def sbe(size, case):
    inputs, hidden, steps, batch, pinned, values = {
        "two sequences": (24, 8, 4, 2, 8, {"rows": 16, "contexts": 2, "x_per_beat": 2, "x_elements": 128}),
        "one sequence": (40, 10, 6, 3, 7, {"rows": 16, "x_elements": 160}),
        "batch of one": (40, 8, 3, 1, 9, {"rows": 8, "x_elements": 80, "cells": 5}),
        "one batch": (33, 8, 5, 5, 1, {"rows": 32, "contexts": 3, "x_per_beat": 4, "x_elements": 180}),
        "many row blocks": (20, 37, 4, 2, 3, {"rows": 8, "contexts": 2, "x_per_beat": 2, "x_elements": 80}),
        "large": (256, 120, 8, 4, 24, {"rows": 64, "x_elements": 2048, "cells": 2, "axi_data_bits": 256}),
    }[size]
    blocks = -(-4 * hidden // values["rows"])
    words = {1: blocks * (inputs + hidden), 2: blocks * (inputs + 2 * hidden), 3: blocks * (pinned + 4 + hidden)}[case]
    config = config_of(**{**values, "weight_words": words + 80}, accumulators=64, finish_entries=32)
    return BatchPlanner(layer(inputs, hidden), config, batch, pinned, case, tile_columns=4).plan(), steps


def cases():
    """Name -> (function that gives a plan and the steps of a run, memory)."""
    result = {}

    def add(name, make, network, config, steps, memory=None):
        result[name] = (lambda: (make(network, config).plan(), steps)), memory or MemoryModel(20)

    for pinned in (0, 3):
        add(f"sacc 5-12, pinned {pinned}", lambda n, c, p=pinned: SaccPlanner(n, c, pinned=p), layer(5, 12), small(), 6)
    four = small(rows=16, contexts=4, x_per_beat=2)
    add("sacc 9-14, two sequences", lambda n, c: SaccPlanner(n, c), layer(9, 14), four, 5, MemoryModel(7, 2))
    for name, batch, pinned, contexts in (
        ("batch 4", 4, 0, 2),
        ("batch 4, pinned 2", 4, 2, 2),
        ("K 4, batch 2", 2, 0, 4),
    ):
        make = lambda n, c, b=batch, p=pinned: SaccPlanner(n, c, b, p)  # noqa: E731
        add(f"sacc 10-12, {name}", make, layer(10, 12), small(contexts=contexts, x_per_beat=2), 8)
    square = layer(128, 128)
    for port in (64, 256):
        for batch, pinned in ((1, 0), (1, 4), (8, 0), (8, 4)):
            engine = large(square, words=512 + 16 + pinned * 128, port=port)
            make = lambda n, c, b=batch, p=pinned: SaccPlanner(n, c, b, p)  # noqa: E731
            add(f"sacc 128-128, batch {batch}, pinned {pinned}, port {port}", make, square, engine, 16, MemoryModel(40))
    sixteen = large(layer(64, 64), rows=16, words=600)
    add("sacc 64-64, R 16, batch 8, pinned 4", lambda n, c: SaccPlanner(n, c, 8, 4), layer(64, 64), sixteen, 16)

    rows = small(rows=16, x_per_beat=2, h_elements=256, states=256, weight_words=128)
    add("row blocks 24-16, 3 groups", lambda n, c: RowBlockPlanner(n, c, 3), layer(24, 16), rows, 4)
    add("row blocks 21-11, 2 groups", lambda n, c: RowBlockPlanner(n, c, 2), layer(21, 11), rows, 4)
    add("row blocks 9-12, 1 group", lambda n, c: RowBlockPlanner(n, c, 1), layer(9, 12), rows, 4)
    one = small(rows=8, contexts=1, x_per_beat=4, h_elements=256, states=256, weight_words=128)
    add("row blocks 13-10, K 1, 3 groups", lambda n, c: RowBlockPlanner(n, c, 3), layer(13, 10), one, 4)
    for inputs, hidden, pinned in ((40, 40, 0), (40, 40, 16), (10, 11, 5)):
        engine = small(rows=16, contexts=1, axi_data_bits=128, x_elements=160, h_elements=128, cells=5)
        make = lambda n, c, p=pinned: ConventionalPlanner(n, c, p)  # noqa: E731
        add(f"conventional {inputs}-{hidden}, pinned {pinned}", make, layer(inputs, hidden), engine, 4, MemoryModel(10))
    for pinned in (0, 64):
        engine = large(square, words=512 + pinned * 8)
        make = lambda n, c, p=pinned: ConventionalPlanner(n, c, p)  # noqa: E731
        add(f"conventional 128-128, pinned {pinned}", make, square, engine, 8, MemoryModel(40))

    for window in (0, 2, 5):
        make = lambda n, c, w=window: RowWindowPlanner(n, c, w)  # noqa: E731
        add(f"row window 10-11, window {window}", make, layer(10, 11), small(x_per_beat=4), 4, MemoryModel(20, 2))
    engine = large(square, words=512 + 16 + 7 * 128)
    add("row window 128-128, window 6", lambda n, c: RowWindowPlanner(n, c, 6), square, engine, 8, MemoryModel(40))

    engine = small(x_per_beat=4, x_elements=1024, accumulators=256, cells=2, h_elements=128, program_length=512)
    add("fusion 10-11, batch 4", lambda n, c: FusionPlanner(n, c, 4), layer(10, 11), engine, 12, MemoryModel(20, 2))
    add("fusion 96-32, batch 8", lambda n, c: FusionPlanner(n, c, 8), layer(96, 32), engine, 16, MemoryModel(10))
    engine = replace(large(square), program_length=512)
    add("fusion 128-128, batch 8", lambda n, c: FusionPlanner(n, c, 8), square, engine, 16, MemoryModel(40))

    for name, sizes, head, every in (("28-32", (28, 32), 0, False), ("20-16-12, head", (20, 16, 12), 3, True)):
        shapes = [LayerShape("lstm", a, b, 15) for a, b in zip(sizes, sizes[1:], strict=False)]
        shapes += [LayerShape("linear", sizes[-1], head, 14)] if head else []
        network = Network(tuple(shapes), every)
        add(f"resident {name}", ResidentPlanner, network, size_engine(network, rows=32, contexts=2), 5)

    for sizes, steps in (((65, 128, 128), 4), ((39, 64, 48), 5)):
        network = Network(tuple(LayerShape("lstm", a, b, 15) for a, b in pairwise(sizes)))
        bias = sum(shape.blocks(64) * 2 for shape in network.layers)
        engine = replace(
            large(network, words=512 + bias), h_elements=1024, states=1024, accumulators=64, shifts=(15, 15)
        )
        for name, planner in (("conventional", ConventionalPlanner), ("sacc", SaccPlanner)):
            add(f"stack {'-'.join(map(str, sizes))}, {name}", planner, network, engine, steps, MemoryModel(40))

    shapes = LayerShape("lstm", 12, 64, 15), LayerShape("lstm", 64, 62, 15), LayerShape("linear", 62, 9, 14)
    network = Network(shapes, True)
    engine = replace(large(network, rows=32), h_elements=2048, states=1024, accumulators=256, x_elements=1024)
    engine = replace(engine, shifts=(15, 15, 14), finish_entries=64, weight_words=8192, program_length=512)
    for case in (1, 2, 3):
        make = lambda n, c, k=case: BatchPlanner(n, c, 4, 4, k)  # noqa: E731
        few = engine if case < 3 else replace(engine, weight_words=2048)
        add(f"stack 12-64-62, head, sbe case {case}", make, network, few, 7, MemoryModel(30))
    for name, planner in (("row blocks, 3 groups", lambda n, c: RowBlockPlanner(n, c, 3)), ("sacc", SaccPlanner)):
        add(f"stack 12-64-62, head, {name}", planner, network, engine, 7, MemoryModel(30))

    for size in ("two sequences", "one sequence", "batch of one", "one batch", "many row blocks", "large"):
        for case in (1, 2, 3):
            result[f"sbe {size}, case {case}"] = (lambda s=size, c=case: sbe(s, c)), MemoryModel(60)
    return result


CASES = cases()

FIGURES = {
    "sacc 5-12, pinned 0": (4807, 1608, 77),
    "sacc 5-12, pinned 3": (4807, 1248, 107),
    "sacc 9-14, two sequences": (5745, 2752, 108),
    "sacc 10-12, batch 4": (6577, 1656, 155),
    "sacc 10-12, batch 4, pinned 2": (6597, 1320, 185),
    "sacc 10-12, K 4, batch 2": (7392, 2136, 141),
    "sacc 128-128, batch 1, pinned 0, port 64": (786735, 786688, 83),
    "sacc 128-128, batch 1, pinned 4, port 64": (656485, 663808, 113),
    "sacc 128-128, batch 8, pinned 0, port 64": (327985, 327936, 166),
    "sacc 128-128, batch 8, pinned 4, port 64": (197735, 205056, 196),
    "sacc 128-128, batch 1, pinned 0, port 256": (196913, 196672, 83),
    "sacc 128-128, batch 1, pinned 4, port 256": (164965, 165952, 113),
    "sacc 128-128, batch 8, pinned 0, port 256": (82225, 81984, 166),
    "sacc 128-128, batch 8, pinned 4, port 256": (50385, 51264, 196),
    "sacc 64-64, R 16, batch 8, pinned 4": (62559, 16672, 196),
    "row blocks 24-16, 3 groups": (8187, 5376, 95),
    "row blocks 21-11, 2 groups": (3662, 3264, 85),
    "row blocks 9-12, 1 group": (2482, 2208, 49),
    "row blocks 13-10, K 1, 3 groups": (9307, 2000, 100),
    "conventional 40-40, pinned 0": (13350, 13120, 49),
    "conventional 40-40, pinned 16": (10790, 10880, 54),
    "conventional 10-11, pinned 5": (1557, 894, 68),
    "conventional 128-128, pinned 0": (132520, 132096, 49),
    "conventional 128-128, pinned 64": (99750, 101376, 54),
    "row window 10-11, window 0": (3017, 1320, 135),
    "row window 10-11, window 2": (3067, 1160, 164),
    "row window 10-11, window 5": (2977, 1040, 149),
    "row window 128-128, window 6": (70311, 67136, 142),
    "fusion 10-11, batch 4": (8893, 3912, 272),
    "fusion 96-32, batch 8": (52593, 45120, 263),
    "fusion 128-128, batch 8": (148975, 147520, 263),
    "resident 28-32": (4204, 992, 24),
    "resident 20-16-12, head": (4585, 600, 34),
    "stack 65-128-128, conventional": (116715, 115968, 77),
    "stack 65-128-128, sacc": (82486, 82304, 137),
    "stack 39-64-48, conventional": (30871, 30480, 77),
    "stack 39-64-48, sacc": (22228, 21976, 139),
    "stack 12-64-62, head, sbe case 1": (25427, 6496, 165),
    "stack 12-64-62, head, sbe case 2": (25762, 13120, 165),
    "stack 12-64-62, head, sbe case 3": (25427, 9824, 169),
    "stack 12-64-62, head, row blocks, 3 groups": (104432, 46272, 187),
    "stack 12-64-62, head, sacc": (33987, 31552, 167),
    "sbe two sequences, case 1": (1507, 656, 84),
    "sbe two sequences, case 2": (1667, 1040, 84),
    "sbe two sequences, case 3": (1717, 880, 86),
    "sbe one sequence, case 1": (2767, 1776, 88),
    "sbe one sequence, case 2": (3067, 2424, 88),
    "sbe one sequence, case 3": (2967, 2304, 90),
    "sbe batch of one, case 1": (1749, 1520, 35),
    "sbe batch of one, case 2": (2549, 2320, 35),
    "sbe batch of one, case 3": (2015, 1600, 36),
    "sbe one batch, case 1": (2909, 600, 79),
    "sbe one batch, case 2": (2909, 672, 79),
    "sbe one batch, case 3": (3139, 1176, 81),
    "sbe many row blocks, case 1": (9917, 4066, 100),
    "sbe many row blocks, case 2": (11317, 8740, 100),
    "sbe many row blocks, case 3": (9917, 7258, 102),
    "sbe large, case 1": (49185, 34368, 98),
    "sbe large, case 2": (55905, 48192, 98),
    "sbe large, case 3": (49645, 42048, 100),
}
"""Cycles of two runs, the second of which goes on from the first, beats with those of the load entry, instructions."""


def figures(name):
    make, memory = CASES[name]
    plan, steps = make()
    cycles, beats, registers, tokens = 0, 0, None, 0
    registers = [0] * 64
    entries = [("load", 0, False)] * ("load" in plan.program.entries) + [("run", steps, True), ("run", steps, False)]
    for entry, count, clear in entries:
        timing = Timing(plan.config, memory, 0 if clear else tokens)
        for command in plan.program.run(entry, count, clear, registers):
            timing.execute(command)
        tokens = timing.h_left
        cycles += timing.counters.cycles * (entry == "run")
        beats += timing.counters.read_beats
    return cycles, beats, len(plan.program.instructions)


@pytest.mark.parametrize("name", CASES)
def test_no_cycle_no_beat_and_no_instruction_more(name):
    found = figures(name)
    assert all(now <= before for now, before in zip(found, FIGURES[name], strict=True)), (found, FIGURES[name])


if __name__ == "__main__":
    for name in CASES:
        print(f"    {name!r}: {figures(name)},".replace("'", '"'))
