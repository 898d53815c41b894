"""cocotb bench of the driver at the UART of a board's host design: everything between them is Verilog.

LSTM_HW_IMAGE and LSTM_HW_VECTORS are as of :mod:`sim.bench_host`, LSTM_HW_UART is JSON: ``ports`` (role -> name:
``clock``, ``reset``, ``rx``, ``tx``, ``restart``), ``cycle_ns``, ``clock_hz`` (that the design believes in) and
``divisor``.
"""

import json
import os

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.handle import HierarchyObject
from cocotb.triggers import Timer

from lstm_hw.host.device import Session
from lstm_hw.host.image import FirmwareImage
from lstm_hw.host.protocol import TestState
from lstm_hw.reading import NpzFile

from .progress import heartbeat
from .uart_host import UartLine, UartWires

RUN_S = 1.0
"""Seconds of simulated time that a run may take."""


@cocotb.test()
async def a_model_through_the_uart(dut: HierarchyObject) -> None:
    """The self-test's verdict, a faster line, the image's vectors, real inputs and state carried over."""
    settings, arrays = json.loads(os.environ["LSTM_HW_UART"]), NpzFile(os.environ["LSTM_HW_VECTORS"])
    x, whole, first, rest = (arrays.read(name) for name in ("x", "whole", "first", "rest"))
    cut = int(arrays.read("cut"))
    ports = {role: getattr(dut, name) for role, name in settings["ports"].items()}
    cocotb.start_soon(Clock(ports["clock"], settings["cycle_ns"], unit="ns").start())
    cocotb.start_soon(heartbeat())
    wires = UartWires(ports["rx"], ports["tx"], settings["cycle_ns"], settings["divisor"])
    ports["restart"].value, ports["reset"].value = 0, 1
    await Timer(4 * settings["cycle_ns"], "ns")
    ports["reset"].value = 0
    await Timer(50 * settings["cycle_ns"], "ns")
    line = UartLine(wires, settings["clock_hz"])
    link = await line.link()
    for _ in range(200):
        state, reason, _, _ = await link.selftest(False)
        if state != TestState.RUNNING:
            break
    assert (state, reason) == (TestState.PASSED, 0)
    assert await link.speed_up(settings["clock_hz"] / 2) == settings["clock_hz"] / 2
    session = await Session.open(FirmwareImage.read(os.environ["LSTM_HW_IMAGE"]), link.transport(), RUN_S)
    assert await session.selftest() == len(session.image.vectors.x)
    assert np.array_equal(await session.predict(x, stored=True), whole)
    group = session.image.streams.sequences
    assert np.array_equal(await session.predict(x[:group, :cut], stored=True), first)
    assert np.array_equal(await session.predict(x[:group, cut:], carry=True, stored=True), rest)
    again = await line.link()  # which begins with a break
    assert wires.divisor == settings["divisor"]
    await again.reset()
