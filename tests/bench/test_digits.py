"""The digits benchmark: a small instance of the command, and its rows."""

import json

from click.testing import CliRunner

from bench import digits, fmax
from bench.digits import main
from lstm_hw.project.api import convert
from lstm_hw.project.report import Report
from tests.project.test_report import RESOURCES, measurement
from tests.projects import write_project

METRICS = {
    "accuracy_float",
    "accuracy_integer",
    "accuracy_verilog",
    "cycles_per_step",
    "lane_utilisation",
    "interstep_stall_cycles",
    "dsp",
    "bram",
    "lut",
}


def test_small_instance(tmp_path):
    path = write_project(tmp_path)
    shown = CliRunner().invoke(main, [str(path), "--no-fmax", "--output", str(tmp_path / "rows.json")])
    assert shown.exit_code == 0, shown.output
    rows = {row["metric"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    assert METRICS - {"dsp", "bram", "lut"} <= set(rows)  # the project has no synthesis
    assert set(rows["accuracy_float"]) == {"metric", "config", "ours", "unit", "published", "source"}
    report = json.loads((tmp_path / "build" / "tiny" / "report" / "report.json").read_text())
    assert rows["cycles_per_step"]["ours"] == report["cycles"]["measured"]["per_step"]
    assert rows["accuracy_verilog"]["ours"] == 100 * report["accuracy"]["verilog"]


def test_rows_of_a_synthesised_project(tmp_path):
    project = convert(write_project(tmp_path))
    project.measured = measurement(project)
    rows = {row.metric: row for row in digits.rows(Report.of(project, RESOURCES))}
    assert METRICS <= set(rows) and len(rows) == len(digits.rows(Report.of(project, RESOURCES)))
    assert (rows["dsp"].ours, rows["bram"].ours, rows["lut"].ours) == (7, 2.5, 100)


def test_clock_rate_is_added(tmp_path, monkeypatch):
    row = {"metric": "ecp5_fmax_mhz", "config": "c", "ours": 90.0, "unit": "MHz", "published": None, "source": "s"}
    monkeypatch.setattr(fmax, "measure", lambda engine, flow: [engine])
    monkeypatch.setattr(fmax, "rows", lambda engine, layouts: [row])
    rows = digits.fmax_rows("engine", tmp_path / "fmax.json")
    assert [r.metric for r in rows] == ["ecp5_fmax_mhz"] and json.loads((tmp_path / "fmax.json").read_text()) == [row]


def test_errors_are_one_line(tmp_path):
    shown = CliRunner().invoke(main, [str(tmp_path / "no.toml")])
    assert shown.exit_code == 1
    (line,) = str(shown.exception).splitlines()
    assert line.startswith(f"error: {tmp_path}/no.toml: No such file")
