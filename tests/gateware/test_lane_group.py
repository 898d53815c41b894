"""The lane array against numpy: weights in, columns one a cycle, sums out, at exactly the cycles that are promised."""

import random

import numpy as np
import pytest

from lstm_hw.gateware.lane_group import LaneArray, LaneGroup, control_layout
from lstm_hw.machine.latency import HAZARD_COLUMNS, READABLE, SKEW
from lstm_hw.verilog.emit import write_verilog
from lstm_hw.verilog.tools import yosys_stat
from tests.builders import PAIRS, config_of
from tests.simulation import observe, raw, simulate

WORDS, ENTRIES, FINISHED = 12, 5, 3
DEEP = {"accumulators": 34, "finish_entries": 33}
"""More than LUT memory is for."""
CONFIGS = {
    "R=4, K=1, 1 cell": {"rows": 4},
    "R=8, K=2, 2 cells, 8 bit": {"rows": 8, "contexts": 2, "cells": 2, "weight_bits": 8, "x_per_beat": 2},
    "R=16, K=3, 5 cells, 4 beats a word": {"rows": 16, "contexts": 3, "cells": 5, "x_per_beat": 4},
    "R=32, K=1, 5 cells, 2 groups a beat": {"rows": 32, "cells": 5, "weight_bits": 8, "axi_data_bits": 256},
    "R=48, K=2, 2 cells, padded word": {"rows": 48, "contexts": 2, "cells": 2, "axi_data_bits": 512, "x_per_beat": 2},
    "R=48, K=1, 1 cell, 8 bit, 2 beats a group": {"rows": 48, "weight_bits": 8, "axi_data_bits": 64},
    "R=16, K=2, 8 bit, lifts to 9": {"rows": 16, "contexts": 2, "weight_bits": 8, "x_per_beat": 2, "lifts": (2, 9)},
    "R=4, 5 bit": {"rows": 4, "weight_bits": 5},
    "R=48, 6 bit, groups across beats": {"rows": 48, "weight_bits": 6, "axi_data_bits": 128},
    "R=64, 12 bit, 2 ports, groups across beats": {"rows": 64, "weight_bits": 12, "axi_ports": 2, "axi_data_bits": 128},
    "R=32, 4 bit, pairs": {"rows": 32, "x_per_beat": 2, "axi_data_bits": 128, **PAIRS, "weight_bits": 4},
    "R=8, K=2, 1 cell, pairs": {"rows": 8, "contexts": 2, "x_per_beat": 2, **PAIRS},
    "R=4, K=1, 2 cells, pairs": {"rows": 4, "cells": 2, **PAIRS},
    "R=32, K=3, 5 cells, pairs": {"rows": 32, "contexts": 3, "cells": 5, "x_per_beat": 4, **PAIRS},
    "R=32, K=1, 1 cell, 2 ports": {"rows": 32, "axi_ports": 2, "axi_data_bits": 128},
    "R=96, K=1, 2 cells, 2 ports of 3 groups, padded": {"rows": 96, "cells": 2, "axi_ports": 2, "axi_data_bits": 512},
    "R=128, K=1, 5 cells, 8 bit, 4 ports, 2 groups a beat": {
        "rows": 128,
        "cells": 5,
        "weight_bits": 8,
        "axi_ports": 4,
        "axi_data_bits": 256,
    },
    "R=16, K=2, 2 cells, sums in block RAM": {"rows": 16, "contexts": 2, "cells": 2, "x_per_beat": 2, **DEEP},
    "R=4, K=1, 1 cell, 34 sums in block RAM, 32 finished": {"rows": 4, **DEEP, "finish_entries": 32},
    "R=4, K=1, 1 cell, 33 sums, 33 finished in block RAM": {"rows": 4, **DEEP, "accumulators": 33},
    "R=16, K=1, 5 cells, some sums in block RAM": {"rows": 16, "cells": 5, **DEEP, "block_sums": 12},
    "R=8, K=1, 5 cells, no sums in block RAM": {"rows": 8, "cells": 5, **DEEP, "block_sums": 0},
    "R=8, K=2, 1 cell, pairs, sums in block RAM": {"rows": 8, "contexts": 2, "x_per_beat": 2, **DEEP, **PAIRS},
    "R=8, K=1, 2 cells, pairs, some sums in block RAM": {"rows": 8, "cells": 2, **DEEP, **PAIRS, "block_sums": 4},
}


