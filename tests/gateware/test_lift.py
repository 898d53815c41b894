"""Lifted operands and wide constants, at the cycle of the read's data."""

import random

import pytest

from lstm_hw.gateware.lift import Lift
from lstm_hw.machine.isa import SPACE_CONSTANT, SPACE_H, SPACE_X
from lstm_hw.machine.latency import OPERANDS
from tests.builders import config_of
from tests.simulation import simulate


@pytest.mark.parametrize("lifts", [(4,), (0, 9), (1, 3, 4, 7)])
def test_places_and_constants(lifts):
    config = config_of(contexts=2, x_per_beat=2, lifts=lifts)
    unit, rng = Lift(config), random.Random(len(lifts))
    operands, expected = {}, {}

    async def bench(context):
        for now in range(200):
            space, valid = rng.choice((SPACE_H, SPACE_X, SPACE_CONSTANT)), rng.random() < 0.8
            which, exponent = rng.randrange(len(lifts)), rng.randrange(config.factor_bits - 1)
            elements = [rng.choice((-(1 << 15), (1 << 15) - 1, rng.randrange(-99, 99))) for _ in range(2)]
            constant = space == SPACE_CONSTANT
            operands[now + OPERANDS] = elements if valid and not constant else [0, 0]
            expected[now + OPERANDS] = [1 << exponent] * 2 if valid and constant else None
            expected[now + OPERANDS] = expected[now + OPERANDS] or [
                element << lifts[which] for element in operands[now + OPERANDS]
            ]
            context.set(unit.i_valid, valid)
            context.set(unit.i_space, space)
            context.set(unit.i_address, exponent)
            context.set(unit.i_lift, which)
            context.set(unit.i_operands, operands.get(now, [0, 0]))
            _, _, found = await context.tick().sample(unit.o_operands)
            if now >= OPERANDS:
                assert list(found) == expected[now], f"cycle {now}"

    simulate(unit, bench)
