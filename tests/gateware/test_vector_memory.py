"""The vector memory against plain lists: banks, turns, constants, and its latency."""

import random

import pytest

from lstm_hw.gateware.vector_memory import VectorMemory
from lstm_hw.machine.isa import SPACE_CONSTANT, SPACE_H, SPACE_X
from tests.builders import PAIRS, config_of
from tests.simulation import simulate

CYCLES = 400
SIZES = [(1, 1, 13, 8), (1, 2, 16, 6), (1, 4, 5, 12), (2, 2, 9, 10), (3, 4, 20, 8), (8, 8, 7, 16)]
"""Contexts, elements of x in a beat, elements of h, elements of x."""


class Memory:
    """The documented behaviour; None is an element whose value is not defined."""

    def __init__(self, config):
        self.config = config
        self.h = [[0] * config.h_elements for _ in range(config.contexts)]
        self.x = [[0] * config.x_elements for _ in range(config.contexts)]

    def read(self, request, fresh):
        """Operands of a read; ``fresh`` are the places written in the same cycle, which are not defined."""
        contexts, result = self.config.contexts, []
        for k in range(contexts):
            bank = (k + request["rotate"]) % contexts
            if not request["valid"]:
                result.append(0)
            elif request["space"] == SPACE_CONSTANT:
                value = 1 << request["address"]
                result.append(value - 2 * value if value >> self.config.operand_bits - 1 else value)
            elif (request["space"], bank, request["address"]) in fresh:
                result.append(None)
            else:
                result.append((self.x if request["space"] == SPACE_X else self.h)[bank][request["address"]])
        return result


@pytest.mark.parametrize("contexts, per_beat, h_elements, x_elements", SIZES)
@pytest.mark.parametrize("bits, forwards", [(8, False), (16, False), (16, True)])
def test_reads_beside_writes(contexts, per_beat, h_elements, x_elements, bits, forwards):
    fields = (PAIRS if bits == 8 else {}) | ({"cells": 5, "parallel": True} if forwards else {})
    config = config_of(contexts=contexts, x_per_beat=per_beat, h_elements=h_elements, x_elements=x_elements, **fields)
    rng = random.Random(f"{contexts} {per_beat}")
    unit, model = VectorMemory(config), Memory(config)
    assert unit.latency == 2
    expected, received, waiting = [], [], []

    def element():
        limit = 1 << bits - 1
        return rng.choice((-limit, limit - 1, rng.randrange(-limit, limit)))

    def writes(context):
        """Random writes; returns the places that they change, and the change."""
        h, x = rng.random() < 0.5, rng.random() < 0.5
        bank, address, value = rng.randrange(contexts), rng.randrange(h_elements), element()
        word = rng.randrange(x_elements // per_beat)
        enables, values = rng.getrandbits(contexts * per_beat) if x else 0, [element() for _ in unit.i_x_data]
        if contexts > 1:
            context.set(unit.i_h_bank, bank)
        for port, setting in (
            ("i_h_write", h),
            ("i_h_address", address),
            ("i_h_data", value),
            ("i_x_write", enables),
            ("i_x_address", word),
            ("i_x_data", values),
        ):
            context.set(getattr(unit, port), setting)
        changes = {(SPACE_H, bank, address): value} if h else {}
        for n in range(contexts * per_beat):
            if enables >> n & 1:
                changes[SPACE_X, n // per_beat, word * per_beat + n % per_beat] = values[n]
        return changes

    def expect(request, changes):
        """Note the operands of a read and what is written beside it; of one that is forwarded to, a cycle later."""
        fresh = {place for place in changes if not forwards or place[0] == SPACE_X}
        waiting.append((request, fresh))
        if not forwards:
            expected.append(model.read(*waiting.pop()))
        for (space, bank, address), value in changes.items():
            (model.x if space == SPACE_X else model.h)[bank][address] = value
        if len(waiting) > 1:
            request, older = waiting.pop(0)
            expected.append(model.read(request, older | fresh))

    async def bench(context):
        for now in range(CYCLES + unit.latency):
            changes = writes(context)
            space = rng.choice((SPACE_H, SPACE_X, SPACE_CONSTANT))
            limit = {SPACE_H: h_elements, SPACE_X: x_elements, SPACE_CONSTANT: bits}[space]
            request = {
                "valid": rng.random() < 0.9,
                "address": rng.randrange(limit),
                "space": space,
                "rotate": rng.randrange(contexts),
            }
            for name, value in request.items():
                context.set(getattr(unit, f"i_{name}"), value)
            expect(request, changes)
            _, _, operands = await context.tick().sample(unit.o_operands)
            received.append(list(operands))
            if now >= unit.latency:
                pairs = zip(expected[now - unit.latency], received[now], strict=True)
                assert all(e is None or e == r for e, r in pairs), f"cycle {now}"

    simulate(unit, bench)
    assert sum(e is not None and e != 0 for values in expected for e in values) > CYCLES // 3


def test_a_read_sees_the_write_of_the_cycle_before():
    config = config_of(contexts=1, x_per_beat=2, h_elements=4, x_elements=4)
    unit = VectorMemory(config)

    async def bench(context):
        context.set(unit.i_valid, 1)
        for space in (SPACE_H, SPACE_X):
            context.set(unit.i_h_write, 1)
            context.set(unit.i_h_address, 3)
            context.set(unit.i_h_data, -7)
            context.set(unit.i_x_write, 0b10)
            context.set(unit.i_x_address, 1)
            context.set(unit.i_x_data, [5, -7])
            await context.tick()
            context.set(unit.i_h_write, 0)
            context.set(unit.i_x_write, 0)
            context.set(unit.i_space, space)
            context.set(unit.i_address, 3)
            await context.tick().repeat(2)
            assert context.get(unit.o_operands[0]) == -7

    simulate(unit, bench)
