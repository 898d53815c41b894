"""Rows of benchmarks, printed and written."""

import json

from bench.table import Row, text, write

ROWS = [
    Row("cycles_per_step", "small", 624.375, "cycles", None, "Verilog"),
    Row("dsp", "small", 35, "blocks", 2060, "x"),
]


def test_text():
    lines = text(ROWS).splitlines()
    assert len(lines) == 4 and [len(part) for part in lines[1].split()] == [15, 6, 7, 9, 6, 7]
    assert lines[2].split() == ["cycles_per_step", "small", "624.375", "-", "cycles", "Verilog"]
    assert lines[3].split() == ["dsp", "small", "35", "2060", "blocks", "x"]


def test_write(tmp_path):
    rows = json.loads(write(tmp_path / "made" / "a.json", ROWS).read_text())
    assert rows[0] == {
        "metric": "cycles_per_step",
        "config": "small",
        "ours": 624.375,
        "unit": "cycles",
        "published": None,
        "source": "Verilog",
    }
    assert [Row(**row) for row in rows] == ROWS
