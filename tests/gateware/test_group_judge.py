"""The judge of groups of h against the rule, with pauses, and vectors of any length and place, one after the other."""

import random

import pytest

from lstm_hw.gateware.group_judge import GroupJudge
from lstm_hw.machine.latency import JUDGE
from lstm_hw.model.sparse_h import kept_groups
from tests.builders import config_of
from tests.simulation import simulate

EDGES = (-32768, -32767, -1, 0, 1, 32767)


@pytest.mark.parametrize("length, pause", [(1, 0), (4, 0), (11, 0.4), (16, 0)])
@pytest.mark.parametrize("threshold", [0, 1, 9, 30_000, 65_535])
def test_groups(length, pause, threshold):
    config, rng = config_of(sparse_h=True, h_elements=40), random.Random(length + threshold)
    unit, found, wanted = GroupJudge(config), [], []

    async def bench(context):
        context.set(unit.i.threshold, threshold)

        async def cycle():
            await context.tick()
            context.set(unit.i_valid, 0)
            context.set(unit.i_new.comes, 0)

        for number in range(20):
            first = 20 * (number % 2)
            near = max(1, threshold // rng.choice((2, 3, 4)))
            values = [rng.choice(EDGES) if rng.random() < 0.1 else rng.randint(-near, near) for _ in range(length)]
            values = [max(-32768, min(32767, value)) for value in values]
            for name, part in (("comes", 1), ("first", first), ("elements", length)):
                context.set(unit.i_new[name], part)
            await cycle()
            await cycle()
            context.set(unit.i_group, first // 4)
            assert not context.get(unit.o_known)
            # All of the one before still are.
            before = (20 - first) // 4
            for group, kept in enumerate(found[-1] if found else ()):
                context.set(unit.i_group, before + group)
                assert context.get(unit.o_known) and context.get(unit.o_kept) == kept
            for index, value in enumerate(values):
                while rng.random() < pause:
                    await cycle()
                for name, part in (("value", value), ("address", first + index), ("last", index == length - 1)):
                    context.set(unit.i[name], part)
                context.set(unit.i_valid, 1)
                await cycle()
            for late in range(JUDGE):
                context.set(unit.i_group, (first + length - 1) // 4)
                assert not context.get(unit.o_known), late
                await cycle()
            groups = []
            for group in range(-(-length // 4)):
                context.set(unit.i_group, first // 4 + group)
                assert context.get(unit.o_known)
                groups.append(bool(context.get(unit.o_kept)))
            found.append(groups)
            wanted.append(kept_groups(values, threshold).tolist())

    simulate(unit, bench)
    assert found == wanted
    if length >= 4 and threshold in (9, 30_000):
        assert {group for groups in wanted for group in groups} == {False, True}
