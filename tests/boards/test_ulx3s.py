"""Smoke test of the ULX3S."""

import re

import pytest

from boards.ulx3s import ULX3SPlatform
from tests.boards import smoke
from tests.boards.scenarios import small_scenario


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


@pytest.mark.slow
def test_bitstream_of_a_small_engine(tmp_path):
    from boards.plan import Plan

    scenario = small_scenario(
        vectors=1,
        sizes=(2, 2),
        head=0,
        rows=4,
        weight_words=64,
        accumulators=8,
        finish_entries=2,
        states=8,
        program_length=32,
    )
    path, layout = Plan("ulx3s", scenario).bitstream(tmp_path)
    assert b"LFE5U-85F" in path.read_bytes()[:200]
    assert min(layout.fmax_mhz.values()) >= ULX3SPlatform.board.clock_mhz
    assert layout.used["EHXPLLL"] == 1
