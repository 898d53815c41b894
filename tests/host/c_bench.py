"""cocotb bench between the emitted engine and a program that drives it through a socket.

LSTM_HW_JOB is a JSON file: ``argv`` of the program (FD stands for the socket, TTY for the device of mode ``tty``),
``config`` of the engine, ``input`` and ``output``, files that it reads and prints to, ``mode`` (``serial``, ``tty`` or
``dma``, see ``c/play.c``), ``memory_base``, ``memory_bytes``, and ``faults``:

- ``garble``: probability that a request or a reply has a wrong bit.
- ``drop``: numbers of requests that are never answered, and not done either if they are negative.
- ``noise``: probability of bytes between frames.
- ``hold_x``: beats after which no x is taken, until the run is aborted.
- ``spoil_memory``: offset of a byte that does not hold what is written to it first.

Simulated time goes on while the program waits for an answer, and stands while it works.
"""

import json
import mmap
import os
import pty
import random
import select
import socket
import struct
import subprocess
import tty
from collections import deque
from pathlib import Path

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiRamRead, AxiReadBus, AxiResp

from lstm_hw.errors import ToolError
from lstm_hw.host.protocol import REPLY, REQUEST, Frame, Parser
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.limits import VALUE_BITS
from lstm_hw.machine.ports import CONTROL, X, Y, weight_prefixes
from lstm_hw.machine.registers import lookup
from sim import bridge
from sim.clock import start_clock
from sim.progress import CLOCK_NS, heartbeat

Y_BYTES = VALUE_BITS // 8
MOST = 512
"""Longest payload of the bridge."""
Y_BEATS = 24
"""Beats of y that the bridge keeps."""
WAIT_CYCLES = 2000
"""How long a DMA's channel looks at the streams at once."""
ACCESS_CYCLES = 20
"""Of a request, at least: the program's polls take time."""
ABORT = lookup("CTRL").field("abort").mask


class Streams:
    """The source of x and the sink of y, beat by beat."""

    def __init__(self, dut, keep):
        self.dut, self.keep, self.held, self.hold_x = dut, keep, deque(), None
        self.x = {name: getattr(dut, f"{X}_{name}") for name in ("tdata", "tvalid", "tready", "tlast")}
        self.y = {name: getattr(dut, f"{Y}_{name}") for name in ("tdata", "tvalid", "tready", "tlast")}
        self.x["tvalid"].value = 0
        self.y["tready"].value = 0
        cocotb.start_soon(self._sink())

    async def _sink(self):
        ready = False
        while True:
            await RisingEdge(self.dut.aclk)
            if ready and int(self.y["tvalid"].value):
                self.held.append((int(self.y["tdata"].value), int(self.y["tlast"].value)))
            ready = len(self.held) < self.keep()
            self.y["tready"].value = int(ready)

    async def offer(self, beat, last, cycles=WAIT_CYCLES):
        """Offer a beat for so many cycles; whether it was taken."""
        if self.hold_x == 0:
            await ClockCycles(self.dut.aclk, cycles)
            return False
        self.x["tdata"].value, self.x["tlast"].value, self.x["tvalid"].value = beat, int(last), 1
        for _ in range(cycles):
            await RisingEdge(self.dut.aclk)
            if int(self.x["tready"].value):
                self.x["tvalid"].value = 0
                self.hold_x = self.hold_x and self.hold_x - 1
                return True
        self.x["tvalid"].value = 0
        return False

    async def wait(self, count, cycles=WAIT_CYCLES):
        """Wait until so many beats of y are there, as long as one comes every so often."""
        left, seen = cycles, len(self.held)
        while len(self.held) < count and left:
            await RisingEdge(self.dut.aclk)
            left, seen = (left - 1 if len(self.held) == seen else cycles), len(self.held)


