"""An engine without Verilog: the registers that a driver uses, and the integer reference behind its streams."""

from collections import deque

import numpy as np

from lstm_hw.errors import ToolError
from lstm_hw.host import dma
from lstm_hw.host.dma import ADDRESS, ADDRESS_HIGH, COMPLETE, CONTROL, HALTED, LENGTH, MM2S, RESET, S2MM, STATUS
from lstm_hw.machine.registers import IDENTITY, PROGRAM, ErrorCode, lookup
from lstm_hw.model.reference import integer_reference

BASE = 0x4000_0000
_ADDRESS = {
    name: lookup(name).address
    for name in (
        *("ID", "VERSION", "CONTENT_ID", "IMAGE_ID", "STATUS"),
        *("CTRL", "ENTRY", "STEPS", "FLAGS", "WEIGHTS_LO", "WEIGHTS_HI"),
    )
}
LOADS = lookup("ENTRY").field("loads").mask
BUSY, LOADED = (lookup("STATUS").field(name).mask for name in ("busy", "loaded"))
START, DONE, ABORT = (lookup("CTRL").field(name).mask for name in ("start", "done", "abort"))


class ModelEngine:
    """Registers, memory and streams of an engine that computes with the integer reference.

    Parameters
    ----------
    project : Project
        One whose runs work on one sequence, vector by vector.
    """

    def __init__(self, project):
        self.image, self.qmodel = project.firmware, project.qmodel
        self.memory, self.clipped = bytearray(1 << 16), None
        self.values = dict.fromkeys(_ADDRESS.values(), 0)
        self.values |= {_ADDRESS["ID"]: IDENTITY, _ADDRESS["VERSION"]: lookup("VERSION").reset}
        self.values[_ADDRESS["CONTENT_ID"]] = self.image.config.content_id
        self.program, self.x, self.y, self.state = {}, bytearray(), deque(), None
        self.fails_with = ErrorCode.NONE
        self.stuck = False

    def read(self, address):
        return self.values.get(address, 0)

    def write(self, address, value):
        assert address % 4 == 0 and not self.busy or address == _ADDRESS["CTRL"], "a write during a run"
        if PROGRAM.address <= address < PROGRAM.address + PROGRAM.size:
            self.program[address] = value
            self.values[_ADDRESS["IMAGE_ID"]] = 0
        elif address == _ADDRESS["CTRL"]:
            self._control(value)
        else:
            begins = address == _ADDRESS["ENTRY"] and value & ~self.values[address] & LOADS
            if begins or address in (_ADDRESS["WEIGHTS_LO"], _ADDRESS["WEIGHTS_HI"]):
                self.values[_ADDRESS["IMAGE_ID"]] = 0
            self.values[address] = value

    @property
    def busy(self):
        return bool(self.values[_ADDRESS["STATUS"]] & BUSY)

    def _control(self, value):
        if value & ABORT and self.busy:
            self._end(ErrorCode.ABORTED)
        if value & START:
            self.values[_ADDRESS["CTRL"]] = 0
            self.values[_ADDRESS["STATUS"]] = self.values[_ADDRESS["STATUS"]] & LOADED | BUSY
            self.x.clear()
            loads = self.values[_ADDRESS["ENTRY"]] == self.image.program.entry_word("load")
            if self.fails_with:
                self._end(self.fails_with)
            elif loads:
                self._load()

    def _load(self):
        """What a load finds must be what a load would find on the chip."""
        words = [
            self.program.get(PROGRAM.word_address(entry, n))
            for entry in range(len(self.image.program.instructions))
            for n in range(PROGRAM.words)
        ]
        at = self.values[_ADDRESS["WEIGHTS_LO"]] - BASE
        right = np.asarray(words, "<u4").tobytes() == self.image._sections()[2]
        assert right and self.memory[at : at + len(self.image.weights)] == self.image.weights
        self.values[_ADDRESS["STATUS"]] |= LOADED
        self._end(ErrorCode.NONE)

    def _end(self, code):
        status = self.values[_ADDRESS["STATUS"]]
        self.values[_ADDRESS["STATUS"]] = status & ~BUSY & ~15 | code
        self.values[_ADDRESS["CTRL"]] = DONE

    def take(self, beat, last):
        """A beat of x; False if the engine does not take it."""
        if not self.busy or self.stuck:
            return False
        self.x += beat
        if last:
            self._run()
        return True

    def _run(self):
        streams, steps = self.image.streams, self.values[_ADDRESS["STEPS"]]
        kind = "<i1" if self.image.config.operand_bits == 8 else "<i2"
        x = np.frombuffer(bytes(self.x), kind).astype(np.int64).reshape(steps, -1)[:, : streams.inputs]
        flags = lookup("FLAGS")
        clear, one = (flags.field(name).mask & self.values[_ADDRESS["FLAGS"]] for name in ("clear", "one_packet"))
        outputs, self.state = integer_reference(self.qmodel, x[None], None if clear else self.state)
        packets = streams.packets(outputs.reshape(1, streams.vectors(steps), -1))
        for number, packet in enumerate(packets, 1):
            for element, value in enumerate(packet, 1):
                last = element == len(packet) and (not one or number == len(packets))
                self.y.append((int(value).to_bytes(2, "little", signed=True), last))
        self._end(ErrorCode.NONE)


