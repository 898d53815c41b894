"""The fork: every output gets every payload once, and the slowest sets the pace."""

import random

import pytest

from lstm_hw.gateware.stream_fork import StreamFork
from tests.simulation import monitor, simulate, sink, source

PAYLOADS = 60


@pytest.mark.parametrize("idle", [0.0, 0.5])
@pytest.mark.parametrize("stalls", [(0.0,), (0.5,), (0.0, 0.0), (0.0, 0.8), (0.2, 0.5, 0.9), (0.9, 0.9, 0.0, 0.1)])
def test_every_output_gets_every_payload(stalls, idle):
    fork, rng = StreamFork(16, len(stalls)), random.Random(f"{stalls} {idle}")
    payloads = [rng.getrandbits(16) for _ in range(PAYLOADS)]
    received, times, taken = [[] for _ in stalls], [[] for _ in stalls], []
    sinks = [
        sink(output, rng, stall, got, when)
        for output, stall, got, when in zip(fork.o, stalls, received, times, strict=True)
    ]
    monitors = [monitor(output) for output in fork.o]
    simulate(fork, source(fork.i, payloads, rng, idle, taken=taken), background=(*sinks, *monitors))
    assert received == [payloads] * len(stalls)
    assert taken == [max(cycles) for cycles in zip(*times, strict=True)], "taken with the last output"
    if not idle and not any(stalls):
        assert taken == list(range(PAYLOADS)), "one payload a cycle"
