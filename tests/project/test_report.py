"""The report: stable keys, no trace of time or place, estimates beside measurements, plots."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.machine.parts import Part, Usage
from lstm_hw.model.precision import Found
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.reference import float_reference
from lstm_hw.project import render, text
from lstm_hw.project.api import convert
from lstm_hw.project.figures import target_of
from lstm_hw.project.plots import shares
from lstm_hw.project.report import Report
from lstm_hw.project.sections import MARK
from lstm_hw.proof.cycles import Cycles, long_steps
from lstm_hw.proof.timeline import STATES
from lstm_hw.verify.simulate import Measured
from tests import trace_events
from tests.projects import tensors, write_project

KEYS = set(
    "version name content_id model pruning accuracy numbers budget agreement simulation schedule clock activity "
    "assumed cycles x_to_y performance layers memory target resources ports tools engine".split()
)
COUNTS = {"dsp": 7, "bram36": 2.5, "lut": 100, "lutram": 10, "ff": 50}
RESOURCES = {
    **COUNTS,
    "lut_levels": 9,
    "family": "xc7",
    "tool": "t",
    "components": [{"name": "engine.lanes", **COUNTS}, {"name": "control.slave", **COUNTS, "dsp": 0}],
}


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
    least, most = (figures["x_to_y"][name] for name in ("least", "most"))
    assert (least, most) == (min(project.response), max(project.response)) and 20 < least <= most < least + 5
    assert figures["x_to_y"]["most_us"] == most / 100
    assert report.agreement() == "Not simulated yet." and "Verilog (" not in report.table()


def test_after_simulation(tmp_path):
    project = convert(write_project(tmp_path))
    project.measured = measurement(project)
    report = project.report(RESOURCES)
    folder = project.folder / "report"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{name}.svg" for name in ("accuracy", "budget", "error", "histogram", "run", "step")]
        + ["report.html", "report.json", "report.md", "trace.json"]
    )
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert not [name for name, content in kept.items() if str(tmp_path).encode() in content or b"/home" in content]
    rows = {name: (estimate, measured) for name, _, estimate, measured in report.rows()}
    assert rows["run of 3 steps"][0] == rows["run of 3 steps"][1] == str(project.estimate().run["cycles"])
    assert rows["DSP"] == ("7", "7") and rows["BRAM"][1] == "2.5"
    accuracy = report.figures["accuracy"]
    assert accuracy["simulated"] == 3 and accuracy["verilog"] == accuracy["integer_simulated"]
    page = (folder / "report.md").read_text()
    for name, unit, estimate, measured in report.rows():
        assert f"| {name} | {unit} | {estimate} | {measured} |" in page
    again = project.report(RESOURCES)
    assert again.figures == report.figures and {p.name: p.read_bytes() for p in folder.iterdir()} == kept


def test_clipped_values_are_told_where_they_are_counted(tmp_path):
    project = convert(write_project(tmp_path))
    project.measured = measurement(project)
    assert "clipped" not in Report.of(project).agreement()
    assert not any("clipped" in line for line in text.simulated(project.measured))
    clipped = {"preact": 1234, "c": 0, "h": 5, "output": 6}
    project.measured = replace(project.measured, clipped=clipped)
    report = Report.of(project)
    told = "1,234 pre-activations, 0 elements of c, 5 elements of h, 6 outputs of a linear head"
    assert report.figures["simulation"]["clipped"] == clipped
    assert report.agreement().endswith(f" Reference and Verilog clipped as many values: {told}.")
    line = f"values clipped in all runs, as many as in the integer reference: {told}"
    assert line in list(text.simulated(project.measured))


def test_times_follow_from_cycles_and_clock(tmp_path):
    project = convert(write_project(tmp_path))
    figures, cycles = Report.of(project).figures, project.estimate()
    assert figures["clock"] == {"mhz": 100.0, "measured": False, "basis": "assumed, since no clock is given"}
    assert figures["performance"]["measured"] is None
    time = figures["performance"]["estimated"]
    assert time["run_us"] == pytest.approx(cycles.run["cycles"] / 100)
    assert time["steps_per_second"] == pytest.approx(3 * time["sequences_per_second"], rel=1e-5)
    assert time["gops"] == pytest.approx(2 * cycles.macs / time["run_us"] / 1000, rel=1e-5)
    routed = Report.of(project, fmax_mhz=66)
    assert routed.figures["clock"]["measured"] and "66 MHz (reached by place and route)" in routed.clock()
    assert routed.figures["performance"]["estimated"]["run_us"] == pytest.approx(cycles.run["cycles"] / 66, rel=1e-5)


def test_what_rests_on_an_assumed_clock_is_marked(tmp_path):
    project = convert(write_project(tmp_path))
    for fmax, marked in ((None, True), (66, False)):
        made = Report.of(project, fmax_mhz=fmax)
        for page in (render.html(made.figures, []), render.markdown(made.figures, [])):
            assert (MARK in page) == marked
            assert ("was not measured" in page) == marked


def test_layers_ports_tools_and_outputs(tmp_path):
    project = convert(write_project(tmp_path))
    figures = Report.of(project).figures
    lstm, head = figures["layers"]
    assert lstm["operations"] == 2 * 3 * 16 * 7 and head["operations"] == 2 * 3 * 4 and head["vectors"] == 1
    assert lstm["lane_cycles"] + head["lane_cycles"] == figures["cycles"]["estimated"]["run"]["busy"]
    assert {p["name"]: (p["direction"], p["bits"]) for p in figures["ports"]} == ports_of(project.verilog)
    assert {"amaranth", "yosys", "verilator", "icarus", "python", "lstm-hw"} <= set(figures["tools"])
    exact, _ = float_reference(project.model, project.x)
    difference = np.abs(exact - project.predict(project.x))
    error = figures["numbers"]["output"]
    assert error["max"] == pytest.approx(difference.max(), rel=1e-5) and figures["numbers"]["inputs"] == "test"
    assert error["mean"] == pytest.approx(difference.mean(), rel=1e-5)
    assert error["rms"] == pytest.approx(np.sqrt(np.mean(difference**2)), rel=1e-5)
    assert error["sequence"] == difference.max(axis=1).argmax()


def ports_of(verilog):
    """Ports of the emitted top module: name -> (direction, bits)."""
    top = re.search(r"^module lstm_engine\(.*?^endmodule", verilog.read_text(), re.MULTILINE | re.DOTALL)[0]
    declared = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", top, re.MULTILINE)
    return {name: (direction, int(high or 0) + 1) for direction, high, name in declared}


def test_occupancy_of_a_part(tmp_path):
    figures = Report.of(convert(write_project(tmp_path)), RESOURCES).figures
    assert figures["target"] is None and "No part is given" in render.html(figures, [])
    part = Part("small", "xc7", 1000, 5, 100, 10, 20, "a data sheet")
    figures["target"] = target_of(part, Usage(**COUNTS))
    page = render.html(figures, [])
    assert "No part is given" not in page and "does not fit the small (a data sheet)" in page
    for shown in ("35.0 %", "25.0 %", "50.0 %", "200.0 %", "11.0 %"):  # DSP, BRAM, FF, LUT as memory, LUT
        assert shown in page
    assert page.count('class="bar over"') == 1
    assert page.index("engine.lanes") < page.index("control.slave")


def test_no_labels_no_accuracy(tmp_path):
    project = convert(write_project(tmp_path, data={"labels": None}))
    figures = project.report().figures
    assert figures["accuracy"] is None and not (project.folder / "report" / "accuracy.svg").exists()


def test_errors_are_those_of_the_trace(tmp_path):
    project = convert(write_project(tmp_path))
    report = Report.of(project)
    for place, (exact, rounded) in project.trace(project.x)[0].items():
        error, difference = report.figures["numbers"]["layers"][0][place], np.abs(exact - rounded)
        assert error["max"] == pytest.approx(difference.max(), rel=1e-5)
        assert error["rms"] == pytest.approx(np.sqrt(np.mean(difference**2)), rel=1e-5)
        assert 0 < error["rms"] < error["max"] < 4e-3
        largest, rms = project.error_curves[place][0]
        np.testing.assert_allclose(largest, difference.max(axis=(0, 2)))
        np.testing.assert_allclose(rms, np.sqrt(np.square(difference).mean(axis=(0, 2))))


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
    assert (cycles.per_step, cycles.per_further_step, cycles.interstep_stalls) == (10, 9, 1)
    assert (cycles.lanes_busy, cycles.products_per_lane_cycle) == (0.8, 0.8)
    pruned = Cycles({}, run, run, 10, 4 * 640, 8)
    assert (pruned.lanes_busy, pruned.products_per_lane_cycle) == (0.8, 3.2)
    assert [long_steps(steps) for steps in (1, 4, 5, 6, 10)] == [6, 9, 10, 16, 20]


def test_a_streamed_schedule_on_a_part(tmp_path):
    plan = {"schedule": "sacc", "batch": 2}
    target = {"part": "lfe5u-25f", "clock": 50.0}
    sections = {"data": {"labels": None}, "plan": plan, "target": target, "memory": {"latency": 20}}
    model = tensors(np.random.default_rng(1), 5, (8,), outputs=0)
    project = convert(write_project(tmp_path, steps=4, model=model, **sections))
    figures = project.report().figures
    busy = figures["cycles"]["estimated"]["run"]["busy"]
    assert 0 < sum(layer["lane_cycles"] for layer in figures["layers"]) <= busy
    time = figures["performance"]["estimated"]
    assert time["run_bytes"] == project.estimate().run["read_beats"] * project.engine.beat_bytes > 0
    assert time["gbytes_per_s"] == pytest.approx(time["run_bytes"] / time["run_us"] / 1000, rel=1e-5)
    assert figures["clock"] == {"mhz": 50.0, "measured": False, "basis": "the constraint target.clock"}
    assert figures["target"]["family"] == figures["resources"]["family"] == "ecp5" and figures["target"]["fits"]
    page = (project.folder / "report" / "report.html").read_text()
    for shown in (figures["schedule"]["reason"], "The design fits the lfe5u-25f", "answers after 20 cycles"):
        assert html.escape(shown) in page
    units = trace_events.read((project.folder / "report" / "trace.json").read_text())
    assert any(event["name"].startswith("LOAD") for event in units["load port"])
    assert "the weights are on chip" not in (project.folder / "report" / "run.svg").read_text()


def test_what_is_synthesised_is_the_parts(tmp_path):
    project = convert(write_project(tmp_path, target={"part": "lfe5u-25f"}, report={"family": "xc7"}))
    with pytest.raises(ConfigError, match="report.family: 'xc7'; must be ecp5, as target.part"):
        project.synthesis()


def test_the_page_of_the_report_names_every_key(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == KEYS


def test_where_accuracy_goes_is_told_by_place_and_gate(tmp_path):
    project = convert(write_project(tmp_path, quantize={"weight_bits": 4}))
    figures = Report.of(project).figures
    layer, output = figures["numbers"]["layers"][0], figures["numbers"]["output"]
    traced = project.trace(project.x)[0]
    difference = np.abs(traced["pre"][0] - traced["pre"][1])
    for gate, part in zip("ifgo", np.split(difference, 4, axis=2), strict=True):
        assert layer[gate]["max"] == pytest.approx(part.max(), rel=1e-5)
        assert layer[gate]["mean"] == pytest.approx(part.mean(), rel=1e-5)
        assert part[layer[gate]["sequence"], layer[gate]["step"]].max() == part.max()
    assert layer["pre"]["max"] == max(layer[gate]["max"] for gate in "ifgo")
    assert sum(output["histogram"]["counts"]) == project.outputs[0].size
    assert output["histogram"]["edges"][-1] * project.qmodel.output_format.lsb >= output["max"]
    page = render.markdown(figures, [])
    for words in ("Where accuracy goes", "0 pre of f", "layer 0: W_x", "everything"):
        assert words in page
    worst = max(figures["budget"]["places"], key=lambda entry: entry["rms"])
    assert worst["place"] in ("w_x", "w_h", "weight")


def test_a_trace_leaves_table_and_drawings(tmp_path):
    project = convert(write_project(tmp_path))
    folder, budget = project.write_trace(images=2)
    assert budget["sequences"] == 2
    assert sorted(path.name for path in folder.iterdir()) == ["accuracy.json", "budget.svg", "histogram.svg"]
    kept = json.loads((folder / "accuracy.json").read_text())
    assert kept["budget"] == budget and kept["numbers"]["layers"][0]["f"]["max"] > 0
    for name in ("budget", "histogram"):
        assert (folder / f"{name}.svg").read_text().startswith("<svg ")
    with pytest.raises(ConfigError, match="images: 0"):
        project.budget(0)


def test_matrices_of_a_chain_by_their_names():
    bits = {"0.w_x": 5, "0.w_h": 4, "dense.0": 6, "head": 8}
    found = Found(dict.fromkeys(bits, 10), bits, 0.01, 8, 0.01, QuantConfig(), None, 3, True)
    rows = [line.split() for line in text.precise(found, None, 0.02)][1:5]
    assert rows == [["layer", "0", "W_x", "10", "5"], ["layer", "0", "W_h", "10", "4"], ["dense.0", "W", "10", "6"]] + [
        ["head", "W", "10", "8"]
    ]
