"""cocotb bench of the driver on the emitted engine: a firmware image, real numbers in, the bits of the reference out.

The environment variable LSTM_HW_IMAGE names the firmware image, LSTM_HW_VECTORS an npz file with ``x`` (N, T, Lx), real
inputs, ``whole``, the stored outputs for them, and, for the first group of sequences, ``first`` and ``rest``: those for
the steps before and from step ``cut`` on.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import cocotb
import numpy as np
from cocotb.handle import HierarchyObject
from cocotb.triggers import Timer
from cocotbext.axi import AxiResp

from lstm_hw.errors import DeviceError, InputError, LstmHwError, NotLoadedError, ToolError, VerificationError
from lstm_hw.host.device import Session
from lstm_hw.host.image import FirmwareImage, Vectors
from lstm_hw.host.link import Link
from lstm_hw.host.transport import Transport
from lstm_hw.machine.registers import PROGRAM, ErrorCode, lookup
from lstm_hw.reading import NpzFile

from .bench_faults import Faults
from .bridge import Bridge
from .host import BeatStreams, HostTB, Queue
from .progress import CLOCK_NS, seconds

RUN_S = 5e-3
"""Seconds of simulated time that a run may take."""
SILENCE_S, REPLY_S = 1e-5, 1e-4
"""As a faster line than a serial port has them, so that faults cost little time."""


@contextmanager
def refused(message: str, kind: type[LstmHwError] = DeviceError) -> Iterator[list[LstmHwError]]:
    """What the body does must be refused, with these words."""
    caught = []
    try:
        yield caught
    except kind as error:
        caught.append(error)
    assert caught, f"nothing was refused; expected: {message}"
    assert message in str(caught[0]), f"{caught[0]}; expected: {message}"


class Case:
    """An engine, an image and what must come out.

    Parameters
    ----------
    dut : cocotb handle
    """

    def __init__(self, dut: HierarchyObject):
        self.image = FirmwareImage.read(os.environ["LSTM_HW_IMAGE"])
        arrays = NpzFile(os.environ["LSTM_HW_VECTORS"])
        self.x, self.whole, self.first, self.rest = (arrays.read(name) for name in ("x", "whole", "first", "rest"))
        self.cut = int(arrays.read("cut"))
        self.group = self.image.streams.sequences
        self.tb = HostTB(dut, self.image)

    async def open(self, transport: Transport | None = None, image: FirmwareImage | None = None) -> Session:
        """A session on the engine, out of reset."""
        await self.tb.reset()
        return await Session.open(image or self.image, transport or self.tb.transport(), RUN_S)

    async def check(self, session: Session, count: int | None = None) -> None:
        """The outputs of the first sequences are right, in every bit and as real numbers."""
        stored = await session.predict(self.x[:count], stored=True)
        assert np.array_equal(stored, self.whole[:count]), f"{stored} instead of {self.whole[:count]}"


@cocotb.test()
async def predicts_and_carries_state(dut: HierarchyObject) -> None:
    """Weights and program are loaded at run time; a sequence in two parts is the same sequence."""
    case = Case(dut)
    session = await case.open()
    await case.check(session)
    real = await session.predict(case.x[:1])
    assert np.array_equal(real, case.whole[:1] * session.image.y_format.lsb)
    one = case.x[: case.group]
    assert np.array_equal(await session.predict(one[:, : case.cut], stored=True), case.first)
    assert np.array_equal(await session.predict(one[:, case.cut :], carry=True, stored=True), case.rest)
    with refused("no run before", InputError):
        again = await Session.open(case.image, case.tb.transport(), RUN_S)
        await again.predict(one, carry=True)
    assert await session.selftest() == len(case.image.vectors.x)
    assert session.counters["cycles"] > 0


@cocotb.test()
async def refuses_what_does_not_belong(dut: HierarchyObject) -> None:
    """Another engine, wrong vectors, a memory that forgets, one that is too small."""
    case = Case(dut)
    other = replace(case.image, config=replace(case.image.config, outstanding=case.image.config.outstanding // 2))
    with refused("another configuration was built", ToolError):
        await case.open(image=other)
    vectors = case.image.vectors
    altered = Vectors(vectors.x, vectors.y.copy())
    altered.y[-1, -1, -1] ^= 1
    with refused("1 of", VerificationError):
        await (await case.open(image=replace(case.image, vectors=altered))).selftest()
    with refused("no test vectors", InputError):
        await (await case.open(image=replace(case.image, vectors=None))).selftest()
    transport, size = case.tb.transport(), case.tb.size
    case.tb.size = len(case.image.weights) // 2
    with refused("must hold the"):
        await case.open(transport)
    case.tb.size = size
    for part in ("memory", "streams", "registers"):
        with refused(f"no {part}"):
            await case.open(replace(transport, **{part: None}))


@cocotb.test()
async def refuses_a_memory_that_is_wrong(dut: HierarchyObject) -> None:
    """What was written is looked at before it is loaded."""
    case = Case(dut)
    session = await case.open()
    write = case.tb.write

    async def forgets(offset, content):
        await write(offset, content[:-1] + bytes([content[-1] ^ 0x10]))

    case.tb.write = forgets
    with refused("weight image in memory", ToolError):
        await session.predict(case.x)
    case.tb.write = write
    await case.check(session, 1)


@cocotb.test()
async def masters_that_take_turns(dut: HierarchyObject) -> None:
    """Another one loads another model of the same configuration, or parts of one: an error, and never its outputs."""
    case = Case(dut)
    session = await case.open()
    await case.check(session, 1)
    weights = bytes(255 - byte for byte in case.image.weights)
    other = await Session.open(replace(case.image, weights=weights), case.tb.transport(), RUN_S)
    theirs = await other.predict(case.x[:1], stored=True)
    assert not np.array_equal(theirs, case.whole[:1])
    with refused("somebody else has loaded; load again", NotLoadedError):
        await session.predict(case.x[:1])
    assert np.array_equal(await other.predict(case.x[:1], stored=True), theirs)
    await session.load()
    with refused("somebody else has loaded; load again", NotLoadedError):
        await other.predict(case.x[:1])
    await case.check(session, 1)
    driver, loads = session.driver, lookup("ENTRY").field("loads")
    addresses = [PROGRAM.word_address(0, PROGRAM.words - 1), lookup("WEIGHTS_LO").address]
    if "load" in case.image.program.entries:  # what is on the chip can be changed without a change of the program
        addresses.append(lookup("ENTRY").address)
    for address in addresses:
        await driver.port.write(address, loads.mask)
        with refused("", NotLoadedError):
            await session.predict(case.x[:1])
        await session.load()
    await case.check(session, 1)


@cocotb.test()
async def bus_errors(dut: HierarchyObject) -> None:
    """The code, where it was, and the next call is right."""
    case = Case(dut)
    session, faults = await case.open(), [Faults(memory) for memory in case.tb.memories]
    faults[0].arm({3: AxiResp.DECERR})
    with refused("DECERR") as caught:
        await session.predict(case.x)
    assert caught[0].registers["STATUS"] & 15 == ErrorCode.DECERR
    assert caught[0].registers["ERROR_ADDRESS_LO"] >= case.tb.base
    faults[0].arm({})
    await case.check(session, 1)


@cocotb.test()
async def time_outs(dut: HierarchyObject) -> None:
    """An engine whose outputs nobody takes is aborted when its time is over; it is free again."""
    case = Case(dut)
    session = await case.open()
    await case.check(session, 1)
    session.timeout = session.driver.timeout = 2e-4
    case.tb.sink.pause = True
    with refused("a run of more than") as caught:
        await session.predict(case.x[:1])
    assert caught[0].registers["CTRL"] & 1, "it was not running"
    case.tb.sink.pause = False
    session.timeout = session.driver.timeout = RUN_S
    await case.check(session, 1)


@cocotb.test()
async def aborts_in_the_middle(dut: HierarchyObject) -> None:
    """Whoever ends a call leaves an engine that is free, and no stale x or outputs."""
    case = Case(dut)
    session = await case.open()
    await case.check(session, 1)
    transfer = case.tb.streams.transfer

    async def ends(x, lengths, ended):
        async def stop():
            raise KeyboardInterrupt

        return await transfer(x, lengths, stop)

    case.tb.streams.transfer = ends
    try:
        await session.predict(case.x[:1])
        raise AssertionError("it was not ended")
    except KeyboardInterrupt:
        pass
    assert await session.driver.code() == ErrorCode.ABORTED
    with refused("no run before", InputError):
        await session.predict(case.x[:1], carry=True)
    case.tb.streams.transfer = transfer
    await Timer(200 * CLOCK_NS, "ns")
    await case.check(session, 1)


@cocotb.test()
async def busy(dut: HierarchyObject) -> None:
    """An engine that somebody else uses is left alone until it is aborted."""
    case = Case(dut)
    session = await case.open()
    await case.check(session, 1)
    await session.driver.start(session.image.program.entry_word("run"), 1, True)
    with refused("a run is in progress", ToolError):
        await Session.open(case.image, case.tb.transport(), RUN_S)
    for call in (session.load, lambda: session.predict(case.x[:1])):
        with refused("a run is in progress", ToolError):
            await call()
    assert await session.abort() == ErrorCode.ABORTED
    await case.check(session, 1)


class Noise:
    """An end of a line that loses, garbles and adds bytes of chosen writes.

    Parameters
    ----------
    line : Queue
    harm : callable (number, content) -> bytes
    """

    def __init__(self, line: Queue, harm: Callable[[int, bytes], bytes]):
        self.line, self.harm, self.number = line, harm, 0
        self.name, self.close, self.set_speed = line.name, line.close, line.set_speed

    async def write(self, content: bytes) -> None:
        self.number += 1
        await self.line.write(self.harm(self.number, content))

    async def read(self, seconds: float) -> bytes:
        return await self.line.read(seconds)


def harmed(number: int, content: bytes) -> bytes:
    """Now and then something is wrong with a frame, in every way in turn."""
    if number % 23:
        return content
    at, way = number % len(content), number // 23 % 5
    if way == 0:
        return b""
    if way == 1:
        return content[:at] + bytes([content[at] ^ 0x20]) + content[at + 1 :]
    if way == 2:
        return content[:at]
    if way == 3:
        return b"\x5a\xa5\x00" + content
    return content + content


def bridged(case: Case, harm: Callable[[int, bytes], bytes] | None = None) -> Queue:
    """The host's end of a line to a bridge in front of the engine."""
    host, bridge = Queue.pair()
    tb = case.tb
    server = Bridge(tb.registers, tb, BeatStreams(tb), tb.reset, SILENCE_S)
    cocotb.start_soon(server.serve(Noise(bridge, harm) if harm else bridge))
    return Noise(host, harm) if harm else host


