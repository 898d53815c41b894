"""Checker and judge."""

import random
from types import SimpleNamespace

import pytest
from amaranth import ResetInserter, Signal

from boards.checker import Checker, expectation_layout, expectations
from boards.judge import RESET_CYCLES, Judge
from lstm_hw.host.protocol import Reason
from tests.simulation import simulate, source

PACKETS = [[[1, -2, 3]], [[4]], [[5, 6], [7]]]
"""Outputs of three vectors; the last sends two packets."""


def beats_of(packets):
    return [
        {"data": value & 0xFF, "last": n == len(packet) - 1}
        for vector in packets
        for packet in vector
        for n, value in enumerate(packet)
    ]


def check(beats, idle=0.0, rom_idle=0.0):
    """Send beats to a checker that expects PACKETS; returns (o_passed, o_failed) at the end."""
    checker = Checker(8, len(PACKETS))
    words = [
        expectation_layout(8).from_bits(word)
        for word in expectations([SimpleNamespace(outputs=vector) for vector in PACKETS], 8)
    ]
    found = []

    async def read(context):
        await context.tick().repeat(200)
        found.extend([context.get(checker.o_passed), context.get(checker.o_failed)])

    async def expected(context):
        await source(checker.i_expected, words, random.Random(2), rom_idle)(context)
        context.set(checker.i_done, 1)

    simulate(checker, read, background=[source(checker.i, beats, random.Random(1), idle), expected])
    return tuple(found)


@pytest.mark.parametrize("idle, rom_idle", [(0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.6, 0.6)])
def test_right_outputs_pass(idle, rom_idle):
    assert check(beats_of(PACKETS), idle, rom_idle) == (3, 0)


@pytest.mark.parametrize("at, vector", [(0, 0), (2, 0), (3, 1), (4, 2), (6, 2)])
@pytest.mark.parametrize("field", ["data", "last"])
def test_every_wrong_beat_fails_its_vector(at, vector, field):
    beats = beats_of(PACKETS)
    beats[at][field] = int(beats[at][field]) ^ 1
    assert check(beats) == (2, 1)


def test_a_missing_beat_leaves_its_vector_open():
    assert check(beats_of(PACKETS)[:-1]) == (2, 0)


def test_a_beat_too_many_fails():
    assert check([*beats_of(PACKETS), {"data": 0, "last": 0}]) == (3, 1)


def judged(*events, patience=50, vectors=2):
    """Run a judge through (signal name, value) settings, a cycle each; returns verdict (pass, fail, reason)."""
    restart = Signal()
    judge = Judge(vectors, patience)
    verdicts = []

    async def bench(context):
        def outputs(*names):
            return tuple(context.get(getattr(judge, f"o_{name}")) for name in names)

        for _ in range(2):  # the same again after a restart
            cleared = 0
            while outputs("clear")[0]:
                assert outputs("running", "pass", "fail") == (0, 0, 0)
                cleared += 1
                await context.tick()
            assert cleared == RESET_CYCLES
            for name, value in events:
                context.set(getattr(judge, name), value)
                await context.tick()
            waited = 0
            while outputs("running")[0] and waited < 2 * patience:
                await context.tick()
                waited += 1
            verdicts.append(outputs("running", "pass", "fail", "reason"))
            await context.tick().repeat(3)
            assert verdicts[-1] == outputs("running", "pass", "fail", "reason")
            for name, _ in events:
                context.set(getattr(judge, name), 0)
            context.set(restart, 1)
            await context.tick()
            context.set(restart, 0)

    simulate(ResetInserter(restart)(judge), bench)
    assert verdicts[0] == verdicts[1]
    return verdicts[0]


def test_judge_passes():
    assert judged(("i_passed", 2), ("i_done", 1)) == (0, 1, 0, Reason.NONE)


@pytest.mark.parametrize(
    "events, reason",
    [
        ([("i_wrong", 1), ("i_passed", 2), ("i_done", 1)], Reason.OUTPUT),
        ([("i_refused", 1)], Reason.STATUS),
        ([("i_passed", 1), ("i_done", 1)], Reason.MISSING),
        ([], Reason.WATCHDOG),
    ],
)
def test_judge_fails(events, reason):
    assert judged(*events) == (0, 0, 1, reason)


def test_judge_waits_as_long_as_accesses_complete():
    assert judged(("i_access", 1), patience=10)[0] == 1
