"""Smoke test of the VC707."""

from tests.boards import smoke


def test_plan(tmp_path):
    plan = smoke.plan_of("vc707")
    smoke.check(plan, tmp_path / "plan")
    pins, levels = smoke.pins(plan), smoke.levels(plan)
    assert (pins["clk200_0__p"], pins["clk200_0__n"], levels["clk200_0__p"]) == ("E19", "E18", "LVDS")
    assert pins["cpu_reset_0__io"] == "AV40"
    assert [pins[f"led_{n}__io"] for n in range(6)] == "AM39 AN39 AR37 AT37 AR35 AP41".split()
    assert (pins["uart_0__rx__io"], pins["uart_0__tx__io"]) == ("AU33", "AU36"), "a host is at the UART"
    assert set(levels.values()) == {"LVDS", "LVCMOS18"}
    assert "CONFIG_VOLTAGE 1.8" in plan.files["top.xdc"]
    assert "-part xc7vx485tffg1761-2" in plan.files["top.tcl"]
