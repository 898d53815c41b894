"""cocotb bench of the boards' host design: self-test, then a model loaded and run over the UART.

The design is Verilog as emitted, or the netlist of a board. The environment variable LSTM_HW_HOST_DESIGN holds JSON:
``scenario`` (a folder), ``ports`` (role -> name of a port: ``clock``, ``rx``, ``tx``, ``restart`` and, where there are
such, ``reset``, and ``cipo`` of a flash memory that is erased), ``clock_ns`` of the port, ``cycle_ns`` of the design,
``clock_hz`` (that it believes in), ``divisor`` after reset and ``fast`` (the one to use), and ``reason``, ``passed``
and ``cycles`` (or None) of the self-test.
"""

import json
import os

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import Timer

from lstm_hw.host.driver import Driver
from lstm_hw.host.link import Link
from lstm_hw.host.protocol import FlashState, TestState
from lstm_hw.machine.limits import PAGE_BYTES
from lstm_hw.machine.registers import ErrorCode
from lstm_hw.verify.scenario import Scenario

from .clock import start_clock
from .progress import heartbeat, report_progress
from .uart_host import UartLine, UartWires


async def verdict(link: Link, settings: dict) -> None:
    """Wait for the end of the self-test and compare it with what must come out."""
    for _ in range(200):
        state, reason, passed, cycles = await link.selftest(False)
        if state != TestState.RUNNING:
            break
    wanted = (TestState.FAILED if settings["reason"] else TestState.PASSED, settings["reason"], settings["passed"])
    assert (state, reason, passed) == wanted, f"self-test: {state.name}, reason {reason}, {passed} vectors right"
    assert settings["cycles"] in (cycles, None)


@cocotb.test()
async def a_host_loads_and_runs_the_engine(dut: HierarchyObject) -> None:
    """Every run of the scenario, outputs compared in every bit and cycles with those of the interpreter."""
    settings = json.loads(os.environ["LSTM_HW_HOST_DESIGN"])
    scenario = Scenario.load(settings["scenario"])
    ports = {role: getattr(dut, name) for role, name in settings["ports"].items()}
    start_clock(ports["clock"], settings["clock_ns"])
    cocotb.start_soon(heartbeat())
    steps = len(scenario.runs) + 2
    wires = UartWires(ports["rx"], ports["tx"], settings["cycle_ns"], settings["divisor"])
    ports["restart"].value = 0
    if "cipo" in ports:
        ports["cipo"].value = 1
    if "reset" in ports:
        ports["reset"].value = 1
        await Timer(4 * settings["clock_ns"], "ns")
        ports["reset"].value = 0
    await Timer(50 * settings["clock_ns"], "ns")

    line = UartLine(wires, settings["clock_hz"])
    link = await line.link()
    await verdict(link, settings)
    if "cipo" in ports:
        for _ in range(200):
            state = await link.flash()
            if state != FlashState.RUNNING:
                break
        assert state == FlashState.NONE, state.name
    report_progress(1, steps)
    await link.speed_up(settings["clock_hz"] / settings["fast"])
    assert wires.divisor == settings["fast"]
    road = link.transport()
    memory, streams = road.need("memory"), road.need("streams")
    pages = -(-len(scenario.images[0]) // PAGE_BYTES) * PAGE_BYTES
    addresses = [memory.base + port * pages for port in range(scenario.config.axi_ports)]
    for address, image in zip(addresses, scenario.images, strict=True):
        await memory.write(address - memory.base, image)
        assert await memory.read(address - memory.base, 64) == image[:64]
    driver = Driver(road.registers, scenario.config.content_id)
    await driver.identify()
    await driver.load_program(scenario.program)
    await driver.set_weights(*addresses)
    report_progress(2, steps)

    element = scenario.config.operand_bits // 8
    assert streams.x_beat_bytes == element * scenario.config.x_per_beat
    for number, run in enumerate(scenario.runs):
        await driver.start(run.entry, run.steps, run.clear, sequence=True)
        if len(run.x):
            beats, lengths = run.x.astype(f"<i{element}").tobytes(), [len(packet) for packet in run.outputs]
            assert await streams.transfer(beats, lengths, driver.done) == run.outputs, f"outputs of run {number}"
        assert await driver.wait() == ErrorCode.NONE
        report_progress(3 + number, steps)

    assert (await link.selftest(True))[0] == TestState.RUNNING