class Board:
    """The engine with memory and streams."""

    def __init__(self, dut, job):
        self.dut, self.config = dut, EngineConfig.from_dict(job["config"])
        self.base, self.bytes = job["memory_base"], job["memory_bytes"]
        self.memory = mmap.mmap(-1, self.bytes)
        self.spoiled = job["faults"].get("spoil_memory")
        self.beat = self.config.operand_bits // 8 * self.config.x_per_beat
        start_clock(dut.aclk)
        cocotb.start_soon(heartbeat())
        reset = {"reset": dut.aresetn, "reset_active_level": False}
        for prefix in weight_prefixes(self.config):
            AxiRamRead(AxiReadBus.from_prefix(dut, prefix), dut.aclk, mem=self.memory, size=self.bytes, **reset)
        self.control = AxiLiteMaster(AxiLiteBus.from_prefix(dut, CONTROL), dut.aclk, **reset)
        self.streams = Streams(dut, self.room)
        self.streams.hold_x = job["faults"].get("hold_x")

    def room(self):
        """Beats of y that may wait."""
        return Y_BEATS

    async def reset(self):
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 10)
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 2)
        self.streams.held.clear()

    async def read(self, address):
        answer = await self.control.read(address, 4)
        assert answer.resp == AxiResp.OKAY
        return int.from_bytes(answer.data, "little")

    async def write(self, address, value):
        """Whether the engine answers OKAY."""
        if address == 0 and value & ABORT:
            self.streams.hold_x = None
        return (await self.control.write(address, value.to_bytes(4, "little"))).resp == AxiResp.OKAY

    def write_memory(self, offset, content):
        self.memory[offset : offset + len(content)] = content
        if self.spoiled is not None and offset <= self.spoiled < offset + len(content):
            self.memory[self.spoiled] ^= 0x10
            self.spoiled = None


class Registers:
    """Those of the engine, where an answer other than OKAY is an error."""

    def __init__(self, board):
        self.board = board

    async def read(self, address):
        return await self.board.read(address)

    async def write(self, address, value):
        if not await self.board.write(address, value):
            raise ToolError("register", f"no OKAY at {address:#x}", "must be taken")


class Memory:
    """That of the weights, offset by offset."""

    def __init__(self, board):
        self.board, self.base, self.size = board, board.base, board.bytes

    async def read(self, offset, count):
        return self.board.memory[offset : offset + count]

    async def write(self, offset, content):
        self.board.write_memory(offset, content)


class Beats:
    """The streams, as a bridge has them."""

    def __init__(self, board):
        self.streams, self.x_beat_bytes, self.y_beat_bytes = board.streams, board.beat, Y_BYTES

    async def send(self, beat, last, seconds):
        return await self.streams.offer(int.from_bytes(beat, "little"), last, _cycles(seconds))

    def waiting(self):
        return len(self.streams.held)

    async def take(self, seconds):
        await self.streams.wait(1, _cycles(seconds))
        if not self.streams.held:
            return None
        value, last = self.streams.held.popleft()
        return value.to_bytes(Y_BYTES, "little"), bool(last)


def _cycles(seconds):
    return round(seconds * 1e9 / CLOCK_NS)


class Bridge(bridge.Bridge):
    """A bridge on a line that may be bad."""

    def __init__(self, board, faults):
        super().__init__(Registers(board), Memory(board), Beats(board), board.reset, most=MOST, y_beats=Y_BEATS)
        self.board, self.faults, self.random, self.requests = board, faults, random.Random(7), 0

    def spoilt(self, content):
        """The bytes with a wrong bit, now and then."""
        if self.random.random() < self.faults.get("garble", 0):
            content = bytearray(content)
            content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
        return bytes(content)

    def noise(self):
        bytes_ = self.random.randrange(1, 40) if self.random.random() < self.faults.get("noise", 0) else 0
        return bytes(self.random.choice([REPLY, self.random.randrange(256)]) for _ in range(bytes_))

    async def serve(self, line):
        """Answer requests until the other side hangs up."""
        parser = Parser(REQUEST, MOST)
        while True:
            if not select.select([line], [], [], 0.05 if parser.pending else None)[0]:
                parser.silence()
                continue
            content = line.receive()
            if not content:
                return
            for found in parser.feed(self.spoilt(content)):
                reply = await self.reply(found)
                if reply:
                    line.send(self.noise() + self.spoilt(reply.to_bytes(REPLY)))

    async def reply(self, found):
        """As of any bridge; None where the request or its reply is lost."""
        lost = self.faults.get("drop", ()) if isinstance(found, Frame) else ()
        self.requests += isinstance(found, Frame)
        if -self.requests in lost:
            return None
        await ClockCycles(self.board.dut.aclk, ACCESS_CYCLES)
        reply = await super().reply(found)
        return None if self.requests in lost else reply


