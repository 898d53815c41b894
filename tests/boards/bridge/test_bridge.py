"""Bridge: every request is answered as docs/host.md says, whatever comes in and whatever the engine does."""

import itertools
import random
import struct

import pytest
from amaranth import Module
from amaranth.lib import wiring

from boards.bridge.bridge import RESET_CYCLES, Bridge, UartBridge
from boards.bridge.frames import MAX_PAYLOAD
from boards.bridge.weight_memory import WeightMemory
from lstm_hw.errors import ConfigError
from lstm_hw.gateware.axi import OKAY, SLVERR
from lstm_hw.host.protocol import REPLY, REQUEST, Capability, Frame, Hello, Op, Parser, Status
from tests.simulation import simulate

CLOCK_HZ, GAP, TIMEOUT, BYTES, BUFFER = 1_000_000, 50, 100, 256, 256


class Engine:
    """What stands behind the bridge: registers, x and y, as awkward as told."""

    def __init__(self):
        self.registers, self.refused = {4 * n: 0x1000 + n for n in range(256)}, set()
        self.silent = self.hold_x = False
        self.writes, self.x, self.y, self.resets, self.tests = [], [], [], 0, 0

    async def reads(self, context, bus):
        await self._serve(context, bus.arvalid, bus.arready, [bus.araddr], bus.rvalid, bus.rready, self._read, bus)

    async def writes_(self, context, bus):
        channel = bus.awvalid & bus.wvalid
        await self._serve(
            context, channel, bus.awready, [bus.awaddr, bus.wdata], bus.bvalid, bus.bready, self._write, bus
        )

    async def _serve(self, context, valid, ready, payload, answered, taken, access, bus):
        while True:
            _, _, offered, *values = await context.tick().sample(valid, *payload)
            if not offered or self.silent:
                continue
            for signal in (ready, bus.wready) if len(values) == 2 else (ready,):
                context.set(signal, 1)
            await context.tick()
            for signal in (ready, bus.wready) if len(values) == 2 else (ready,):
                context.set(signal, 0)
            access(context, bus, *values)
            context.set(answered, 1)
            was_taken = False
            while not was_taken:
                _, _, was_taken = await context.tick().sample(taken)
            context.set(answered, 0)

    def _read(self, context, bus, address):
        context.set(bus.rdata, self.registers.get(address, 0))
        context.set(bus.rresp, SLVERR if address in self.refused else OKAY)

    def _write(self, context, bus, address, value):
        if address not in self.refused:
            self.writes.append((address, value))
        context.set(bus.bresp, SLVERR if address in self.refused else OKAY)


