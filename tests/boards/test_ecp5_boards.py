"""Smoke tests of the boards with an ECP5."""

import re

import pytest

from boards.gate_level import PORTS
from boards.plan import BOARDS
from tests.boards import smoke

OPEN = [platform for platform in BOARDS.values() if platform.open_tools]


def check_pll(plan):
    """What goes into the phase detector, and the oscillator, are in the data sheet's range."""
    platform, text = plan.platform, plan.files["top.il"]
    divider = {name: int(value) for name, value in re.findall(r"parameter \\(CLK\w+_DIV) (\d+)\n", text)}
    detector = platform.input_mhz / divider["CLKI_DIV"]
    assert detector >= 8 and detector * divider["CLKFB_DIV"] == platform.board.clock_mhz
    assert 400 <= platform.board.clock_mhz * divider["CLKOP_DIV"] <= 800


def flash_pins(plan):
    """Pins of the flash in the order cs, copi, cipo, wp, hold; its clock goes by the part's own primitive."""
    assert "cell \\USRMCLK " in plan.files["top.il"]
    pins = smoke.pins(plan)
    assert not [port for port in pins if port.startswith("model_flash") and "clk" in port]
    return [pins[f"model_flash_0__{name}__io"] for name in ("cs", "copi", "cipo", "wp", "hold")]


def test_plan(tmp_path):
    plan = smoke.plan_of("ulx3s")
    smoke.check(plan, tmp_path / "plan")
    check_pll(plan)
    pins = smoke.pins(plan)
    assert pins["clk25_0__io"] == "G2" and pins["button_fire_0__io"] == "R1"
    assert pins["host_uart_0__rx__io"] == "M1" and pins["host_uart_0__tx__io"] == "L4"
    assert pins["wifi_gpio0_0__io"] == "L2" and re.search(r"wifi_gpio0_0__io\b.*UP", plan.files["top.lpf"])
    assert [pins[f"led_{n}__io"] for n in range(6)] == "B2 C2 C1 D2 D1 E2".split()
    assert flash_pins(plan) == "R2 W2 V2 Y2 W1".split()
    assert set(PORTS.values()) <= set(pins)
    assert 'FREQUENCY PORT "clk25_0__io" 25000000.0 HZ;' in plan.files["top.lpf"]
    assert "--85k --package CABGA381 --speed 6" in plan.files["build_top.sh"]


def test_plan_of_the_ecpix5(tmp_path):
    plan = smoke.plan_of("ecpix5")
    smoke.check(plan, tmp_path / "plan")
    check_pll(plan)
    pins = smoke.pins(plan)
    assert pins["clk100_0__io"] == "K23" and pins["rst_0__io"] == "AB1"
    assert pins["uart_0__rx__io"] == "R26" and pins["uart_0__tx__io"] == "R24"
    assert [pins[f"led_{n}__io"] for n in range(4)] == "R21 W21 K24 R23".split()
    assert flash_pins(plan) == "AA2 AD2 AE2 AF2 AE1".split()
    assert 'FREQUENCY PORT "clk100_0__io" 100000000.0 HZ;' in plan.files["top.lpf"]
    assert "--um5g-85k --package CABGA554 --speed 8" in plan.files["build_top.sh"]


def counter_in_place_of(module, verilog):
    """A module with the same ports, and a counter in it: the board around it is what it is for any design."""
    header, body = re.search(rf"^(module {module}\(.*?\);\n)(.*?)^endmodule", verilog, re.M | re.S).groups()
    ports = re.findall(r"^  (input|output) (\[\d+:0\] )?(\w+);$", body, re.M)
    declared = "".join(f"  {kind} {width}{name};\n" for kind, width, name in ports)
    shown = "".join(f"  assign {name} = count;\n" for kind, _, name in ports if kind == "output")
    counting = "  always @(posedge clk) count <= rst ? 0 : count + i_restart + i_rx;\n"
    return f"{header}{declared}  reg [31:0] count = 0;\n{counting}{shown}endmodule\n"


@pytest.mark.slow
@pytest.mark.parametrize("platform", OPEN, ids=lambda platform: platform.board.name)
def test_bitstream_of_a_small_design(tmp_path, monkeypatch, platform):
    plan = smoke.plan_of(platform.board.name)
    sources = {name: text for name, text in plan.sources().items() if name != "lstm_engine.v"}
    sources[f"{plan.design}.v"] = counter_in_place_of(plan.design, sources[f"{plan.design}.v"])
    monkeypatch.setattr(type(plan), "sources", lambda _: sources)
    path, layout = plan.bitstream(tmp_path)
    assert platform.device.encode() in path.read_bytes()[:200]
    assert min(layout.fmax_mhz.values()) >= platform.board.clock_mhz
    assert layout.used["EHXPLLL"] == 1 and layout.used["TRELLIS_FF"] > 3
