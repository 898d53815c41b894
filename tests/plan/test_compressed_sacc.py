"""SACC with compressed weights: proved, the bits of an integer LSTM, what is asked for, what does not fit."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, ProgramError
from lstm_hw.machine.streams import YOrder
from lstm_hw.plan import compressed_bands, compressed_passes, layer
from lstm_hw.plan.compressed_sacc import CompressedSaccPlanner
from lstm_hw.proof.checker import check
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel
from tests.builders import random_network
from tests.plan.test_compressed import engine, leaving_out
from tests.plan.test_compressed import layer as pruned_layer
from tests.sim.scenarios import plan_scenario

CASES = {
    "all of h": ((28, 24), 2, {"head": 3}),
    "all of h, a part of a band": ((7, 28), 4, {"rows": 8}),
    "threshold of 0": ((28, 36), 4, {"least": 0}),
    "some groups": ((3, 56), 4, {"least": 40_000, "head": 14}),
    "none of small h": ((12, 28), 6, {"least": 65_535}),
    "eSELL": ((8, 28), 2, {"least": 40_000, "decoder": "esell"}),
    "20 rows": ((18, 80), 2, {"least": 40_000, "rows": 20}),
    "a head at every step": ((7, 28), 4, {"head": 3, "every": True, "rows": 8}),
    "a head at every step, some groups": ((3, 56), 4, {"least": 40_000, "head": 14, "every": True}),
}
TURNS = {
    "two layers": ((28, 24, 24), 2, {}),
    "a head behind the last step": ((7, 24, 32), 4, {"head": 3, "rows": 16, "decoder": "bitmap"}),
    "bands that are alike, a head at every step": ((6, 48, 24), 4, {"head": 3, "every": True}),
    "three layers": ((12, 24, 24, 24), 2, {"head": 3, "every": True}),
    "eSELL": ((8, 24, 24), 2, {"decoder": "esell"}),
    "some groups": ((7, 24, 48), 4, {"least": 40_000}),
    "some groups, a head at every step, bands that are not alike": (
        (6, 32, 28),
        4,
        {"least": 50_000, "head": 3, "every": True, "activity": (0.3, 1.0)},
    ),
    "threshold of 0, a head behind the last step": (
        (8, 16, 24),
        2,
        {"least": 0, "head": 14, "decoder": "esell", "rows": 8},
    ),
    "none of small h, 20 rows": ((3, 40, 60), 6, {"least": 65_535, "rows": 20, "activity": (0.3, 0.3)}),
}


def sacc(sizes, batch, head=0, every=False, least=None, activity=(), **fields):
    model = pruned_layer(sizes, head=head, head_every_step=every)
    if least is not None:
        model = leaving_out(model, least)
    model = replace(model, network=replace(model.network, activity=activity))
    config = engine(model, **{"program_length": 512, "h_elements": 256} | fields)
    return model, CompressedSaccPlanner(model.network, config, batch).plan()


def runs_of(batch):
    """Runs of even and odd steps, from zero state and going on."""
    return [
        (2 * batch + 1, True),
        (1, False),
        (3 * batch, False),
        (2, True),
        (batch, False),
        (batch + 1, True),
        (3, False),
    ]


@pytest.mark.parametrize("name", CASES)
def test_runs_that_go_on(name):
    sizes, batch, fields = CASES[name]
    model, plan = sacc(sizes, batch, **fields)
    assert check(plan) > 0
    plan_scenario(model, plan, runs_of(batch), MemoryModel(20, 1))


@pytest.mark.parametrize("name", TURNS)
def test_stacks(name):
    """Layers take turns batch by batch; a head gives the outputs of each pair of steps, or those of the last one."""
    sizes, batch, fields = TURNS[name]
    model, plan = sacc(sizes, batch, accumulators=512, weight_words=2048, states=256, h_elements=512, **fields)
    assert check(plan, 2 * batch + 1) > 0
    plan_scenario(model, plan, runs_of(batch), MemoryModel(20, 1))


def test_bands_of_a_stack_are_alike_where_they_can_be():
    """Then the last one needs no instructions of its own."""
    bands = {}
    for units in (48, 144, 52):
        model = pruned_layer((4, units, 24))
        config = engine(model, program_length=512, h_elements=1024, accumulators=1024, states=512, weight_words=8192)
        first, _ = CompressedSaccPlanner(model.network, config, 2).layers
        bands[units] = (first.bands, first.alike)
        assert not first.alike or first.stored[-1] == first.lengths["h"]
    assert bands == {48: (4, True), 144: (4, True), 52: (3, False)}


def test_a_stack_leaves_out_what_is_small():
    """With the bits of the model without a threshold where nothing is."""
    runs = []
    for least in (None, 0, 65_535):
        model, plan = sacc((4, 24, 24), 2, least=least, accumulators=512, states=256, weight_words=2048)
        runs.append(plan_scenario(model, plan, [(7, True)], MemoryModel(20, 1)).runs[-1])
    dense, whole, small = runs
    assert whole.outputs == dense.outputs != small.outputs
    assert small.counters["read_beats"] < 0.8 * whole.counters["read_beats"]


def test_three_layers_that_leave_out_groups_are_too_long():
    with pytest.raises(ProgramError, match="instructions; must fit the program memory of 512"):
        sacc((4, 24, 24, 24), 2, least=40_000, accumulators=512, states=256, weight_words=2048, h_elements=512)


def test_own_segments_come_twice_or_stay():
    """They stay where most groups are taken to be kept: the same bits, more beats where groups are left out."""
    beats = []
    for share in (0.3, 1.0):
        model, plan = sacc((12, 36), 2, least=55_000, activity=(share,))
        assert check(plan) > 0
        played = plan_scenario(model, plan, runs_of(2), MemoryModel(20, 1)).runs[-7:]
        beats.append(sum(run.counters["read_beats"] for run in played))
    assert beats[0] < beats[1]


def test_a_segment_serves_two_steps():
    """Where all groups are kept, a pair of steps reads W_h once."""
    _, plan = sacc((12, 48), 4)
    of_x, matrix = (sum(beats for tile, _, _, beats in plan.image.segments if tile.part == part) for part in "xh")
    counted = [count_cycles(plan, steps, memory=MemoryModel(20, 1)).read_beats for steps in (4, 8, 12)]
    assert np.diff(counted).tolist() == [of_x + 2 * matrix] * 2


def test_more_row_blocks_than_slots(monkeypatch):
    monkeypatch.setattr(layer, "MOST_SLOTS", 3)
    model, plan = sacc((8, 28), 2, least=40_000)
    assert max(instr.slots for instr in plan.program.instructions if instr.op == "MAC") == 3
    assert check(plan) > 0
    plan_scenario(model, plan, [(5, True), (2, False)])


def test_order_of_outputs_is_one_that_an_image_can_state():
    _, plan = sacc((8, 28), 2)
    order = YOrder.of(plan.y_order)
    assert order.odd == tuple(reversed(order.even)) and len(order.even) == 3 and not order.since_zero


def test_bands_are_whole_groups():
    for units in range(20, 160, 4):
        for rows in (8, 12, 16, 20, 36):
            model = random_network(np.random.default_rng(0), (4, units))
            config = engine(model, rows=rows, accumulators=512, h_elements=512, states=512, weight_words=4096)
            try:
                planner = CompressedSaccPlanner(model.network, config, 2)
            except ConfigError as error:
                assert "must be more than" in str(error)
                continue
            (made,) = planner.layers
            assert made.band_units % 4 == 0 and made.bands > 1
            assert (made.bands - 1) * made.band_units + made.size(True)[1] == units
            assert (made.bands - 1) * made.band_blocks + made.size(True)[0] == made.blocks
            assert made.band_blocks <= max(compressed_bands.MOST_BLOCKS, 4)


@pytest.mark.parametrize(
    "sizes, batch, options, found",
    [
        ((8, 28), 3, {}, "batch: 3; must be even"),
        ((8, 30), 2, {}, "network: 30 units; must be a multiple of 4 for compressed_sacc"),
        ((8, 12), 2, {}, "network: 12 units; must be more than 12"),
    ],
)
def test_refuses_what_does_not_fit(sizes, batch, options, found):
    model = pruned_layer(sizes, **options)
    with pytest.raises(ConfigError) as error:
        CompressedSaccPlanner(model.network, engine(model), batch)
    assert found in str(error.value)


def test_long_segments_of_w_x_come_behind_the_passes(monkeypatch):
    """In a batch of an odd number of steps, not for the one that is missing."""
    monkeypatch.setattr(compressed_passes, "X_BEATS", 0)
    model, plan = sacc((6, 28), 4, least=40_000)
    assert check(plan) > 0
    plan_scenario(model, plan, runs_of(4), MemoryModel(20, 1))