class Coroutines:
    """The engine as what a bridge stands in front of: registers, memory and single beats."""

    base = BASE

    def __init__(self, engine):
        self.engine, self.size = engine, len(engine.memory)
        self.x_beat_bytes, self.y_beat_bytes = engine.image.config.operand_bits * engine.image.config.x_per_beat // 8, 2

    async def read(self, offset, count):
        return bytes(self.engine.memory[offset : offset + count])

    async def write(self, offset, content):
        self.engine.memory[offset : offset + len(content)] = content

    async def send(self, beat, last, seconds):
        return self.engine.take(beat, last)

    def waiting(self):
        return len(self.engine.y)

    async def take(self, seconds):
        return self.engine.y.popleft() if self.engine.y else None


class Registers:
    """Registers of a core as coroutines."""

    def __init__(self, core):
        self.core = core

    async def read(self, address):
        return self.core.read(address)

    async def write(self, address, value):
        self.core.write(address, value)


class ModelDma:
    """An AXI DMA in simple mode between a buffer and an engine's streams.

    Parameters
    ----------
    engine : ModelEngine
    """

    def __init__(self, engine):
        self.engine, self.buffers, self.values, self.resets, self.made_with = engine, [], {}, 0, 0
        self._clear()

    def _clear(self):
        self.values = {MM2S + STATUS: HALTED | self.made_with, S2MM + STATUS: HALTED | self.made_with}
        self.wanted, self.came = 0, bytearray()

    def _place(self, channel, length):
        address = self.values[channel + ADDRESS] | self.values[channel + ADDRESS_HIGH] << 32
        for buffer in self.buffers:
            at = address - buffer.device_address
            if 0 <= at and at + length <= len(buffer):
                return buffer[at : at + length]
        self.values[channel + STATUS] = dma.DECODE
        return None

    def read(self, offset):
        self._move()
        return self.values.get(offset, 0)

    def write(self, offset, value):
        if offset in (MM2S + STATUS, S2MM + STATUS):  # a written 1 clears
            self.values[offset] &= ~value
            return
        self.values[offset] = value
        if offset in (MM2S + CONTROL, S2MM + CONTROL) and value & dma.RUN:
            self.values[offset - CONTROL + STATUS] &= ~HALTED
        if offset in (MM2S + CONTROL, S2MM + CONTROL) and value & RESET:
            self._clear()
            self.resets += 1
        elif offset == MM2S + LENGTH and self._place(MM2S, value) is not None:
            x, size = bytes(self._place(MM2S, value)), self.engine.image.config.x_per_beat * 2
            self.values[MM2S + STATUS] = 0
            taken = [self.engine.take(x[at : at + size], at + size == len(x)) for at in range(0, len(x), size)]
            self.values[MM2S + STATUS] = COMPLETE if all(taken) else 0
        elif offset == S2MM + LENGTH and self._place(S2MM, value) is not None:
            self.values[S2MM + STATUS] = 0
            self.wanted = value

    def _move(self):
        while self.wanted and self.engine.y:
            beat, last = self.engine.y.popleft()
            self.came += beat
            if last or len(self.came) == self.wanted:
                place = self._place(S2MM, len(self.came))
                place[:] = np.frombuffer(bytes(self.came), np.uint8)
                self.values |= {S2MM + STATUS: COMPLETE, S2MM + LENGTH: len(self.came)}
                self.wanted = 0
                self.came.clear()


def refuses(*_):
    """A write that the bus answers with an error."""
    raise ToolError("register", "SLVERR", "must be OKAY")
