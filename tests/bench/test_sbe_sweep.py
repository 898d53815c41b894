"""A small sweep: measured points keep to the published rooflines, and Verilog gives the same points."""

import pytest

from bench.sbe_sweep import SWEEPS, Sweep, cases, draw, sweep_points
from bench.workloads import Workload

ENGINE = {"rows": 16, "contexts": 2, "cells": 5, "axi_data_bits": 64, "x_per_beat": 2, "accumulators": 64}
LAYER = Workload("tiny", 96, 16, 8, "made up")


def test_points_follow_the_rooflines():
    sweep = Sweep(LAYER, ((ENGINE, 1), (ENGINE, 4)))
    seen = []
    points = sweep_points(sweep, None, lambda done, total: seen.append(done / total))
    assert len(points) == 2 * 3 * 4 and seen[-1] == 1  # knees, cases, batches 1, 2, 4, 8
    assert {p.knee for p in points} == {4, 16}
    for p in points:
        assert p.ours < p.peak
        assert p.ours == pytest.approx(p.published, rel=0.45)
    for home in (1, 2, 3):
        slow = [p.ours for p in points if p.knee == 16 and p.home == home]
        assert slow == sorted(slow)  # below the knee a larger batch is faster
    three, two = ([p.published for p in points if p.home == home] for home in (3, 2))
    assert all(a <= b for a, b in zip(three, two, strict=True)) and three != two


def test_verilog_gives_the_same_point(tmp_path):
    points = sweep_points(Sweep(LAYER, ((ENGINE, 1),), verilog=(4,), homes=(3,)), tmp_path)
    timed, verilog = (p for p in points if p.batch == 4)
    assert verilog.verilog and not timed.verilog and verilog.ours == timed.ours
    assert "Verilog" in verilog.row().source
    draw(points, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_sweeps_cover_cases_lanes_and_bandwidths():
    for sweep in SWEEPS:
        every = [case for case, _ in cases(sweep)]
        assert {case.home for case in every} == {1, 2, 3}
        assert len({case.batch for case in every}) >= 5
    assert any(verilog for sweep in SWEEPS for _, verilog in cases(sweep))
