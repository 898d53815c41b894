"""A small instance of the SBE bench: Verilog on the memory model, bits against the integer reference."""

import pytest

from bench.sbe import CASES, Case, dsp_slices, measure, planned
from bench.workloads import Workload, workload
from lstm_hw.plan.load_timing import MemoryModel

SMALL = Workload("small", 40, 20, 4, "made up")


@pytest.mark.parametrize("sbe_case", [1, 2, 3])
def test_small_instance(tmp_path, sbe_case):
    case = Case("small", "small", {"rows": 16, "contexts": 2, "cells": 2, "axi_data_bits": 64, "x_per_beat": 2},
                batch=2, pinned=8, clock=100, dsp_limit=40, published={"gops": 1}, memory=MemoryModel(30, 2),
                sbe_case=sbe_case, weight_words=320)
    found = {row.metric: row for row in measure(case, SMALL, tmp_path)}
    assert found["gops"].published == 1 and found["gops"].ours > 0
    assert 0 < found["lane_utilisation"].ours < 100
    assert found["lanes"].ours == 32 and found["dsp"].ours == 32 + 2 * 2
    assert found["dram_bytes"].ours % 8 == 0


def test_cases_fit_their_devices():
    for case in CASES:
        layer = workload(case.workload)
        assert layer.input * 4 * layer.hidden + 4 * layer.hidden**2 == 1 << 21
        _, plan, _ = planned(case, Workload("short", layer.input, layer.hidden, case.batch, layer.source))
        assert dsp_slices(plan.config) <= case.dsp_limit
