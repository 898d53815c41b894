"""cocotb bench of the emitted engine on compressed weights that are none.

The environment variable LSTM_HW_SCENARIO names the folder of a scenario as for :mod:`sim.bench_streaming_faults`, and
LSTM_HW_SEGMENTS holds the first beat and the beats of some segments of its image, as a JSON list of pairs.
"""

import json
import os

import cocotb
from cocotb.handle import HierarchyObject

from lstm_hw.machine.registers import ErrorCode

from .bench_streaming_faults import StreamTB


@cocotb.test()
async def malformed_segments(dut: HierarchyObject) -> None:
    """A wrong count or width, a header of ones, weights in the padding: the code, an address inside, then both runs."""
    tb = StreamTB(dut)
    await tb.afresh()
    size, (memory,), (base,) = tb.scenario.config.beat_bytes, tb.memories, tb.scenario.addresses
    padded = 0
    for first, beats in json.loads(os.environ["LSTM_HW_SEGMENTS"]):
        start = base + first * size
        last = start + (beats - 1) * size
        was = {address: bytes(memory.read(address, size)) for address in (start, last)}
        wrong = [(start, bytes([was[start][0] ^ 1]) + was[start][1:]), (start, b"\xff" * size)]
        if not any(was[last]):
            wrong.append((last, b"\1" + bytes(size - 1)))
            padded += 1
        for address, content in wrong:
            memory.write(address, content)
            await tb.begin()
            assert await tb.ends() == ErrorCode.MALFORMED
            found = await tb.error_address()
            assert found == last if address == last else start <= found <= last
            assert all(r.received == len(r.addresses) for r in tb.requests), "done with beats owed"
            memory.write(address, was[address])
            await tb.recovers()
    assert padded, "no segment has padding"
