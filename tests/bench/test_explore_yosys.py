"""Estimates of explored engines beside counts: which engines are taken, what is told, cycles of the Verilog itself."""

from dataclasses import replace

import lstm_hw
from bench import explore_yosys
from bench.table import Row
from lstm_hw.explore.space import Space
from lstm_hw.machine.config import EngineConfig
from lstm_hw.plan.resources import estimate
from lstm_hw.project.exploration.wanted import Wanted
from tests.projects import write_project


def test_engines_of_a_front_beside_counts_and_the_verilog(tmp_path, monkeypatch):
    """With counts that are a few LUTs and a block RAM beside the estimate."""
    off = {"lut": 100, "bram36": 1}

    def counted(config, family, folder):
        ours = estimate(EngineConfig.from_dict(config.to_dict()), family)
        return replace(ours, **{name: getattr(ours, name) + by for name, by in off.items()})

    monkeypatch.setattr(explore_yosys, "counted", counted)
    path = write_project(tmp_path, sections={"simulate": {"simulator": "icarus"}, "engine": None})
    project = lstm_hw.convert(path)
    space = Space(schedules=("resident",), rows=(4,))
    found = project.explore(Wanted(("xc7z020",), weight_bits=(16,), operand_bits=(16,), space=space))
    number = explore_yosys.chosen(found, 1)[0]
    points, where = [("tiny", "xc7z020", str(path), number, found)], {"folder": tmp_path, "cache": tmp_path / "kept"}
    rows = explore_yosys.compared(points, **where)
    figures = {(row.metric, row.config): row for row in rows}
    engines = sorted({config for _, config in figures} - {"tiny/xc7z020"})
    assert len(engines) == 1 and len(rows) == 6 + 5
    for config in engines:
        point = found.points[int(config.rpartition("/")[2]) - 1]
        cycles = figures["cycles", config]
        assert cycles.ours == cycles.published == point["counters"]["cycles"] > 0
        assert figures["lut", config].ours == point["resources"]["lut"] == figures["lut", config].published - 100
    worst = max(100 - 100 * figures["lut", config].ours / figures["lut", config].published for config in engines)
    assert abs(figures["lut_error_percent", "tiny/xc7z020"].ours - worst) < 1e-9
    assert figures["ff_error_percent", "tiny/xc7z020"].ours == 0
    not_exact = {name: figures[f"{name}_not_exact", "tiny/xc7z020"].ours for name in ("dsp", "bram36", "cycles")}
    assert not_exact == {"dsp": 0, "bram36": 1, "cycles": 0}
    told = explore_yosys.short(rows)
    assert len(told) == 1 and all("bram36" in line and "must be" in line for line in told)
    monkeypatch.setattr(explore_yosys, "convert", None)  # what was counted is kept
    assert rows == explore_yosys.compared(points, **where)


def test_engines_are_unlike_one_another_and_from_small_to_large(monkeypatch):
    class Found:
        points = [
            {"engine_id": str(identity), "resources": {"lut": lut}}
            for identity, lut in ((1, 9000), (2, 3000), (2, 3000), (3, 50_000), (4, 4000), (5, 8000), (6, 5000))
        ]

    assert explore_yosys.chosen(Found, 3) == [2, 7, 6]
    assert explore_yosys.chosen(Found, 9) == [2, 5, 7, 6]
    monkeypatch.setattr(explore_yosys, "MOST_LUT", 1000)  # the smallest there are
    assert explore_yosys.chosen(Found, 2) == [2, 5]


def test_what_is_further_off_than_it_may_be_is_told():
    def row(metric, ours, beside):
        return Row(metric, "m/p/1", ours, "", beside, "")

    rows = [row("lut", 109, 100), row("lut", 111, 100), row("ff", 89, 100), row("dsp", 1, 2), row("cycles", 5, 5)]
    told = explore_yosys.short(rows)
    assert told == [
        "falls short: m/p/1: lut +11.0%, must be within 10%",
        "falls short: m/p/1: ff -11.0%, must be within 10%",
        "falls short: m/p/1: dsp 1, must be 2",
    ]
