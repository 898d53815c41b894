"""The report: stable keys, no trace of time or place, estimates beside measurements, plots."""

import json

import numpy as np
import pytest

from lstm_hw.machine.config import EngineConfig
from lstm_hw.project.api import convert
from lstm_hw.project.plots import shares
from lstm_hw.project.report import Report, dsp_estimate
from lstm_hw.proof.cycles import Cycles, long_steps
from lstm_hw.proof.timeline import STATES
from lstm_hw.verify.simulate import Measured
from lstm_hw.verilog import tools
from tests.projects import write_project

KEYS = {
    "version",
    "name",
    "content_id",
    "model",
    "accuracy",
    "agreement",
    "simulation",
    "cycles",
    "resources",
    "error",
    "schedule",
    "engine",
}
RESOURCES = {"dsp": 7, "bram36": 2.5, "lut": 100, "lutram": 10, "ff": 50, "lut_levels": 9, "family": "xc7", "tool": "t"}


def measurement(project):
    """What a simulation would have measured."""
    cycles = project.estimate()
    return Measured(
        "verilator", project.predict(project.x[:3], stored=True), cycles.load, cycles.run, cycles.long, 3, True, 1234
    )


def test_before_simulation(tmp_path):
    project = convert(write_project(tmp_path))
    report = project.report()
    figures = json.loads((project.folder / "report" / "report.json").read_text())
    assert figures == report.figures and set(figures) == KEYS
    assert figures["cycles"]["measured"] is None and figures["agreement"]["cycles"] is None
    assert figures["accuracy"]["verilog"] is None and figures["accuracy"]["sequences"] == 5
    assert report.agreement() == "Not simulated yet." and "Verilog (" not in report.table()


def test_after_simulation(tmp_path):
    project = convert(write_project(tmp_path))
    project.measured = measurement(project)
    report = project.report(RESOURCES)
    folder = project.folder / "report"
    assert sorted(path.name for path in folder.iterdir()) == [
        "accuracy.png",
        "error.png",
        "lanes.png",
        "report.json",
        "report.md",
    ]
    for path in folder.iterdir():
        content = path.read_bytes()
        assert str(tmp_path).encode() not in content and b"/home" not in content
        assert path.suffix != ".png" or content.startswith(b"\x89PNG")
    rows = {name: (estimate, measured) for name, _, estimate, measured in report.rows()}
    assert rows["run of 3 steps"][0] == rows["run of 3 steps"][1] == str(project.estimate().run["cycles"])
    assert rows["DSP"] == ("7", "7") and rows["BRAM"] == ("", "2.5")
    accuracy = report.figures["accuracy"]
    assert accuracy["simulated"] == 3 and accuracy["verilog"] == accuracy["integer_simulated"]
    page = (folder / "report.md").read_text()
    for name, unit, estimate, measured in report.rows():
        assert f"| {name} | {unit} | {estimate} | {measured} |" in page
    again = project.report(RESOURCES)
    assert again.figures == report.figures and (folder / "report.md").read_text() == page


def test_no_labels_no_accuracy(tmp_path):
    project = convert(write_project(tmp_path, data={"labels": None}))
    figures = project.report().figures
    assert figures["accuracy"] is None and not (project.folder / "report" / "accuracy.png").exists()


def test_errors_are_those_of_the_trace(tmp_path):
    project = convert(write_project(tmp_path))
    (exact, rounded), error = project.trace(project.x)[0]["h"], Report.of(project).figures["error"][0]
    assert error["h_max"] == pytest.approx(np.abs(exact - rounded).max(), rel=1e-5)
    assert error["h_rms"] == pytest.approx(np.sqrt(np.mean((exact - rounded) ** 2)), rel=1e-5)
    assert 0 < error["c_rms"] < error["c_max"] < 2e-3


def test_shares_of_windows():
    states = np.repeat([STATES.index("empty"), 0, STATES.index("stall_h")], [10, 70, 20])
    edges, share = shares(states, 10)
    assert edges.tolist() == list(range(0, 101, 10))
    np.testing.assert_allclose(share.sum(axis=0), 1)
    assert share[0].tolist() == [0] + [1] * 7 + [0] * 2
    assert shares(states[:5])[0].tolist() == [0, 1, 2, 3, 4, 5]


def test_ratios_of_counters():
    run = {"cycles": 100, "busy": 80, "stall_weights": 1, "stall_h": 2, "stall_x": 3, "stall_output": 4, "empty": 10}
    cycles = Cycles({}, run, {**run, "cycles": 190, "stall_h": 12}, 10, 640, 8)
    assert (cycles.per_step, cycles.per_further_step, cycles.interstep_stalls, cycles.utilisation) == (10, 9, 1, 0.8)
    assert [long_steps(steps) for steps in (1, 4, 5, 6, 10)] == [6, 9, 10, 16, 20]


@pytest.mark.slow
@pytest.mark.parametrize("cells, activation", [(1, "quadratic64"), (2, "pwl"), (5, "quadratic64")])
def test_estimate_of_dsp_blocks(tmp_path, cells, activation):
    from lstm_hw.gateware.top import Top
    from lstm_hw.verilog.emit import write_verilog

    config = EngineConfig(rows=4, cells=cells, activation=activation, axi_data_bits=64, weight_words=64)
    path = write_verilog(tmp_path / "engine.v", Top(config), "lstm_engine")
    assert tools.yosys_stat(path, "lstm_engine", build_dir="build")["dsp"] == dsp_estimate(config)
