"""Lights: the heartbeat, and blinks that tell a reason."""

import pytest

from boards.lights import SLOTS, Lights
from lstm_hw.host.protocol import Reason
from tests.simulation import observe, simulate

QUARTER = 5


def watch(running, fail, reason):
    """Two turns of (heartbeat, running), a quarter of a second each."""
    lights, seen = Lights(4 * QUARTER), []

    async def bench(context):
        context.set(lights.i_running, running)
        context.set(lights.i_fail, fail)
        context.set(lights.i_reason, reason)
        await context.tick().repeat(2 * SLOTS * QUARTER)

    simulate(lights, bench, background=[observe(lambda _, *x: seen.append(x), lights.o_heartbeat, lights.o_running)])
    return seen[::QUARTER]


def test_the_heart_beats_once_a_second():
    assert [beat for beat, _ in watch(0, 0, 0)] == SLOTS // 2 * [0, 0, 1, 1]


@pytest.mark.parametrize("reason", Reason)
def test_a_failure_blinks_as_often_as_its_number(reason):
    turn = reason * [1, 0] + (SLOTS - 2 * reason) * [0]
    assert [light for _, light in watch(0, 1, reason)] == 2 * turn


def test_the_light_is_steady_while_a_test_runs_and_off_after_one_that_passed():
    assert {light for _, light in watch(1, 0, 0)} == {1}
    assert {light for _, light in watch(0, 0, 0)} == {0}
