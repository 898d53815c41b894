"""Smoke tests of the boards that are like another: PYNQ-Z2, Arty Z7-20, ZedBoard, VC709."""

import pytest

from tests.boards import smoke

Z7_20 = ("H16", "LVCMOS33", 8.0, "R14 P14 N16 M14", "D19", "LVCMOS33", "xc7z020clg400-1")
BOARDS = {
    "pynq-z2": Z7_20,
    "arty-z7-20": Z7_20,
    "zedboard": ("Y9", "LVCMOS33", 10.0, "T22 T21 U22 U21 V22 W22", "P16", "LVCMOS18", "xc7z020clg484-1"),
    "vc709": ("H19 G18", "DIFF_SSTL15", 5.0, "AM39 AN39 AR37 AT37 AR35 AP41", "AV40", "LVCMOS18", "xc7vx690tffg1761-2"),
}


@pytest.mark.parametrize("board", BOARDS)
def test_plan(board, tmp_path):
    clock, clock_level, period, leds, button, button_level, part = BOARDS[board]
    plan = smoke.plan_of(board)
    smoke.check(plan, tmp_path / "plan")
    pins, levels = smoke.pins(plan), smoke.levels(plan)
    ports = [port for port in pins if port.startswith("clk")]
    assert " ".join(pins[port] for port in ports) == clock and {levels[port] for port in ports} == {clock_level}
    assert f"-period {period} " in plan.files["top.xdc"]
    assert [pins[f"led_{n}__io"] for n in range(len(leds.split()))] == leds.split()
    (restart,) = [port for port in pins if port.startswith(("button_0", "cpu_reset"))]
    assert (pins[restart], levels[restart]) == (button, button_level)
    assert f"-part {part}" in plan.files["top.tcl"]
    assert "slack is $slack ns" in plan.files["top.tcl"], "a design that is too slow has no bitstream"
