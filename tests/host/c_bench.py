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
from cocotb.clock import Clock
from cocotb.handle import HierarchyObject
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiRamRead, AxiReadBus, AxiResp

from lstm_hw.host.protocol import REPLY, REQUEST, Capability, Damaged, Frame, Hello, Op, Parser, Status
from lstm_hw.machine.config import VALUE_BITS, EngineConfig
from lstm_hw.machine.ports import CONTROL, X, Y, weight_prefixes
from lstm_hw.machine.registers import lookup
from sim.progress import CLOCK_NS, heartbeat

Y_BYTES = VALUE_BITS // 8
MOST = 512
"""Longest payload of the bridge."""
Y_BEATS = 24
"""Beats of y that the bridge keeps."""
WAIT_CYCLES = 2000
"""How long the bridge waits for x to be taken and for y to come."""
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
        cocotb.start_soon(Clock(dut.aclk, CLOCK_NS, unit="ns").start())
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

    async def send(self, content, last):
        """Offer whole beats; how many were taken."""
        beats = [int.from_bytes(content[n : n + self.beat], "little") for n in range(0, len(content), self.beat)]
        for number, beat in enumerate(beats):
            if not await self.streams.offer(beat, last and number == len(beats) - 1):
                return number
        return len(beats)


class Bridge:
    """The host protocol, as docs/host.md has it."""

    def __init__(self, board, faults):
        self.board, self.faults, self.random = board, faults, random.Random(7)
        self.parser, self.latest, self.requests = Parser(REQUEST, MOST), None, 0

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
        while True:
            if not select.select([line], [], [], 0.05 if self.parser.pending else None)[0]:
                self.parser.silence()
                continue
            content = line.receive()
            if not content:
                return
            for frame in self.parser.feed(self.spoilt(content)):
                reply = await self.answer(frame)
                if reply:
                    line.send(self.noise() + self.spoilt(reply))

    async def answer(self, frame):
        if not isinstance(frame, Frame):
            number, damage = frame
            return Frame(number, Status.CRC if damage == Damaged.CRC else Status.LENGTH).to_bytes(REPLY)
        self.requests += 1
        if -self.requests in self.faults.get("drop", ()):
            return None
        if frame.code == Op.HELLO or self.latest is None or self.latest[0] != frame.number:
            await ClockCycles(self.board.dut.aclk, ACCESS_CYCLES)
            status, payload = await self.execute(frame.code, frame.payload)
            self.latest = frame.number, Frame(frame.number, status, payload).to_bytes(REPLY)
        return None if self.requests in self.faults.get("drop", ()) else self.latest[1]

    async def execute(self, code, payload):
        board, head = self.board, struct.unpack_from("<I", payload.ljust(4, b"\0"))[0]
        if code == Op.HELLO:
            has = Capability.REGISTERS | Capability.MEMORY | Capability.STREAMS | Capability.RESET
            wait_us = WAIT_CYCLES * CLOCK_NS // 1000
            hello = Hello(1, has, board.base, board.bytes, board.beat, Y_BYTES, MOST, Y_BEATS, wait_us)
            return Status.OK, hello.to_bytes()
        if code == Op.READ:
            words = [await board.read(head + 4 * n) for n in range(struct.unpack_from("<H", payload, 4)[0])]
            return Status.OK, struct.pack(f"<{len(words)}I", *words)
        if code == Op.WRITE:
            for number, (word,) in enumerate(struct.iter_unpack("<I", payload[4:])):
                if not await board.write(head + 4 * number, word):
                    return Status.REFUSED, number.to_bytes(2, "little")
            return Status.OK, b""
        if code == Op.X:
            taken = await board.send(payload[1:], payload[0] & 1)
            done = taken == len(payload[1:]) // board.beat
            waiting = len(board.streams.held)
            return (Status.OK if done else Status.TIMEOUT), struct.pack("<HH", taken, waiting)
        if code == Op.Y:
            count = struct.unpack("<H", payload)[0]
            beats = []
            while len(beats) < count:
                await board.streams.wait(1)
                if not board.streams.held:
                    break
                beats.append(board.streams.held.popleft())
            content = b"".join(value.to_bytes(Y_BYTES, "little") + bytes([last]) for value, last in beats)
            return (Status.OK if len(beats) == count else Status.TIMEOUT), content
        if code == Op.MEM_WRITE:
            board.write_memory(head, payload[4:])
            return Status.OK, b""
        if code == Op.MEM_READ:
            return Status.OK, board.memory[head : head + struct.unpack_from("<H", payload, 4)[0]]
        if code == Op.RESET:
            await board.reset()
            return Status.OK, b""
        return Status.OP, b""


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
            status = program.wait(60)
    assert status == 0, f"the program ends with status {status}"
