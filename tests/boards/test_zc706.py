"""Smoke test of the ZC706."""

from tests.boards import smoke


def test_plan(tmp_path):
    plan = smoke.plan_of("zc706")
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
