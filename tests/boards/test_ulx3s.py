"""Smoke test of the ULX3S."""

import re

import pytest

from boards.ulx3s import ULX3SPlatform
from tests.boards import smoke


def test_plan(tmp_path):
    plan = smoke.plan_of("ulx3s")
    smoke.check(plan, tmp_path / "plan")
    pins = smoke.pins(plan)
    assert pins["clk25_0__io"] == "G2" and pins["button_fire_0__io"] == "R1"
    assert pins["host_uart_0__rx__io"] == "M1" and pins["host_uart_0__tx__io"] == "L4"
    assert pins["wifi_gpio0_0__io"] == "L2" and re.search(r"wifi_gpio0_0__io\b.*UP", plan.files["top.lpf"])
    assert [pins[f"led_{n}__io"] for n in range(6)] == "B2 C2 C1 D2 D1 E2".split()
    assert 'FREQUENCY PORT "clk25_0__io" 25000000.0 HZ;' in plan.files["top.lpf"]
    assert "--85k --package CABGA381 --speed 6" in plan.files["build_top.sh"]


def test_pll():
    assert 400 <= ULX3SPlatform.board.clock_mhz * (600 // ULX3SPlatform.board.clock_mhz) <= 800
    assert ULX3SPlatform.board.clock_mhz % ULX3SPlatform.input_mhz == 0 and 600 % ULX3SPlatform.board.clock_mhz == 0


def counter_in_place_of(module, verilog):
    """A module with the same ports, and a counter in it: the board around it is what it is for any design."""
    header, body = re.search(rf"^(module {module}\(.*?\);\n)(.*?)^endmodule", verilog, re.M | re.S).groups()
    ports = re.findall(r"^  (input|output) (\[\d+:0\] )?(\w+);$", body, re.M)
    declared = "".join(f"  {kind} {width}{name};\n" for kind, width, name in ports)
    shown = "".join(f"  assign {name} = count;\n" for kind, _, name in ports if kind == "output")
    counting = "  always @(posedge clk) count <= rst ? 0 : count + i_restart + i_rx;\n"
    return f"{header}{declared}  reg [31:0] count = 0;\n{counting}{shown}endmodule\n"


@pytest.mark.slow
def test_bitstream_of_a_small_design(tmp_path, monkeypatch):
    plan = smoke.plan_of("ulx3s")
    sources = {name: text for name, text in plan.sources().items() if name != "lstm_engine.v"}
    sources[f"{plan.design}.v"] = counter_in_place_of(plan.design, sources[f"{plan.design}.v"])
    monkeypatch.setattr(type(plan), "sources", lambda _: sources)
    path, layout = plan.bitstream(tmp_path)
    assert b"LFE5U-85F" in path.read_bytes()[:200]
    assert min(layout.fmax_mhz.values()) >= ULX3SPlatform.board.clock_mhz
    assert layout.used["EHXPLLL"] == 1 and layout.used["TRELLIS_FF"] > 3
