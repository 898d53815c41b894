"""PacketJoin: the packets of a run as they are, or as one."""

import random

import pytest

from lstm_hw.gateware.packet_join import PacketJoin
from tests.simulation import simulate

PACKETS = [[1, -2, 3], [4], [-5, 6], [7], [8, 9]]


@pytest.mark.parametrize("join", [0, 1])
@pytest.mark.parametrize("gaps, stalls", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.6), (0.5, 0.5)])
def test_packets(join, gaps, stalls):
    """Every beat once and in order, none withdrawn, tlast where it belongs; after ``i_ended`` nothing is held."""
    dut, rng, got = PacketJoin(), random.Random(1), []
    beats = [(value, value == packet[-1]) for packet in PACKETS for value in packet]
    left = list(beats)

    async def bench(context):
        context.set(dut.i_join, join)
        offered = offering = None
        for _ in range(200):
            offering = offering or bool(left and rng.random() >= gaps)
            context.set(dut.i.valid, offering)
            if offering:
                context.set(dut.i.payload, {"data": left[0][0], "last": left[0][1]})
            context.set(dut.i_ended, not left)
            ready = rng.random() >= stalls
            context.set(dut.o.ready, ready)
            _, _, taken, valid, payload = await context.tick().sample(dut.i.ready, dut.o.valid, dut.o.payload)
            beat = (payload.data, payload.last) if valid else None
            assert offered is None or beat == offered, "withdrawn or changed"
            offered = beat if not ready else None
            if valid and ready:
                got.append(beat)
            if offering and taken:
                left.pop(0)
                offering = False
        assert context.get(dut.o_empty)

    simulate(dut, bench)
    ends = [len(beats) - 1] if join else [n for n, (_, last) in enumerate(beats) if last]
    assert got == [(value, n in ends) for n, (value, _) in enumerate(beats)]
