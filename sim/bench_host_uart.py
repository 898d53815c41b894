"""cocotb bench of the driver at the UART of a board's host design: everything between them is Verilog.

LSTM_HW_IMAGE and LSTM_HW_VECTORS are as of :mod:`sim.bench_host`, LSTM_HW_UART is JSON: ``ports`` (role -> name:
``clock``, ``reset``, ``rx``, ``tx``, ``restart``), ``cycle_ns``, ``clock_hz`` (that the design believes in) and
``divisor``, and with a flash its pins ``cs``, ``sck``, ``copi`` and ``cipo`` among the ports, ``flash_base`` and
``flash``, a file with what is in it when the image is.
"""

import json
import os
from pathlib import Path

import cocotb
import numpy as np
from cocotb.handle import HierarchyObject
from cocotb.triggers import Timer

from lstm_hw.errors import NotLoadedError
from lstm_hw.host.device import Session
from lstm_hw.host.image import FirmwareImage
from lstm_hw.host.link import Link
from lstm_hw.host.protocol import FlashState, TestState
from lstm_hw.reading import NpzFile

from .clock import start_clock
from .progress import heartbeat
from .spi_flash import SpiFlash
from .uart_host import UartLine, UartWires

RUN_S = 1.0
"""Seconds of simulated time that a run may take."""


async def settled(link: Link) -> FlashState:
    """What the board says of its flash when it has looked at it."""
    for _ in range(400):
        state = await link.flash()
        if state != FlashState.RUNNING:
            break
    return state


async def from_the_flash(link: Link, flash: SpiFlash, image: FirmwareImage, x: np.ndarray, whole: np.ndarray) -> None:
    """A board that has loaded its model itself, and one whose flash is damaged."""
    assert await settled(link) == FlashState.LOADED
    session = await Session.open(image, link.transport(), RUN_S)
    await session.adopt()
    assert np.array_equal(await session.predict(x, stored=True), whole)
    content = flash.content
    flash.content = content[:-1] + bytes([content[-1] ^ 0x10])
    assert (await link.selftest(True))[0] == TestState.RUNNING
    assert await settled(link) == FlashState.DAMAGED
    assert (await link.selftest(False))[0] == TestState.PASSED
    try:
        await session.adopt()
    except NotLoadedError:
        return
    raise AssertionError("an engine that has nothing loaded was taken for one that has")


@cocotb.test()
async def a_model_through_the_uart(dut: HierarchyObject) -> None:
    """The self-test's verdict, a faster line, the image's vectors, real inputs and state carried over."""
    settings, arrays = json.loads(os.environ["LSTM_HW_UART"]), NpzFile(os.environ["LSTM_HW_VECTORS"])
    x, whole, first, rest = (arrays.read(name) for name in ("x", "whole", "first", "rest"))
    cut = int(arrays.read("cut"))
    ports = {role: getattr(dut, name) for role, name in settings["ports"].items()}
    start_clock(ports["clock"], settings["cycle_ns"])
    cocotb.start_soon(heartbeat())
    wires = UartWires(ports["rx"], ports["tx"], settings["cycle_ns"], settings["divisor"])
    image, flash = FirmwareImage.read(os.environ["LSTM_HW_IMAGE"]), None
    if "flash" in settings:
        content = Path(settings["flash"]).read_bytes()
        flash = SpiFlash(*(ports[name] for name in ("cs", "sck", "copi", "cipo")), settings["flash_base"], content)
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
    if flash:
        await from_the_flash(link, flash, image, x, whole)
    session = await Session.open(image, link.transport(), RUN_S)
    assert await session.selftest() == len(session.image.vectors.x)
    assert np.array_equal(await session.predict(x, stored=True), whole)
    group = session.image.streams.sequences
    assert np.array_equal(await session.predict(x[:group, :cut], stored=True), first)
    assert np.array_equal(await session.predict(x[:group, cut:], carry=True, stored=True), rest)
    again = await line.link()  # which begins with a break
    assert wires.divisor == settings["divisor"]
    await again.reset()
