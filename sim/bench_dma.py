"""cocotb bench of the emitted engine behind the transfers of a DMA: what software has in memory goes in and comes back.

The environment variable LSTM_HW_SCENARIO names the folder of a scenario: its first run loads the weights, the others
work on sequences. LSTM_HW_INPUTS is the number of elements of a vector, of which the last beat need not be full.
"""

import os

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import with_timeout
from cocotbext.axi import AxiStreamFrame

from lstm_hw.errors import ToolError
from lstm_hw.machine.limits import VALUE_BITS
from lstm_hw.machine.registers import ErrorCode

from .bench_faults import CLEAR_RUN, LOAD, NEXT_RUN, RUN_CYCLES, FaultTB
from .progress import CLOCK_NS

GARBAGE = 0xA5
"""What the bytes of a beat hold that no byte of memory belongs to."""
JOIN_CYCLES = 3
"""Cycles that a run may take longer whose outputs are one packet."""


class DmaTB(FaultTB):
    """The bench with a memory, and the two channels of a DMA with realignment engines."""

    def __init__(self, dut: HierarchyObject):
        super().__init__(dut)
        config = self.scenario.config
        self.memory = bytearray([GARBAGE]) * 4096
        self.element = config.operand_bits // 8
        self.beat, self.inputs = self.element * config.x_per_beat, int(os.environ["LSTM_HW_INPUTS"])

    async def mm2s(self, address: int, length: int) -> None:
        """Send bytes from any address on, tlast on the last beat, which may have a part of its bytes only."""
        data = self.memory[address : address + length]
        data += bytes([GARBAGE]) * (-length % self.beat)
        words = [int.from_bytes(data[n : n + self.beat], "little") for n in range(0, len(data), self.beat)]
        await self.source.send(AxiStreamFrame(words))

    async def s2mm(self, address: int, length: int) -> int:
        """Take a packet to any address; returns its bytes."""
        frame = await with_timeout(cocotb.start_soon(self.sink.recv()), RUN_CYCLES * CLOCK_NS, "ns")
        data = b"".join(value.to_bytes(VALUE_BITS // 8, "little") for value in frame.tdata)
        if len(data) > length:
            raise ToolError("S2MM", f"a packet of {len(data)} bytes", f"must fit the {length} bytes of the transfer")
        self.memory[address : address + len(data)] = data
        return len(data)

    def vectors(self, number: int) -> list[bytes]:
        """The vectors of a run as an array without gaps has them."""
        run = self.scenario.runs[number]
        length = run.lasts.tolist().index(1) + 1
        rows = run.x.reshape(run.steps, length * run.x.shape[1])[:, : self.inputs]
        return [row.astype(f"<i{self.element}").tobytes() for row in rows]

    def expected(self, number: int) -> list[bytes]:
        """The packets of a run."""
        packets = self.scenario.runs[number].outputs
        return [b"".join(v.to_bytes(VALUE_BITS // 8, "little", signed=True) for v in packet) for packet in packets]

    def put(self, address: int, number: int) -> int:
        """Lay the vectors of a run from an address on, each padded to whole beats but the last; returns their bytes."""
        data = b"".join(vector + bytes([GARBAGE]) * (-len(vector) % self.beat) for vector in self.vectors(number))
        data = data[: len(data) - -len(self.vectors(number)[-1]) % self.beat]
        self.memory[address : address + len(data)] = data
        return len(data)

    async def run(self, number: int, **flags: bool) -> None:
        run = self.scenario.runs[number]
        await self.driver.start(run.entry, run.steps, run.clear, **flags)

    async def good(self, number: int, joined: bool) -> None:
        """The run has ended well, in the time that it may take."""
        assert await self.ends() == ErrorCode.NONE
        found, expected = await self.driver.counters(), dict(self.scenario.runs[number].counters)
        more = found.pop("cycles") - expected.pop("cycles")
        assert 0 < more <= JOIN_CYCLES if joined else more == 0, f"{more} cycles more than estimated"
        found.pop("empty"), expected.pop("empty")
        assert found == expected
        assert self.sink.empty() and self.source.empty(), "beats are left over"


@cocotb.test()
async def one_transfer_each_way(dut: HierarchyObject) -> None:
    """A whole sequence in one transfer of a DMA in simple mode, its outputs in another, from and to any byte."""
    tb = DmaTB(dut)
    await tb.ready()
    for from_address, to_address, number in ((64, 2048, CLEAR_RUN), (65, 2049, NEXT_RUN), (131, 2055, CLEAR_RUN)):
        expected = b"".join(tb.expected(number))
        await tb.mm2s(from_address, tb.put(from_address, number))
        await tb.run(number, sequence=True, one_packet=True)
        assert await tb.s2mm(to_address, len(expected)) == len(expected), "the transfer ends with the run"
        assert tb.memory[to_address : to_address + len(expected)] == expected
        await tb.good(number, joined=True)


@cocotb.test()
async def a_descriptor_a_vector(dut: HierarchyObject) -> None:
    """Vectors that lie side by side, of a length that is no multiple of a beat, and packets likewise."""
    tb = DmaTB(dut)
    await tb.ready()
    for start, number in ((65, CLEAR_RUN), (128, NEXT_RUN)):
        vectors, packets = tb.vectors(number), tb.expected(number)
        tb.memory[start : start + len(b"".join(vectors))] = b"".join(vectors)
        for n, vector in enumerate(vectors):
            await tb.mm2s(start + n * len(vector), len(vector))
        await tb.run(number)
        for n, packet in enumerate(packets):
            assert await tb.s2mm(2049 + n * len(packet), len(packet)) == len(packet)
        assert tb.memory[2049 : 2049 + len(b"".join(packets))] == b"".join(packets)
        await tb.good(number, joined=False)


@cocotb.test()
async def tlast_that_says_nothing(dut: HierarchyObject) -> None:
    """Transfers that end anywhere between two beats, on runs that look at the number of beats alone."""
    tb = DmaTB(dut)
    await tb.ready()
    order = (CLEAR_RUN, NEXT_RUN, CLEAR_RUN, NEXT_RUN)
    address, ends = 64, [0]
    for number in order:
        tb.put(address + ends[-1], number)
        ends.append(ends[-1] + len(tb.scenario.runs[number].x) * tb.beat)
    chunk = 3 * tb.beat
    for start in range(0, ends[-1], chunk):
        await tb.mm2s(address + start, min(chunk, ends[-1] - start))
    for number in order:
        await tb.run(number, ignore_tlast=True)
        for packet in tb.expected(number):
            assert await tb.s2mm(2048, len(packet)) == len(packet)
            assert tb.memory[2048 : 2048 + len(packet)] == packet
        assert await tb.ends() == ErrorCode.NONE
    assert tb.source.empty()
    # Both flags: this one wins, and the run waits for what a transfer has not brought.
    length = tb.put(address, CLEAR_RUN)
    await tb.mm2s(address, tb.beat)
    await tb.run(CLEAR_RUN, sequence=True, ignore_tlast=True)
    await tb.cycles(200)
    assert await tb.code() == ErrorCode.NONE
    await tb.mm2s(address + tb.beat, length - tb.beat)
    assert await tb.ends() == ErrorCode.NONE
    assert await tb.receive(len(tb.expected(CLEAR_RUN))) == tb.scenario.runs[CLEAR_RUN].outputs


@cocotb.test()
async def failed_runs(dut: HierarchyObject) -> None:
    """Runs that are given up in any state of the packet leave nothing behind once the DMA is reset."""
    tb = DmaTB(dut)
    await tb.ready()
    for number, cycles in enumerate(range(0, 400, 23)):
        tb.sink.pause = bool(number % 2)
        await tb.mm2s(64, tb.put(64, CLEAR_RUN))
        await tb.run(CLEAR_RUN, sequence=True, one_packet=True)
        await tb.cycles(cycles)
        await tb.driver.write("CTRL", tb.ctrl.field("abort").mask)
        tb.sink.pause = False
        assert await tb.ends() in (ErrorCode.ABORTED, ErrorCode.NONE)
        await tb.restart_streams()
        expected = b"".join(tb.expected(CLEAR_RUN))
        await tb.mm2s(64, tb.put(64, CLEAR_RUN))
        await tb.run(CLEAR_RUN, ignore_tlast=True, one_packet=True)
        assert await tb.s2mm(2048, len(expected)) == len(expected)
        assert tb.memory[2048 : 2048 + len(expected)] == expected
        await tb.good(CLEAR_RUN, joined=True)
    await tb.check(LOAD, CLEAR_RUN, NEXT_RUN)
