"""The resident planner: what it refuses, where it puts things, and that all its column cuts hold together."""

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, ProgramError
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.resident_layer import ResidentLayer, tile_columns
from lstm_hw.proof.checker import check
from lstm_hw.proof.count import count_cycles
from tests.builders import config_of

NETWORK = Network((LayerShape("lstm", 3, 10, 15), LayerShape("lstm", 10, 6, 15), LayerShape("linear", 6, 4, 14)))
"""On 8 rows: 5, 3 and 1 row blocks; 5*13 + 3*16 + 6 matrix words and 2*(5 + 3 + 1) of biases."""
LEAST = {
    "h_elements": 32,
    "x_elements": 3,
    "states": 16,
    "accumulators": 19,
    "finish_entries": 5,
    "weight_words": 137,
    "program_length": 0,
}
SHIFTS = (15, 15, 14)


def least_config(**fields):
    """An engine on which the network just fits."""
    values = LEAST | {"program_length": 128, "shifts": SHIFTS} | fields
    return config_of(**values)


def test_every_memory_can_be_just_large_enough():
    plan = ResidentPlanner(NETWORK, least_config()).plan()
    assert plan.image.words == LEAST["weight_words"]
    assert check(plan) > 0
    length = len(plan.program.instructions)
    assert ResidentPlanner(NETWORK, least_config(program_length=length)).plan().program == plan.program


@pytest.mark.parametrize("field", [name for name, least in LEAST.items() if least])
def test_a_memory_that_is_one_too_small_is_named(field):
    need = LEAST[field]
    with pytest.raises(ConfigError, match=f"engine.{field}: {need - 1}; must be at least {need}"):
        ResidentPlanner(NETWORK, least_config(**{field: need - 1})).plan()


def test_a_program_that_is_too_long_is_an_error():
    length = len(ResidentPlanner(NETWORK, least_config()).plan().program.instructions)
    message = f"program: {length} instructions; must fit the program memory of {length - 1}"
    with pytest.raises(ProgramError, match=message):
        ResidentPlanner(NETWORK, least_config(program_length=length - 1)).plan()


def test_states_of_every_context():
    values = {"contexts": 3, "x_per_beat": 4, "x_elements": 4}
    assert ResidentPlanner(NETWORK, least_config(**values, states=48)).needs["states"] == 48
    with pytest.raises(ConfigError, match="engine.states: 47; must be at least 48"):
        ResidentPlanner(NETWORK, least_config(**values, states=47))


@pytest.mark.parametrize("contexts, per_beat", [(2, 1), (3, 2), (8, 4)])
def test_a_beat_must_hold_an_element_of_each_context(contexts, per_beat):
    with pytest.raises(ConfigError, match=f"engine.x_per_beat: {per_beat}; must be at least contexts = {contexts}"):
        ResidentPlanner(NETWORK, config_of(contexts=contexts, x_per_beat=per_beat))


@pytest.mark.parametrize("seed", range(20))
def test_tiles_are_long_enough_for_the_sequencer_and_hold_whole_row_blocks_units(seed):
    rng = np.random.default_rng(seed)
    blocks, units = (int(rng.integers(1, high)) for high in (30, 16))
    width = tile_columns(blocks, units, 900)
    assert width * blocks >= 16 and width % units == 0
    assert width == units or (width - units) * blocks < 16
    assert tile_columns(256, units, 900) >= 900 / 32


@pytest.mark.parametrize("seed", range(6))
def test_the_image_holds_every_weight_once(seed):
    """Tiles and LOAD cover each column of each part exactly once, whatever the sizes."""
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(1, 20, int(rng.integers(2, 5)))]
    network = Network(tuple(LayerShape("lstm", a, b, 15) for a, b in zip(sizes, sizes[1:], strict=False)))
    config = config_of(
        rows=int(rng.choice([4, 8, 16])),
        accumulators=256,
        finish_entries=64,
        weight_words=4096,
        shifts=(15,) * len(network.layers),
    )
    plan = ResidentPlanner(network, config).plan()
    seen = set()
    for tile in plan.image.tiles:
        assert (tile.first_block, tile.blocks) == (0, network.layers[tile.layer].blocks(config.rows))
        columns = {(tile.layer, tile.part, n) for n in range(tile.first_column, tile.first_column + tile.columns)}
        assert not columns & seen
        seen |= columns
    assert seen == {
        (n, part, column)
        for n, shape in enumerate(network.layers)
        for part, count in (("x", shape.inputs), ("h", shape.outputs), ("bias", 2))
        for column in range(count)
    }
    load = [i for i in plan.program.instructions if i.op == "LOAD"]
    assert [i.beats for i in load] == [plan.image.words * config.beats_per_word]


WAITING = {
    "two row blocks": ("lstm", 8, 20, {"rows": 64, "cells": 5}, 79, 65),
    "a GRU": ("gru", 8, 20, {"rows": 64, "cells": 5}, 80, 66),
    "three, two cells": ("lstm", 1, 20, {"rows": 32, "cells": 2}, 105, 90),
    "lanes that never wait again": ("lstm", 1, 40, {"rows": 64, "cells": 5}, 147, 123),
    "a row block a unit, one cell": ("lstm", 1, 16, {"rows": 4}, 285, 275),
    "orders alike in the short model": ("lstm", 5, 93, {"rows": 128, "cells": 2}, 315, 294),
    "side by side": ("lstm", 3, 9, {"rows": 16, "contexts": 2, "x_per_beat": 2, "cells": 5}, 73, 59),
}


@pytest.mark.parametrize("kind, inputs, units, fields, together, in_turn", WAITING.values(), ids=WAITING)
def test_row_blocks_walk_h_in_turn_where_lanes_wait_less_so(
    monkeypatch, kind, inputs, units, fields, together, in_turn
):
    network = Network((LayerShape(kind, inputs, units, 15),))
    config = config_of(**fields, weight_words=2048, x_elements=16, h_elements=200, accumulators=64, kind=kind)

    def cycles_per_step():
        plan = ResidentPlanner(network, config).plan()
        assert check(plan, 5) > 0
        return (count_cycles(plan, 90).cycles - count_cycles(plan, 40).cycles) / 50

    assert cycles_per_step() == in_turn
    monkeypatch.setattr(ResidentLayer, "_takes_turns", lambda layer: False)
    assert cycles_per_step() == together
