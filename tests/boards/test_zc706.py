"""Smoke test of the ZC706, and its block design."""

import re

import pytest

from boards import zynq_design
from lstm_hw.errors import ConfigError
from lstm_hw.machine.ports import CONTROL, WEIGHTS, X, Y
from tests.boards import smoke
from tests.builders import config_of


@pytest.fixture(scope="module")
def plan():
    return smoke.plan_of("zc706")


def test_plan(plan, tmp_path):
    smoke.check(plan, tmp_path / "plan")
    pins, levels = smoke.pins(plan), smoke.levels(plan)
    assert (pins["clk200_0__p"], pins["clk200_0__n"], levels["clk200_0__p"]) == ("H9", "G9", "LVDS")
    assert [(pins[f"led_{n}__io"], levels[f"led_{n}__io"]) for n in range(4)] == [
        ("Y21", "LVCMOS25"),
        ("G2", "LVCMOS15"),
        ("W21", "LVCMOS25"),
        ("A17", "LVCMOS15"),
    ]
    assert (pins["button_0__io"], levels["button_0__io"]) == ("AK25", "LVCMOS25")
    assert "-period 5.0 " in plan.files["top.xdc"]
    assert "-part xc7z045ffg900-2" in plan.files["top.tcl"]


def commands(script):
    """Run a script in a Tcl interpreter in which every command of Vivado returns its own words; returns them."""
    tkinter = pytest.importorskip("tkinter")
    tcl = tkinter.Tcl()
    seen = []

    def record(*words):
        seen.append(words)
        return " ".join(words[-1:])

    tcl.createcommand("record", record)
    tcl.eval("proc unknown args { return [record {*}$args] }")
    tcl.eval(script)
    return seen


def test_block_design_is_tcl_that_connects_the_engine(plan):
    script = plan.files["block_design.tcl"]
    assert "NOT TRIED" in script
    seen = commands(script)
    names = {words[0] for words in seen}
    assert {"create_project", "create_bd_design", "create_bd_cell", "validate_bd_design", "write_hw_platform"} <= names
    cells = {words[-1] for words in seen if words[0] == "create_bd_cell"}
    assert cells == {"ps7", "engine", "dma", "reset", "registers", "weights", "vectors", "interrupts"}
    used = {pin for words in seen if words[0] in ("get_bd_pins", "get_bd_intf_pins") for pin in words[1].split()}
    assert {pin.split("/")[0] for pin in used} == cells
    # Every pin of the engine is one of its interfaces or ports.
    top = re.search(r"^module lstm_engine\(.*?^endmodule", plan.files["lstm_engine.v"], re.M | re.S)[0]
    ports = set(re.findall(r"^  (?:input|output) (?:\[\d+:0\] )?(\w+);", top, re.M))
    for pin in used:
        cell, name = pin.split("/")
        if cell == "engine":
            assert name in ports or any(port.startswith(f"{name}_") for port in ports), pin
    assert {f"engine/{name}" for name in (CONTROL, WEIGHTS, X, Y)} <= used


def test_widths_follow_the_engine(plan):
    script = plan.files["block_design.tcl"]
    config = plan.scenario.config
    assert f"CONFIG.c_m_axis_mm2s_tdata_width {16 * config.x_per_beat} " in script
    assert "CONFIG.c_s_axis_s2mm_tdata_width 16 " in script


def test_block_design_has_one_weight_port():
    with pytest.raises(ConfigError, match="engine.axi_ports: 2; must be 1 for the block design"):
        zynq_design.script(config_of(rows=32, axi_ports=2))
