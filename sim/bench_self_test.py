"""cocotb bench of the boards' self-test on its Verilog: the verdict, after reset and after a restart.

The environment variable LSTM_HW_SELF_TEST holds what must come out, as JSON: ``reason`` (a number of
:class:`boards.judge.Reason`), ``passed`` (vectors) and, unless the test fails, ``cycles`` of the last run.
"""

import json
import os

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import ClockCycles, RisingEdge

from .clock import start_clock
from .progress import heartbeat, report_progress

CYCLES_LIMIT = 2_000_000


async def start(dut: HierarchyObject) -> None:
    """Reset; then the test runs."""
    start_clock(dut.clk)
    cocotb.start_soon(heartbeat())
    dut.i_restart.value = 0
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0


async def verdict(dut: HierarchyObject) -> None:
    """Wait for the end of the test and compare it with what must come out."""
    expected = json.loads(os.environ["LSTM_HW_SELF_TEST"])
    for name in ("o_pass", "o_fail"):
        assert int(getattr(dut, name).value) == 0, f"{name} is high while the test runs"
    for _ in range(CYCLES_LIMIT):
        await RisingEdge(dut.clk)
        if int(dut.o_pass.value) or int(dut.o_fail.value):
            break
    await ClockCycles(dut.clk, 100)
    found = {"reason": int(dut.o_reason.value), "passed": int(dut.o_passed.value), "cycles": int(dut.o_cycles.value)}
    assert int(dut.o_pass.value) or int(dut.o_fail.value), "the test does not end"
    assert int(dut.o_fail.value) or not int(dut.o_running.value), "the light is on after a test that passed"
    assert {name: found[name] for name in expected} == expected
    assert int(dut.o_pass.value) == (found["reason"] == 0)
    assert int(dut.o_fail.value) == (found["reason"] != 0)


async def press(dut: HierarchyObject) -> None:
    """The button, for a moment."""
    dut.i_restart.value = 1
    await ClockCycles(dut.clk, 2)
    dut.i_restart.value = 0
    await ClockCycles(dut.clk, 2)


@cocotb.test()
async def gives_its_verdict_again(dut: HierarchyObject) -> None:
    """After reset, after a restart at rest, and after restarts in the middle of a test."""
    await start(dut)
    await ClockCycles(dut.clk, 2)
    await verdict(dut)
    report_progress(1, 3)
    await press(dut)
    await verdict(dut)
    report_progress(2, 3)
    for wait in (1, 7, 300, 1100):
        await press(dut)
        await ClockCycles(dut.clk, wait)
    await press(dut)
    await verdict(dut)
    report_progress(3, 3)


@cocotb.test()
async def heart_beats(dut: HierarchyObject) -> None:
    """The heartbeat toggles."""
    await start(dut)
    seen = []
    for _ in range(2000):
        await RisingEdge(dut.clk)
        seen.append(int(dut.o_heartbeat.value))
    assert set(seen) == {0, 1}
