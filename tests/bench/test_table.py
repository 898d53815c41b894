"""Rows of benchmarks, printed and written."""

import json

import click
from click.testing import CliRunner

from bench import table
from bench.table import Row, command, text, update, write
from lstm_hw.errors import ConfigError

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


def test_rows_of_another_state_of_the_package_do_not_stay(tmp_path, monkeypatch):
    path, other = tmp_path / "a.json", Row("dsp", "large", 70, "blocks", None, "x")

    def rows():
        return [Row(**row) for row in json.loads(path.read_text())]

    update(path, ROWS)
    update(path, [other])
    assert rows() == [*ROWS, other]
    monkeypatch.setattr(table, "code", lambda rooms: "another")
    update(path, [other])
    assert rows() == [other]
    update(path, ROWS)
    path.write_text(path.read_text().replace("70", "71"))
    update(path, ROWS)
    assert rows() == ROWS, "neither do rows that were changed"


def test_command(tmp_path):
    """Rows, lines behind them and options of its own; an error in one line and nothing written."""

    @command("rows.json")
    @click.option("--steps", default=1)
    def main(steps):
        """Measure."""
        if steps < 1:
            raise ConfigError("steps", steps, "must be 1 or more")
        return ROWS, [f"{steps} steps"]

    path = tmp_path / "rows.json"
    shown = CliRunner().invoke(main, ["--steps", "3", "--output", str(path)])
    assert shown.exit_code == 0, shown.output
    assert shown.output.splitlines() == [*text(ROWS).splitlines(), "3 steps", f"wrote {path}"]
    assert [row["config"] for row in json.loads(path.read_text())] == ["small", "small"]
    refused = CliRunner().invoke(main, ["--steps", "0", "--output", str(tmp_path / "no.json")])
    assert refused.exit_code == 1 and refused.output == "error: steps: 0; must be 1 or more\n"
    assert not (tmp_path / "no.json").exists() and "Measure." in CliRunner().invoke(main, ["--help"]).output
