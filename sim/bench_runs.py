"""cocotb bench that plays a scenario: memories and streams are Verilog models, Python keeps the registers.

LSTM_HW_SCENARIO is the folder of the scenario, LSTM_HW_OUTPUT the file that the model of the output stream writes. What
was measured is left in ``measured.json`` of that folder, to be judged by who started the bench.
"""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import First, RisingEdge, Timer
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from lstm_hw.host.driver import Driver
from lstm_hw.machine.limits import VALUE_BITS
from lstm_hw.machine.ports import CONTROL
from lstm_hw.machine.registers import ErrorCode
from lstm_hw.verify.scenario import Run, Scenario, Stress

from .clock import start_clock
from .harness import LAST_BEATS, PARTS
from .progress import CLOCK_NS, heartbeat, report_progress, seconds
from .testbench import Port

REPORT_CYCLES = 5000
CYCLES_LIMIT = 200_000_000
"""Of a run that no estimate is known of."""


def cycles_limit(run: Run, stress: Stress) -> int:
    """Cycles after which a run has hung: many times the estimate, and more where it is held back."""
    if run.counters is None:
        return CYCLES_LIMIT
    held = (1 + stress.memory_latency) / ((1 - stress.x_idle) * (1 - stress.y_stall) * (1 - stress.memory_stall))
    return 100_000 + 20 * int(run.counters["cycles"] * held)


def received(lines: Sequence[str]) -> list[list[int]]:
    """Packets in lines of the output stream model; elements are signed."""
    packets, packet = [], []
    for line in lines:
        last, text = line.split()
        value = int(text, 16)
        packet.append(value - (1 << VALUE_BITS) if value >> VALUE_BITS - 1 else value)
        if last == "1":
            packets.append(packet)
            packet = []
    assert not packet, f"{len(packet)} outputs without tlast"
    return packets


@cocotb.test()
async def plays_runs(dut: HierarchyObject) -> None:
    """The runs, one after the other, end without an error, and nothing is sent after the end of one."""
    folder = Path(os.environ["LSTM_HW_SCENARIO"])
    scenario = Scenario.load(folder)
    start_clock(dut.aclk)
    cocotb.start_soon(heartbeat())
    logging.getLogger(f"cocotb.{dut._name}.{CONTROL}").setLevel(logging.WARNING)  # it tells every access
    control = AxiLiteMaster(AxiLiteBus.from_prefix(dut, CONTROL), dut.aclk, dut.aresetn, reset_active_level=False)

    async def interrupt():
        if not int(dut.interrupt.value):
            await First(RisingEdge(dut.interrupt), Timer(REPORT_CYCLES * CLOCK_NS, "ns"))

    # Under stress the driver polls, so that both ways are exercised.
    waits = interrupt if scenario.stress.quiet else None
    driver = Driver(Port(control), scenario.config.content_id, waits, clock=seconds)
    dut.allowed.value = beats = 0  # of x: none before its run
    dut.aresetn.value = 0
    await Timer(10 * CLOCK_NS, "ns")
    await RisingEdge(dut.aclk)
    dut.aresetn.value = 1
    await RisingEdge(dut.aclk)
    await driver.identify()
    await driver.enable_interrupt()
    await driver.load_program(scenario.program)
    await driver.set_weights(*scenario.addresses)
    total = sum(len(packet) for run in scenario.runs for packet in run.outputs)
    measured, ends, before = [], [0], [0] * PARTS
    for number, run in enumerate(scenario.runs):
        late = len(run.x) // 2 if scenario.stress.x_late else 0
        beats += len(run.x)
        dut.allowed.value = beats - late
        await driver.start(run.entry, run.steps, run.clear)
        waiting = cocotb.start_soon(driver.wait())
        if late:
            await Timer((scenario.stress.x_late + number) * CLOCK_NS, "ns")
            dut.allowed.value = beats
        limit = cycles_limit(run, scenario.stress)
        for _ in range(limit // REPORT_CYCLES):
            await First(waiting, Timer(REPORT_CYCLES * CLOCK_NS, "ns"))
            report_progress(int(dut.outputs.value), total)
            if waiting.done():
                break
        ends.append(int(dut.outputs.value))
        assert waiting.done(), f"run {number} does not end within {limit} cycles"
        error = waiting.result()
        assert error == ErrorCode.NONE, f"run {number}: {error.name}"
        counters, clipped = await driver.counters(), await driver.clipped()
        now = [int(getattr(dut, f"taken_{part}").value) for part in range(PARTS)]
        taken = [after - first for after, first in zip(now, before, strict=True)]
        x_last, y_last = (int(getattr(dut, name).value) for name in LAST_BEATS) if run.outputs else (0, 0)
        response = y_last - x_last
        measured.append({"counters": counters, "clipped": clipped, "taken": taken, "response": response})
        before = now
    lines = Path(os.environ["LSTM_HW_OUTPUT"]).read_text().splitlines()
    assert len(lines) == ends[-1], f"{len(lines) - ends[-1]} outputs after the last run"
    for found, first, end in zip(measured, ends[:-1], ends[1:], strict=True):
        found["outputs"] = received(lines[first:end])
    (folder / "measured.json").write_text(json.dumps(measured))