class Dma(Board):
    """A processor's accesses, and the registers of an AXI DMA in simple mode."""

    RUN, RESET, IDLE, DONE, INTERNAL = 1, 4, 2, 0x1000, 0x10

    def __init__(self, dut, job):
        super().__init__(dut, job)
        self.buffers = [bytearray(1 << 16), bytearray(1 << 16)]
        self.tasks = {}
        self.clear()

    def clear(self):
        for task in self.tasks.values():
            task.cancel()
        self.registers = {0x04: 1, 0x34: 1}
        self.tasks, self.wanted = {}, 0
        self.dut.s_axis_x_tvalid.value = 0
        self.streams.held.clear()

    def room(self):
        return self.wanted if 0x30 in self.tasks else 0

    async def register(self, offset, value):
        if offset in (0x00, 0x30) and value & self.RESET:
            self.clear()
        elif offset in (0x00, 0x30):
            self.registers[offset], self.registers[offset + 4] = value, 0
        elif offset in (0x04, 0x34):
            self.registers[offset] &= ~(value & self.DONE)
        elif offset == 0x28:
            assert (self.registers[0x18], self.registers[0x1C]) == (0, 0x12)
            self.tasks[0x00] = cocotb.start_soon(self.to_engine(value))
        elif offset == 0x58:
            assert (self.registers[0x48], self.registers[0x4C]) == (0, 0x34)
            self.tasks[0x30] = cocotb.start_soon(self.from_engine(value))
        else:
            self.registers[offset] = value

    async def to_engine(self, count):
        self.registers[0x04] &= ~self.IDLE
        content = bytes(self.buffers[0][:count])
        beats = [int.from_bytes(content[n : n + self.beat], "little") for n in range(0, count, self.beat)]
        for number, beat in enumerate(beats):
            while not await self.streams.offer(beat, number == len(beats) - 1):
                pass
        self.registers[0x04] |= self.IDLE | self.DONE

    async def from_engine(self, count):
        self.registers[0x34] &= ~self.IDLE
        self.wanted, content, last = count // Y_BYTES, b"", 0
        while len(content) < count and not last:
            while not self.streams.held:
                await RisingEdge(self.dut.aclk)
            value, last = self.streams.held.popleft()
            content += value.to_bytes(Y_BYTES, "little")
            self.wanted -= 1
        self.buffers[1][: len(content)] = content
        self.registers[0x58] = len(content)
        self.registers[0x34] |= self.IDLE | self.DONE | (0 if last else self.INTERNAL)
        del self.tasks[0x30]

    async def serve(self, line):
        """Answer accesses until the other side hangs up."""
        while True:
            head = _exactly(line, 9)
            if head is None:
                return
            op, address, value = struct.unpack("<BII", head)
            await ClockCycles(self.dut.aclk, ACCESS_CYCLES)
            answer, content = 0, b""
            if op == 0:
                answer = await self.read(address)
            elif op == 1:
                await self.write(address, value)
            elif op == 2:
                answer = self.registers.get(address, 0)
            elif op == 3:
                await self.register(address, value)
            elif op == 4:
                self.write_memory(address, _exactly(line, value))
            elif op == 5:
                content = self.memory[address : address + value]
            elif op == 6:
                self.buffers[address][:value] = _exactly(line, value)
            elif op == 7:
                content = bytes(self.buffers[address][:value])
            line.send(content + answer.to_bytes(4, "little"))


class Line:
    """Our end of a line to the program: a socket, or a terminal whose other end is a device."""

    def __init__(self, device):
        self.ours, self.theirs = pty.openpty() if device else (end.detach() for end in socket.socketpair())
        if device:
            tty.setraw(self.theirs)
        self.name = os.ttyname(self.theirs) if device else str(self.theirs)
        self.device = device

    def started(self):
        """The program has its end of a socket; that of a terminal stays until the program was heard."""
        if not self.device:
            os.close(self.theirs)

    def fileno(self):
        return self.ours

    def receive(self, count=4096):
        try:
            content = os.read(self.ours, count)
        except OSError:
            return b""  # the device was closed
        if content and self.device:
            os.close(self.theirs)
            self.device = False
        return content

    def send(self, content):
        while content:
            content = content[os.write(self.ours, content) :]


def _exactly(line, count):
    content = b""
    while len(content) < count:
        more = line.receive(count - len(content))
        if not more:
            return None
        content += more
    return content


@cocotb.test()
async def a_program_drives_the_engine(dut: HierarchyObject) -> None:
    """It ends with status 0."""
    job = json.loads(Path(os.environ["LSTM_HW_JOB"]).read_text())
    board = (Dma if job["mode"] == "dma" else Board)(dut, job)
    await board.reset()
    line = Line(job["mode"] == "tty")
    argv = [line.name if word in ("FD", "TTY") else word for word in job["argv"]]
    environment = os.environ | {name.upper(): str(job[name]) for name in ("memory_base", "memory_bytes")}
    environment |= job.get("environment", {})
    with open(job["output"], "w") as output, open(job["input"]) as given:
        program = subprocess.Popen(argv, pass_fds=[line.theirs], stdin=given, stdout=output, env=environment)
        line.started()
        try:
            await (board if job["mode"] == "dma" else Bridge(board, job["faults"])).serve(line)
        finally:
            os.close(line.ours)
            status = program.wait(600)
    assert status == 0, f"the program ends with status {status}"