def lanes_config(name):
    return config_of(**{"weight_words": WORDS, "accumulators": ENTRIES, "finish_entries": FINISHED, **CONFIGS[name]})


def wrapped(values, bits):
    """Two's complement of ``bits`` bits."""
    return ((values + (1 << bits - 1)) & ((1 << bits) - 1)) - (1 << bits - 1)


class Stimulus:
    """A random plan, cycle by cycle, with what numpy makes of it.

    Columns use only words, entries and finished sums that exist by the documented delays, and beats of weights
    and requests go on beside them. A word can be used from the cycle after its last beat.
    """

    def __init__(self, config, rng, cycles, full_scale=0.0):
        self.config, self.rng, self.full_scale = config, rng, full_scale
        self.fields = [{} for _ in range(cycles + max(SKEW.values()))]
        self.fills, self.requests, self.expected = [], [], []
        self.bits = np.zeros((config.axi_ports, WORDS), dtype=object)  # of each port's part of a word
        self.weights = np.zeros((WORDS, config.rows), dtype=object)
        self.sums = np.zeros((config.rows, config.contexts), dtype=object)
        self.entries, self.finish_entries = config.accumulators, config.finish_entries
        self.accumulators = np.zeros((self.entries, *self.sums.shape), dtype=object)
        self.finished = np.zeros((self.finish_entries, *self.sums.shape), dtype=object)
        self.stored = [-HAZARD_COLUMNS] * self.entries
        self.landing = []  # (cycle, finish entry, mask, sums): a request in that cycle sees them
        self.beats = [(word, chunk) for word in range(WORDS) for chunk in range(config.beats_per_word)]
        for now in range(cycles):
            fills = [self._fill(now) for _ in range(config.axi_ports)]
            self.fills.append(fills)
            if now >= len(self.beats) and rng.random() < 0.8:
                self._column(now, busy_words=[fill["address"] for fill in fills if fill])
            self._request(now)
            for port, fill in enumerate(fills):
                if fill:
                    self._write(port, fill)

    def _element(self, bits):
        limit = 1 << bits - 1
        if self.full_scale:
            return -limit if self.rng.random() < self.full_scale else limit - 1
        return self.rng.choice((-limit, limit - 1, self.rng.randrange(-limit, limit)))

    def _fill(self, now):
        """The first beats of a port fill its part of the buffer; later ones replace chunks at random."""
        fill = None
        if now < len(self.beats) or self.rng.random() < 0.3:
            address, chunk = self.beats[now] if now < len(self.beats) else self.rng.choice(self.beats)
            config, data = self.config, 0
            for n in range(-(-config.axi_data_bits // config.weight_bits)):
                data |= (self._element(config.weight_bits) & (1 << config.weight_bits) - 1) << n * config.weight_bits
            data &= (1 << config.axi_data_bits) - 1
            fill = {"valid": 1, "address": address, "chunk": chunk, "data": data}
        return fill

    def _write(self, port, fill):
        config, address, beat = self.config, fill["address"], self.config.axi_data_bits
        place, bits = fill["chunk"] * beat, self.bits[port, address]
        self.bits[port, address] = bits = bits & ~((1 << beat) - 1 << place) | fill["data"] << place
        rows = config.rows // config.axi_ports
        for row in range(rows):
            weight = bits >> row * config.weight_bits & (1 << config.weight_bits) - 1
            self.weights[address, port * rows + row] = wrapped(weight, config.weight_bits)

    def _column(self, now, busy_words):
        config, rng = self.config, self.rng
        word = rng.choice([w for w in range(WORDS) if w not in busy_words])
        operands = [self._element(config.factor_bits) for _ in range(config.contexts)]
        ready = [e for e in range(self.entries) if now - self.stored[e] >= HAZARD_COLUMNS]
        first = bool(ready) and rng.random() < (0.05 if self.full_scale else 0.3)
        store, finish = (rng.randrange(1 << config.contexts) if rng.random() < 0.3 else 0 for _ in range(2))
        if store and finish:
            store = 0
        column = {
            "weight": word,
            "operands": operands,
            "first": int(first),
            "store": store,
            "finish": finish,
            "source": rng.choice(ready) if first else rng.randrange(self.entries),
            "target": rng.randrange(*(0, self.finish_entries) if finish else (1, self.entries)),
        }
        for name, value in column.items():
            self.fields[now + SKEW[name]][name] = value
        base = self.accumulators[column["source"]] if first else self.sums
        products = self.weights[word][:, None] * np.array(operands, dtype=object)[None, :]
        self.sums = wrapped(base + products, config.accumulator_bits)
        if config.lanes_per_dsp == 2:
            assert (self.sums == base + products).all(), "sums of a pair must not overflow"
        chosen = [k for k in range(config.contexts) if (store | finish) >> k & 1]
        if store:
            self.accumulators[column["target"]][:, chosen] = self.sums[:, chosen]
            self.stored[column["target"]] = now
        if finish:
            self.landing.append((now + READABLE, column["target"], chosen, self.sums))

    def _request(self, now):
        config, rng = self.config, self.rng
        while self.landing and self.landing[0][0] <= now:
            _, entry, chosen, sums = self.landing.pop(0)
            self.finished[entry][:, chosen] = sums[:, chosen]
        request = {
            "valid": int(rng.random() < 0.8),
            "entry": rng.randrange(self.finish_entries),
            "group": rng.randrange(config.groups),
            "piece": rng.randrange(config.group_rows // config.drain_width),
            "context": rng.randrange(config.contexts),
        }
        first = request["group"] * config.group_rows + request["piece"] * config.drain_width
        values = self.finished[request["entry"]][first : first + config.drain_width, request["context"]].tolist()
        self.requests.append(request)
        self.expected.append(values if request["valid"] else None)


def settable(fields, shape):
    """Fields whose width is not zero."""
    return {name: value for name, value in fields.items() if shape[name].width}


def play(config, stimulus):
    unit = LaneArray(config)
    assert unit.drain_latency == config.groups + 2
    received = []

    async def bench(context):
        for fields, fills, request in zip(stimulus.fields, stimulus.fills, stimulus.requests, strict=False):
            # A cycle without a product has zero operands; everything else may be anything.
            noise = {
                "weight": random.randrange(WORDS),
                "source": random.randrange(config.accumulators),
                "operands": [0] * config.contexts,
                "first": 0,
                "store": 0,
                "finish": 0,
                "target": 0,
            }
            context.set(unit.i_control, settable(noise | fields, control_layout(config)))
            for port, fill in zip(unit.i_fill, fills, strict=True):
                context.set(port, fill or {"valid": 0})
            context.set(unit.i_drain, settable(request, unit.i_drain.shape()))
            await context.tick()
        await context.tick().repeat(unit.drain_latency)

    def note(now, request, *drained):
        received.append((request, list(drained)))

    simulate(unit, bench, background=(observe(note, unit.o_drain, *(raw(v) for v in unit.o_drained)),))
    for cycle, (request, values) in enumerate(zip(stimulus.requests, stimulus.expected, strict=True)):
        seen = received[cycle + config.groups][0]
        assert seen.valid == request["valid"]
        if request["valid"]:
            assert all(seen[n] == v for n, v in settable(request, unit.i_drain.shape()).items()), f"cycle {cycle}"
            drained = [wrapped(v, config.accumulator_bits) for v in received[cycle + unit.drain_latency][1]]
            read = [value >> config.unread_sum_bits << config.unread_sum_bits for value in values]
            assert drained == read, f"cycle {cycle}: {request}"


@pytest.mark.parametrize("name", CONFIGS)
def test_random_columns(name):
    config, rng = lanes_config(name), random.Random(name)
    stimulus = Stimulus(config, rng, len(range(WORDS)) * config.beats_per_word + 150)
    assert any(values and any(values) for values in stimulus.expected)
    play(config, stimulus)


@pytest.mark.parametrize("weight_bits", [8, 16])
def test_full_scale(weight_bits):
    """-2**n * -2**15 summed for long: the sum wraps at the accumulator's width and not before."""
    config = config_of(
        weight_words=WORDS,
        accumulators=ENTRIES,
        finish_entries=FINISHED,
        rows=4,
        cells=5,
        weight_bits=weight_bits,
        accumulator_bits=weight_bits + 19,
    )
    stimulus = Stimulus(config, random.Random(weight_bits), 150, full_scale=1.0)
    peak = max(abs(v) for values in stimulus.expected if values for v in values)
    assert peak > 1 << config.accumulator_bits - 2
    play(config, stimulus)


@pytest.mark.parametrize("share, peak", [(1.0, 1 << 20), (0.9, 1 << 19), (0.5, 1 << 16)])
def test_pairs_at_full_scale(share, peak):
    """-128 * -128 in both rows, and with 127 among them: the lower sum passes the end of its packed field at every
    fourth column, both ways, and slots go on from entries stored before."""
    config = config_of(weight_words=WORDS, accumulators=ENTRIES, finish_entries=FINISHED, rows=8, **PAIRS)
    stimulus = Stimulus(config, random.Random(peak), 500, full_scale=share)
    assert peak < max(abs(v) for values in stimulus.expected if values for v in values)
    play(config, stimulus)


def mapped(family, folder, fields):
    """What Yosys makes of a small group, with one block RAM for its weights."""
    config = config_of(**{"rows": 4, "weight_words": 512, "accumulator_bits": 44, **fields})
    verilog = write_verilog(folder / "group.v", LaneGroup(config, 0), "group")
    return yosys_stat(verilog, "group", family, folder)


@pytest.mark.parametrize(
    ("family", "fields", "blocks"),
    [
        ("xc7", DEEP, 4.5),  # 4 sums of 44 bits in blocks of 72, 72 and 36 bits, and the 30 upper bits in two of 72
        ("xc7", {**DEEP, **PAIRS, "accumulator_bits": 28}, 4),
        ("ecp5", DEEP, 4.5),  # 5 and 4 blocks of 36 bits, counted half
    ],
    ids=["xc7", "xc7, pairs", "ecp5"],
)
def test_deep_sums_are_block_ram(family, fields, blocks, tmp_path):
    """As many blocks as the words are wide, for the sums and for the finished ones; no LUT memory, nor flip-flops
    in their stead."""
    stat = mapped(family, tmp_path, fields)
    assert stat["bram36"] == blocks + (0.5 if fields.get("weight_bits") == 8 else 1)
    assert stat["lutram"] == 0
    if family == "xc7":
        assert stat["ff"] < 220 and stat["dsp_registers"]["PREG"] == stat["dsp"]


@pytest.mark.parametrize("fields", [{**DEEP, "finish_entries": 2, "block_sums": 0}, PAIRS], ids=["16 bits", "pairs"])
def test_sums_from_lut_memory_wait_in_the_slice(fields, tmp_path):
    """In its C register, however deep the memory."""
    stat = mapped("xc7", tmp_path, {"accumulators": 33, **fields})
    assert stat["dsp_registers"]["CREG"] == stat["dsp"] > 0 and stat["lutram"] > 0
