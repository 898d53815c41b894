"""Small instances of the reuse bench: words counted, bounds reached, Verilog seen by the memory's monitor."""

import pytest

from bench import reuse
from bench.reuse_plot import plot
from bench.workloads import Workload


def test_hidden_words_reach_the_bound(tmp_path):
    rows = reuse.hidden_words(tmp_path, sizes=(32,), verilog=())
    found = {row.config: row for row in rows}
    assert found["conventional/n32"].ours == 32 * 32
    assert found["sacc/n32"].ours == found["sacc/n32"].published == 32 * 32 / 2
    assert found["sacc+pinned/n32"].ours == found["sacc+pinned/n32"].published == 32 * 16 / 2
    assert all(row.ours >= row.published for row in rows)


def test_words_in_verilog_are_those_of_the_program(tmp_path):
    layer = Workload("small", 12, 32, 4, "made up")
    for schedule in (reuse.split_and_combine(), reuse.row_window_of(0.5)):
        plan, counters = reuse.in_verilog(layer, schedule, tmp_path / schedule.name.split()[0])
        words = reuse.words_a_step(plan, reuse.VERILOG_STEPS)
        assert counters["beats_h"] == words["h"] * reuse.VERILOG_STEPS * plan.config.beats_per_word


def test_curve_models_and_speeds(tmp_path, monkeypatch):
    monkeypatch.setattr(reuse, "MODELS", {"small": (((9, 16), (16, 16)), -1.0, -2.0)})
    points = reuse.curve(32)
    rows = reuse.curve_rows(points, 32)
    assert all(row.ours == pytest.approx(row.published) for row in rows if row.config.startswith("sacc"))
    assert all(row.ours >= (1 - stored) / 2 for row, (_, stored, _) in zip(rows, points, strict=True))
    assert plot(points, tmp_path / "curve.png").stat().st_size > 1000
    changes = {(row.metric, row.config): row.ours for row in reuse.models(tmp_path)}
    assert changes["total_traffic_change", "small/sacc+batch8"] < changes["total_traffic_change", "small/sacc"] < 0
    assert changes["energy_change", "small/sacc"] < 0
    gains = {row.config: row.ours for row in reuse.speeds(32)}
    assert gains["sacc+batch8/n32"] > gains["sacc/n32"] > 0
    cycles = {
        row.config: row.ours
        for row in reuse.third_case(128, lanes=64, buffer_bytes=39 << 10)
        if row.metric == "cycles_per_step"
    }
    assert len(cycles) == 4
    for layer in ("n128/1 sequences", "n128/2 sequences"):
        assert cycles[f"{layer}/sacc+pinned+batch4"] < cycles[f"{layer}/sbe case 3, batch 4"]
