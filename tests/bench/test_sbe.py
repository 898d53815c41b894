"""A small instance of the SBE bench: Verilog on the memory model, bits against the integer reference."""

import pytest

from bench import sbe_sequences
from bench.sbe import DEVICES, Device, at_limit, beside_others, dsp_slices, rows
from bench.sbe_case import Case, measure, prepared
from bench.workloads import Workload, workload
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel

SMALL = Workload("small", 40, 20, 4, "made up")


@pytest.mark.parametrize("home", [1, 2, 3])
def test_small_instance(tmp_path, home):
    engine = {"rows": 16, "contexts": 2, "cells": 5, "axi_data_bits": 64, "x_per_beat": 2, "weight_words": 320}
    case = Case("small", engine, batch=2, home=home, memory=MemoryModel(30, 2))
    plan, counters = measure(case, SMALL, tmp_path)
    device = Device(case, "small", clock=100, dsp_limit=42, published={"gops": 1})
    found = {row.metric: row for row in rows(device, plan, counters, SMALL.steps)}
    assert found["gops"].published == 1 and found["gops"].ours > 0
    assert found["sample_ms"].ours == counters["cycles"] / 100 / 1000 / 2
    assert 0 < found["lane_utilisation"].ours < 100
    assert found["lanes"].ours == 32 and found["dsp"].ours == 32 + 5 * 2
    assert found["dram_bytes"].ours % 8 == 0
    beside = beside_others(found.values())
    assert {(row.metric, row.published) for row in beside} >= {("gops", 282), ("gops", 316)}
    assert all(row.ours == found[row.metric].ours for row in beside)


def test_devices_hold_their_cases():
    for device in DEVICES:
        layer = workload(device.workload)
        assert layer.input * 4 * layer.hidden + 4 * layer.hidden**2 == 1 << 21
        short = Workload("short", layer.input, layer.hidden, device.case.batch, layer.source)
        _, planner, _ = prepared(device.case, short)
        assert dsp_slices(planner.config) <= device.dsp_limit


def test_limiting_bandwidth():
    engine = {"rows": 16, "contexts": 2, "cells": 5, "axi_data_bits": 64, "x_per_beat": 2}
    case = Case("small", engine, batch=8, memory=MemoryModel(30))
    _, planner, _ = prepared(case, Workload("small", 40, 20, 8, "made up"))
    plan = planner.plan()
    assert plan.config.beats_per_word == 4  # so every second cycle a beat, and a word in eight
    assert (
        at_limit(case, plan, 8)
        == count_cycles(plan, 8, memory=MemoryModel(30, 2)).cycles
        > count_cycles(plan, 8, memory=MemoryModel(30)).cycles
    )


def test_small_instance_of_a_batch_of_sequences(tmp_path):
    engine = {"rows": 16, "contexts": 2, "cells": 5, "axi_data_bits": 128, "x_per_beat": 2}
    layer = Workload("small", 24, 20, 3, "made up")
    plan, counters = sbe_sequences.measure(layer, tmp_path, engine=engine, groups=3, steps=3)
    found = {row.metric: row.ours for row in sbe_sequences.rows(plan, counters, 3, 42)}
    assert found["sequences"] == 6 and 0 < found["lane_utilisation"] < 100
    assert found["dram_bytes"] == 3 * plan.image.words * plan.config.word_bytes
