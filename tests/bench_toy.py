"""cocotb tests on :class:`tests.toy.Toy`; ``TOY_TRACE`` names a file of stimulus and expected outputs."""

import json
import os
import time
from pathlib import Path

import cocotb
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge, Timer

from sim.clock import start_clock
from sim.progress import heartbeat, report_progress


@cocotb.test()
async def follows_trace(dut):
    stimulus, expected = json.loads(Path(os.environ["TOY_TRACE"]).read_text())
    dut.rst.value = 0
    start_clock(dut.clk)
    for number, (inputs, outputs) in enumerate(zip(stimulus, expected, strict=True)):
        for name, value in inputs.items():
            getattr(dut, name).value = value
        await Timer(1, "ns")
        await ReadOnly()
        found = {name: str(getattr(dut, name).value) for name in outputs}  # as text: X must not pass for a number
        wanted = {name: f"{value:0{len(found[name])}b}" for name, value in outputs.items()}
        assert found == wanted, f"cycle {number}"
        await RisingEdge(dut.clk)
        await FallingEdge(dut.clk)
        if number % 100 == 0:
            report_progress(number, len(stimulus))


@cocotb.test()
async def never_ready(dut):
    dut.rst.value = 0
    await Timer(1, "ns")
    assert dut.i_ready.value == 0


@cocotb.test()
async def takes_long(dut):
    start_clock(dut.clk)
    await Timer(1, "sec")


@cocotb.test()
async def shows_that_it_lives(dut):
    start_clock(dut.clk)
    cocotb.start_soon(heartbeat(every_s=0.1))
    started = time.monotonic()
    while time.monotonic() < started + 1:
        await Timer(10, "us")


@cocotb.test()
async def kills_the_simulator(dut):
    os._exit(0)
