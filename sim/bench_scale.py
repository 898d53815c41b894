"""cocotb bench for long runs: memory and streams are Verilog models, Python keeps the registers and compares.

Environment: LSTM_HW_SCENARIO is the folder of a scenario, LSTM_HW_OUTPUT the file that the model of the
output stream writes. Measured counters are left in ``measured.json`` of that folder.
"""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import First, RisingEdge, Timer
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from lstm_hw.machine.config import VALUE_BITS
from lstm_hw.machine.ports import CONTROL
from lstm_hw.machine.registers import ErrorCode
from lstm_hw.verify.driver import Driver
from lstm_hw.verify.scenario import Scenario
from sim.bench_engine import CLOCK_NS, Port
from sim.progress import report_progress

REPORT_CYCLES = 5000
PARTS = 4
"""Kinds of beats that the memory model counts apart."""


def received(path, bits):
    """Packets in the file of the output stream model; elements are signed."""
    packets, packet = [], []
    for line in Path(path).read_text().splitlines():
        last, text = line.split()
        value = int(text, 16)
        packet.append(value - (1 << bits) if value >> bits - 1 else value)
        if last == "1":
            packets.append(packet)
            packet = []
    assert not packet, f"{len(packet)} outputs without tlast"
    return packets


@cocotb.test()
async def plays_runs(dut):
    """The runs, one after the other, give the expected packets and counters."""
    folder = Path(os.environ["LSTM_HW_SCENARIO"])
    scenario = Scenario.load(folder)
    cocotb.start_soon(Clock(dut.aclk, CLOCK_NS, unit="ns").start())
    control = AxiLiteMaster(AxiLiteBus.from_prefix(dut, CONTROL), dut.aclk, dut.aresetn, reset_active_level=False)
    driver = Driver(Port(control))
    dut.aresetn.value = 0
    await Timer(10 * CLOCK_NS, "ns")
    await RisingEdge(dut.aclk)
    dut.aresetn.value = 1
    await RisingEdge(dut.aclk)
    await driver.identify(scenario.config.content_id)
    await driver.load_program(scenario.program)
    await driver.set_weights(*scenario.addresses)
    total = sum(len(packet) for run in scenario.runs for packet in run.outputs)
    counters, taken, before = [], [], [0] * PARTS
    for run in scenario.runs:
        waiting = cocotb.start_soon(driver.wait())
        await driver.start(run.entry, run.steps, run.clear)
        while not waiting.done():
            await First(waiting, Timer(REPORT_CYCLES * CLOCK_NS, "ns"))
            report_progress(int(dut.outputs.value), total)
        assert waiting.result() == ErrorCode.NONE
        counters.append(await driver.counters())
        now = [int(getattr(dut, f"taken_{part}").value) for part in range(PARTS)]
        taken.append([after - first for after, first in zip(now, before, strict=True)])
        before = now
    (folder / "measured.json").write_text(json.dumps({"counters": counters, "taken": taken}))
    packets = received(os.environ["LSTM_HW_OUTPUT"], VALUE_BITS)
    assert packets == sum((run.outputs for run in scenario.runs), []), "outputs differ from the reference"
    for number, (found, run) in enumerate(zip(counters, scenario.runs, strict=True)):
        assert run.counters in (None, found), f"run {number}: counters {found}, expected {run.counters}"