class Bench:
    """A bridge with an engine and a memory; ``script(host)`` is what the host does."""

    def __init__(self, script, x_bits=16, memory=BYTES, uart=None):
        self.engine, self.number = Engine(), 0
        self.uart = uart
        kind = Bridge if uart is None else UartBridge
        options = {"timeout": TIMEOUT, "gap": GAP if uart is None else 20 * uart, "buffer_bytes": BUFFER}
        self.bridge = bridge = kind(CLOCK_HZ, uart or 10, x_bits, memory, **options)
        self.received = bytearray()
        m = Module()
        m.submodules.bridge = bridge
        if memory:
            m.submodules.memory = self.memory = WeightMemory(32, 64, 0, memory)
            wiring.connect(m, bridge.memory, self.memory.i)
            m.d.comb += [
                bridge.i_memory_done.eq(self.memory.o_done),
                bridge.i_memory_byte.eq(self.memory.o_byte),
            ]

        async def host(context):
            self.context = context
            if uart is not None:
                context.set(bridge.i_rx, 1)
            await context.tick().repeat(3)
            await script(self)

        async def registers_read(context):
            await self.engine.reads(context, bridge.bus)

        async def registers_written(context):
            await self.engine.writes_(context, bridge.bus)

        async def outputs(context):
            taken = False
            while True:
                if taken:
                    self.engine.y.pop(0)
                offered = bool(self.engine.y)
                context.set(bridge.y.valid, offered)
                if offered:
                    value, last = self.engine.y[0]
                    context.set(bridge.y.payload, {"data": value, "last": last})
                _, _, ready = await context.tick().sample(bridge.y.ready)
                taken = ready and offered

        async def inputs(context):
            x = bridge.x
            for _ in itertools.count():
                context.set(x.ready, not self.engine.hold_x)
                held = self.engine.hold_x
                _, _, valid, beat, last, reset, test = await context.tick().sample(
                    x.valid, x.payload.data, x.payload.last, bridge.o_reset, bridge.o_test
                )
                if valid and not held:
                    self.engine.x.append((beat, last))
                self.engine.resets += reset
                self.engine.tests += test

        async def replies(context):
            context.set(bridge.o.ready, 1)
            while True:
                _, _, valid, byte = await context.tick().sample(bridge.o.valid, bridge.o.payload)
                if valid:
                    self.received.append(byte)

        async def wire(context):
            while True:
                _, _, tx = await context.tick().sample(bridge.o_tx)
                if tx:
                    continue
                cycles = self.uart
                await context.tick().repeat(cycles // 2 - 1)
                bits = []
                for _ in range(9):
                    await context.tick().repeat(cycles - 1)
                    bits.append((await context.tick().sample(bridge.o_tx))[2])
                assert bits[8] == 1
                self.received.append(sum(bit << n for n, bit in enumerate(bits[:8])))

        background = [registers_read, registers_written, outputs, inputs, replies if uart is None else wire]
        simulate(m, host, background=background, limit=200_000)

    async def send(self, content, pause=0):
        """Put bytes on the stream, or on the wire."""
        bridge, context = self.bridge, self.context
        for byte in content:
            if self.uart is not None:
                for bit in (0, *(byte >> n & 1 for n in range(8)), 1):
                    context.set(bridge.i_rx, bit)
                    await context.tick().repeat(self.uart)
                continue
            context.set(bridge.i_data, byte)
            context.set(bridge.i_valid, 1)
            await context.tick()
            context.set(bridge.i_valid, 0)
            if pause:
                await context.tick().repeat(pause)

    async def reply(self, limit=100_000):
        """The next reply, or None if none comes for ``limit`` cycles."""
        parser, seen = Parser(REPLY, MAX_PAYLOAD), 0
        for _ in range(limit // 10):
            frames = list(parser.feed(bytes(self.received[seen:])))
            seen = len(self.received)
            if frames:
                assert not parser.pending
                self.received.clear()
                return frames[0]
            await self.context.tick().repeat(10)
        return None

    async def ask(self, op, payload=b"", number=None, pause=0):
        """Send a request and return its reply as (status, payload)."""
        if number is None:
            self.number = (self.number + 1) % 256
        number = self.number if number is None else number
        await self.send(Frame(number, op, payload).to_bytes(REQUEST), pause)
        reply = await self.reply()
        assert reply.number == number
        return Status(reply.code), reply.payload

    async def read(self, address, count=1):
        status, payload = await self.ask(Op.READ, struct.pack("<IH", address, count))
        assert status == Status.OK, status
        return list(struct.unpack(f"<{count}I", payload))


def test_hello_tells_what_there_is():
    async def script(host):
        status, payload = await host.ask(Op.HELLO)
        assert status == Status.OK
        found = Hello.from_bytes(payload)
        everything = sum(kind for kind in Capability if kind != Capability.FLASH)
        assert found.capabilities == everything and (found.memory_base, found.memory_bytes) == (0, BYTES)
        assert (found.x_beat_bytes, found.y_beat_bytes, found.most) == (4, 2, MAX_PAYLOAD)
        assert (found.y_beats, found.timeout_us) == (BUFFER // 4, TIMEOUT)

    Bench(script, x_bits=32)


def test_registers_are_read_and_written():
    async def script(host):
        assert await host.read(0x20, 3) == [0x1008, 0x1009, 0x100A]
        values = [random.Random(1).getrandbits(32) for _ in range(5)]
        assert await host.ask(Op.WRITE, struct.pack("<I5I", 0x40, *values)) == (Status.OK, b"")
        assert host.engine.writes == [(0x40 + 4 * n, value) for n, value in enumerate(values)]
        assert len(await host.read(0, 256)) == 256
        assert await host.read(0x7FFC) == [0]

    Bench(script)


def test_a_refused_access_tells_how_many_words_went_before():
    async def script(host):
        host.engine.refused = {0x48}
        assert await host.ask(Op.WRITE, struct.pack("<I4I", 0x40, 1, 2, 3, 4)) == (Status.REFUSED, b"\2\0")
        assert host.engine.writes == [(0x40, 1), (0x44, 2)]
        assert await host.ask(Op.READ, struct.pack("<IH", 0x44, 3)) == (Status.REFUSED, b"\1\0")
        assert await host.read(0x44) == [0x1011]

    Bench(script)


def test_an_engine_that_does_not_answer_is_a_status_until_it_is_reset():
    async def script(host):
        host.engine.silent = True
        for _ in range(2):
            assert await host.ask(Op.READ, struct.pack("<IH", 0, 2)) == (Status.TIMEOUT, b"\0\0")
        host.engine.silent = False
        assert await host.ask(Op.RESET) == (Status.OK, b"")
        assert host.engine.resets == RESET_CYCLES
        assert await host.read(8) == [0x1002]

    Bench(script)


@pytest.mark.parametrize("x_bits", [8, 16, 64])
def test_x_goes_in_and_y_comes_out(x_bits):
    size, rng = x_bits // 8, random.Random(x_bits)

    async def script(host):
        sent = []
        for flag, count in ((0, 3), (1, 5), (0, MAX_PAYLOAD // size - 1), (1, 1)):
            beats = [rng.getrandbits(x_bits) for _ in range(count)]
            payload = bytes([flag]) + b"".join(beat.to_bytes(size, "little") for beat in beats)
            assert await host.ask(Op.X, payload) == (Status.OK, struct.pack("<HH", count, 0))
            sent += [(beat, flag and n == count - 1) for n, beat in enumerate(beats)]
        assert host.engine.x == sent
        outputs = [(rng.getrandbits(16), rng.getrandbits(1)) for _ in range(100 if x_bits != 8 else 341)]
        waiting = min(len(outputs), BUFFER // max(size, 2))
        host.engine.y += outputs
        await host.context.tick().repeat(360)
        assert await host.ask(Op.X, bytes(1 + size)) == (Status.OK, struct.pack("<HH", 1, waiting))
        for taken in (1, 8, len(outputs) - 9):
            status, payload = await host.ask(Op.Y, struct.pack("<H", taken))
            assert status == Status.OK
            assert list(struct.iter_unpack("<HB", payload)) == outputs[:taken]
            del outputs[:taken]

    Bench(script, x_bits=x_bits)


def test_x_that_is_not_taken_and_y_that_does_not_come_are_a_status_with_what_there_was():
    async def script(host):
        host.engine.hold_x = True
        taken = 0
        while True:
            status, payload = await host.ask(Op.X, bytes(1 + 1022))
            taken += struct.unpack("<HH", payload)[0]
            if status != Status.OK:
                break
        assert status == Status.TIMEOUT and BUFFER // 2 <= taken <= BUFFER // 2 + 1
        host.engine.hold_x = False
        await host.context.tick().repeat(BUFFER)
        assert len(host.engine.x) == taken
        host.engine.y += [(7, 0), (8, 1)]
        assert await host.ask(Op.Y, b"\3\0") == (Status.TIMEOUT, struct.pack("<HBHB", 7, 0, 8, 1))
        assert await host.ask(Op.Y, b"\1\0") == (Status.TIMEOUT, b"")

    Bench(script)


def test_a_reset_empties_both_streams():
    async def script(host):
        host.engine.hold_x = True
        host.engine.y += [(7, 0), (8, 1)]
        assert (await host.ask(Op.X, bytes(5)))[0] == Status.OK
        assert await host.ask(Op.RESET) == (Status.OK, b"")
        host.engine.hold_x = False
        await host.context.tick().repeat(20)
        assert host.engine.x == []
        assert await host.ask(Op.Y, b"\1\0") == (Status.TIMEOUT, b"")

    Bench(script)


def test_memory_is_written_and_read():
    async def script(host):
        content = random.Random(3).randbytes(BYTES)
        for at, size in ((0, 100), (100, 4), (104, BYTES - 104)):
            request = struct.pack("<I", at) + content[at : at + size]
            assert await host.ask(Op.MEM_WRITE, request) == (Status.OK, b"")
        for at, size in ((0, BYTES), (8, 12), (BYTES - 4, 4)):
            reply = await host.ask(Op.MEM_READ, struct.pack("<IH", at, size))
            assert reply == (Status.OK, content[at : at + size])

    Bench(script)


WRONG = {
    "hello with a payload": (Op.HELLO, b"\0", Status.LENGTH),
    "read without a count": (Op.READ, bytes(4), Status.LENGTH),
    "read of nothing": (Op.READ, struct.pack("<IH", 0, 0), Status.LENGTH),
    "read of too much": (Op.READ, struct.pack("<IH", 0, 257), Status.LENGTH),
    "read off the words": (Op.READ, struct.pack("<IH", 2, 1), Status.LENGTH),
    "read behind the end": (Op.READ, struct.pack("<IH", 0x7FFC, 2), Status.LENGTH),
    "read far away": (Op.READ, struct.pack("<IH", 0xFFFFFFFC, 2), Status.LENGTH),
    "write of nothing": (Op.WRITE, bytes(4), Status.LENGTH),
    "write of half a word": (Op.WRITE, bytes(10), Status.LENGTH),
    "write behind the end": (Op.WRITE, struct.pack("<III", 0x7FFC, 1, 2), Status.LENGTH),
    "no x": (Op.X, b"\1", Status.LENGTH),
    "half a beat of x": (Op.X, b"\0\1\2\3", Status.LENGTH),
    "unknown flag of x": (Op.X, b"\2\1\2", Status.LENGTH),
    "no y": (Op.Y, b"\0\0", Status.LENGTH),
    "too much y": (Op.Y, struct.pack("<H", 342), Status.LENGTH),
    "memory write of nothing": (Op.MEM_WRITE, bytes(4), Status.LENGTH),
    "memory write of half a word": (Op.MEM_WRITE, bytes(6), Status.LENGTH),
    "memory write off the words": (Op.MEM_WRITE, struct.pack("<II", 2, 0), Status.LENGTH),
    "memory write behind the end": (Op.MEM_WRITE, struct.pack("<III", BYTES - 4, 0, 0), Status.LENGTH),
    "memory read behind the end": (Op.MEM_READ, struct.pack("<IH", BYTES - 4, 8), Status.LENGTH),
    "memory read of half a word": (Op.MEM_READ, struct.pack("<IH", 0, 2), Status.LENGTH),
    "memory read of nothing": (Op.MEM_READ, struct.pack("<IH", 0, 0), Status.LENGTH),
    "reset with a payload": (Op.RESET, b"\0", Status.LENGTH),
    "self-test of another kind": (Op.SELFTEST, b"\2", Status.LENGTH),
    "self-test without a kind": (Op.SELFTEST, b"", Status.LENGTH),
    "speed of one cycle": (Op.SPEED, struct.pack("<I", 1), Status.LENGTH),
    "speed beyond the divisor": (Op.SPEED, struct.pack("<I", 1 << 20), Status.LENGTH),
    "speed of half a word": (Op.SPEED, b"\0\0", Status.LENGTH),
    "unknown request": (0x42, b"", Status.OP),
}


def test_requests_that_are_not_in_order_change_nothing():
    async def script(host):
        for name, (op, payload, status) in WRONG.items():
            assert await host.ask(op, payload) == (status, b""), name
        engine = host.engine
        assert (engine.writes, engine.x, engine.resets, engine.tests) == ([], [], 0, 0)
        assert await host.ask(Op.MEM_READ, struct.pack("<IH", 0, BYTES)) == (Status.OK, bytes(BYTES))

    Bench(script)


def test_a_bridge_without_memory_does_not_know_of_it():
    async def script(host):
        status, payload = await host.ask(Op.HELLO)
        assert not Hello.from_bytes(payload).capabilities & Capability.MEMORY
        for op in (Op.MEM_WRITE, Op.MEM_READ):
            assert await host.ask(op, bytes(8)) == (Status.OP, b"")
        assert await host.read(4) == [0x1001]

    Bench(script, memory=0)


WRITE = Frame(9, Op.WRITE, struct.pack("<II", 0x40, 0x5A5A5A5A)).to_bytes(REQUEST)


def test_every_flipped_bit_is_found_and_changes_nothing():
    async def script(host):
        for bit in [*range(40), *range(40, 8 * len(WRITE), 3)]:
            damaged = bytearray(WRITE)
            damaged[bit // 8] ^= 1 << bit % 8
            await host.send(damaged)
            await host.context.tick().repeat(2 * GAP)
            reply = await host.reply(limit=10)
            assert reply is None or reply.code in (Status.CRC, Status.LENGTH), bit
            host.received.clear()
        assert host.engine.writes == []
        assert await host.ask(Op.WRITE, struct.pack("<II", 0x40, 1)) == (Status.OK, b"")
        assert host.engine.writes == [(0x40, 1)]

    Bench(script)


def test_a_request_that_is_cut_anywhere_changes_nothing_and_the_next_is_found():
    async def script(host):
        for length in range(len(WRITE)):
            await host.send(WRITE[:length])
            await host.context.tick().repeat(GAP + 2)
            assert await host.read(4 * length) == [0x1000 + length]
        assert host.engine.writes == []

    Bench(script)


def test_slow_bytes_are_still_a_request():
    async def script(host):
        reply = await host.ask(Op.WRITE, struct.pack("<II", 0x40, 1), pause=GAP - 2)
        assert reply == (Status.OK, b"") and host.engine.writes == [(0x40, 1)]

    Bench(script)


@pytest.mark.parametrize("seed", range(3))
def test_the_next_request_is_found_behind_garbage(seed):
    rng = random.Random(seed)

    async def script(host):
        for number in range(8):
            garbage = bytes(rng.choice([REQUEST, REPLY, 0, 1, 2, rng.randrange(256)]) for _ in range(rng.randrange(60)))
            await host.send(garbage)
            await host.context.tick().repeat(GAP + 50)
            while await host.reply(limit=20):
                pass
            host.received.clear()
            assert await host.read(4 * number) == [0x1000 + number]
        assert host.engine.writes == []

    Bench(script)


def test_a_damaged_byte_ends_its_request():
    async def script(host):
        request = Frame(9, Op.WRITE, struct.pack("<II", 0x40, 1)).to_bytes(REQUEST)
        await host.send(request[:7])
        host.context.set(host.bridge.i_broken, 1)
        await host.context.tick()
        host.context.set(host.bridge.i_broken, 0)
        await host.send(request[7:])
        assert await host.read(0) == [0x1000]
        assert host.engine.writes == []

    Bench(script)


def test_a_payload_too_long_is_refused_at_once_and_the_next_request_is_found():
    async def script(host):
        await host.send(struct.pack("<BBBH", REQUEST, 77, Op.MEM_WRITE, MAX_PAYLOAD + 1))
        reply = await host.reply()
        assert (reply.number, reply.code, reply.payload) == (77, Status.LENGTH, b"")
        assert await host.ask(Op.MEM_READ, struct.pack("<IH", 0, 8)) == (Status.OK, bytes(8))

    Bench(script)


def test_a_repeated_request_is_answered_again_and_not_done_again():
    async def script(host):
        host.engine.y += [(5, 1), (6, 1), (7, 1)]
        await host.context.tick().repeat(10)
        for _ in range(3):
            assert await host.ask(Op.Y, b"\1\0", number=40) == (Status.OK, b"\5\0\1")
        await host.send(WRITE[:-1] + bytes([WRITE[-1] ^ 1]))  # a wrong CRC leaves what was answered
        assert (await host.reply()).code == Status.CRC
        assert await host.ask(Op.Y, b"\1\0", number=40) == (Status.OK, b"\5\0\1")
        assert await host.ask(Op.Y, b"\1\0", number=41) == (Status.OK, b"\6\0\1")
        for _ in range(2):
            assert await host.ask(Op.WRITE, struct.pack("<II", 0x40, 1), number=42) == (Status.OK, b"")
        assert host.engine.writes == [(0x40, 1)]
        status, hello = await host.ask(Op.HELLO, number=42)
        assert (status, len(hello)) == (Status.OK, 28)

    Bench(script)


def test_bytes_that_come_while_a_request_is_answered_are_dropped():
    async def script(host):
        await host.send(Frame(200, Op.Y, b"\1\0").to_bytes(REQUEST))  # waits for as long as it may
        await host.send(WRITE)
        assert (await host.reply()).code == Status.TIMEOUT
        assert host.engine.writes == []
        assert await host.read(0) == [0x1000]

    Bench(script)


def test_the_self_test_takes_the_engine():
    verdict = {"state": 3, "reason": 2, "passed": 7, "cycles": 123456}

    async def script(host):
        bridge = host.bridge
        host.context.set(bridge.i_verdict, verdict)
        assert await host.ask(Op.SELFTEST, b"\0") == (Status.OK, struct.pack("<BBHI", *verdict.values()))
        assert host.engine.tests == 0
        assert (await host.ask(Op.SELFTEST, b"\1"))[0] == Status.OK
        assert host.engine.tests == 1  # a pulse
        host.context.set(bridge.i_testing, 1)
        requests = {Op.READ: bytes(6), Op.X: bytes(3), Op.Y: b"\1\0", Op.RESET: b"", Op.MEM_WRITE: bytes(8)}
        for op, payload in requests.items():
            assert await host.ask(op, payload) == (Status.BUSY, b"")
        assert (await host.ask(Op.HELLO))[0] == Status.OK
        assert (await host.ask(Op.SELFTEST, b"\0"))[0] == Status.OK
        host.context.set(bridge.i_testing, 0)
        assert await host.read(4) == [0x1001]
        assert host.engine.x == [] and host.engine.resets == 0

    Bench(script)


@pytest.mark.parametrize("op, payload", [(Op.READ, bytes(6)), (Op.X, bytes(1023)), (Op.Y, b"\1\0")])
def test_a_self_test_that_begins_ends_a_request_that_waits(op, payload):
    """A button starts it at any time."""

    async def script(host):
        host.engine.silent = host.engine.hold_x = True
        while op == Op.X and (await host.ask(op, payload))[0] == Status.OK:
            pass
        await host.send(Frame(200, op, payload if op != Op.READ else struct.pack("<IH", 0, 1)).to_bytes(REQUEST))
        await host.context.tick().repeat(50)
        host.context.set(host.bridge.i_testing, 1)
        reply = await host.reply(limit=1000)
        assert (reply.code, reply.payload) == (Status.BUSY, b"")
        host.context.set(host.bridge.i_testing, 0)
        host.engine.silent = False
        assert await host.read(4) == [0x1001]

    Bench(script)


def test_speed_is_told_and_set_behind_the_reply():
    """Over the wire: the reply still comes at the old speed, the next request is at the new one; a break undoes it."""

    async def script(host):
        context, bridge = host.context, host.bridge
        assert await host.read(0, 2) == [0x1000, 0x1001]
        assert await host.ask(Op.SPEED) == (Status.OK, struct.pack("<II", CLOCK_HZ, 8))
        assert await host.ask(Op.SPEED, struct.pack("<I", 4)) == (Status.OK, struct.pack("<II", CLOCK_HZ, 4))
        await context.tick().repeat(10)
        host.uart = 4
        assert await host.ask(Op.SPEED) == (Status.OK, struct.pack("<II", CLOCK_HZ, 4))
        assert await host.read(4) == [0x1001]
        context.set(bridge.i_rx, 0)
        await context.tick().repeat(200)
        context.set(bridge.i_rx, 1)
        await context.tick().repeat(20)
        host.uart = 8
        assert await host.ask(Op.SPEED) == (Status.OK, struct.pack("<II", CLOCK_HZ, 8))

    Bench(script, uart=8)


def test_the_divisor_is_checked():
    with pytest.raises(ConfigError, match="UART divisor: 1; must be from 2 to 1048575"):
        Bridge(CLOCK_HZ, 1, 16, 0)
