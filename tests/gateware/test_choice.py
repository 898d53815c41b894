"""The tree of multiplexers against an index and the comparison against Python's, for all values."""

import pytest
from amaranth import C, Cat, Module, Signal
from amaranth.sim import Simulator

from lstm_hw.gateware.choice import FOUR, chosen, equal, fours


def results(inputs, output):
    """The output for all values of the inputs, the first one's low bits first."""
    given, module = Signal(sum(len(value) for value in inputs)), Module()
    module.d.comb += Cat(inputs).eq(given)
    seen = []

    async def bench(context):
        for value in range(1 << len(given)):
            context.set(given, value)
            seen.append(context.get(output))

    simulator = Simulator(module)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@pytest.mark.parametrize("places", [[0], [0, 1, 2], [3, 5, 6, 12], range(16)], ids=len)
def test_the_word_at_an_address_is_chosen(places):
    address = Signal(4)
    found = results([address], chosen(address, {place: C(place + 1, 5) for place in places}))
    assert [found[place] for place in places] == [place + 1 for place in places]


@pytest.mark.parametrize("places", [(3,), (0, 1, 2, 3, 5), (1, 6, 7, 8, 9, 13, 14), range(16)])
def test_groups_of_words_are_chosen_from(places):
    address = Signal(4)
    groups = fours(address, {place: C(place + 1, 5 if place % 2 else 6) for place in places})
    assert sorted(place for group, _ in groups for place in group) == list(places)
    assert len(groups) <= -(-len(places) // 2) and max(len(group) for group, _ in groups) <= FOUR
    for group, word in groups:
        found = results([address], word)
        assert [found[place] for place in group] == [place + 1 for place in group]


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5])
def test_words_are_equal(bits):
    a, b = Signal(bits), Signal(bits)
    assert results([a, b], equal(a, b)) == [place % (1 << bits) == place >> bits for place in range(1 << 2 * bits)]