async def over_a_line(case: Case, harm: Callable[[int, bytes], bytes] | None = None) -> Session:
    """A session over a line."""
    await case.tb.reset()
    link = await Link.open(bridged(case, harm), clock=seconds, reply_s=REPLY_S, silence_s=2 * SILENCE_S)
    return await Session.open(case.image, link.transport(), 100 * RUN_S)


@cocotb.test()
async def over_a_byte_stream(dut: HierarchyObject) -> None:
    """The same over the host protocol, x and outputs in turns."""
    case = Case(dut)
    session = await over_a_line(case)
    await case.check(session, 2)
    one = case.x[: case.group]
    assert np.array_equal(await session.predict(one[:, : case.cut], stored=True), case.first)
    assert np.array_equal(await session.predict(one[:, case.cut :], carry=True, stored=True), case.rest)
    await session.transport.reset()
    with refused("no weights on the chip", ToolError):
        await session.predict(one)
    await session.load()
    await case.check(session, 1)


@cocotb.test()
async def over_a_noisy_line(dut: HierarchyObject) -> None:
    """Frames that are lost, cut, garbled, doubled or behind garbage, both ways: each request is done once."""
    case = Case(dut)
    session = await over_a_line(case, harmed)
    await case.check(session, 1)
    await case.check(session, 1)


@cocotb.test()
async def nobody_answers(dut: HierarchyObject) -> None:
    """A line that is dead from the start, or from some request on."""
    case = Case(dut)
    with refused("nothing in answer to HELLO"):
        await over_a_line(case, lambda number, content: b"")
    session = await over_a_line(case, lambda number, content: content if number < 60 else b"")
    with refused("nothing in answer to"):
        await session.predict(case.x[:1])
