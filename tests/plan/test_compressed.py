"""Compressed weights: proved, the bits of an integer LSTM, segments as the engine reads them, what does not fit."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, FormatError
from lstm_hw.machine.pack import pack, to_bytes
from lstm_hw.plan import layer as layers
from lstm_hw.plan.compressed import CompressedPlanner, segment_columns
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.traffic import columns_by_layer, words_read
from tests.builders import config_of, pruned, random_network
from tests.sim.scenarios import plan_scenario

SIZES = [(28, 24), (7, 13), (30, 5), (4, 50)]


def layer(sizes=(28, 24), zeros=(0.3, 0.5), head=0, **options):
    return pruned(random_network(np.random.default_rng(3), sizes, head, **options), zeros)


def leaving_out(model, least):
    """The network whose groups of h count from so large sizes on."""
    return replace(model, network=replace(model.network, sparse_h=(least,) * len(model.network.recurrent)))


def engine(model, **fields):
    values = {
        "sparse_h": bool(model.network.sparse_h),
        "rows": 12,
        "decoder": "bitmap",
        "accumulators": 256,
        "finish_entries": 64,
        "x_elements": 512,
        "program_length": 256,
    }
    return config_of(**values | fields, shifts=model.shifts)


def beats_of(plan):
    """Beats of all segments of W_x and of W_h."""
    return tuple(sum(beats for tile, _, _, beats in plan.image.segments if tile.part == part) for part in "xh")


CASES = [
    *((sizes, *case, "bitmap") for sizes in SIZES for case in ((4, 8, 0), (2, 12, 3), (3, 20, 0))),
    ((28, 24), 4, 12, 3, "esell"),  # 8 row blocks
    ((12, 36), 2, 20, 0, "esell"),  # rows of eSELL's blocks that are behind the last one
    ((8, 12), 3, 8, 0, "esell"),  # fewer segments of W_x than steps of a batch
]


@pytest.mark.parametrize("sizes, batch, rows, head, decoder", CASES)
def test_runs_that_go_on(sizes, batch, rows, head, decoder):
    model = layer(sizes, head=head)
    plan = CompressedPlanner(model.network, engine(model, rows=rows, decoder=decoder), batch).plan()
    assert check(plan) > 0
    runs = [(2 * batch + 1, True), (1, False), (3 * batch, False), (2, True), (batch, False)]
    played = plan_scenario(model, plan, runs, MemoryModel(20, 1)).runs[-len(runs) :]
    of_x, of_h = beats_of(plan)
    wanted = [-(-steps // batch) * of_x + steps * of_h for steps, _ in runs]
    assert [run.counters["read_beats"] for run in played] == wanted
    assert words_read(plan, runs)[1]["h"] == -(-4 * sizes[1] // rows) * sizes[1]


@pytest.mark.parametrize(
    "sizes, batch, decoder",
    [((28, 24), 4, "bitmap"), ((6, 12), 2, "bitmap"), ((3, 48), 3, "bitmap"), ((28, 24), 4, "esell")],
)
@pytest.mark.parametrize("least", [0, 40_000, 65_535])
def test_columns_of_small_h_are_left_out(sizes, batch, decoder, least):
    """With the bits of the dense network where nothing is small."""
    model = leaving_out(layer(sizes, head=3), least)
    plan = CompressedPlanner(model.network, engine(model, decoder=decoder), batch).plan()
    assert check(plan) > 0
    runs = [(2 * batch + 1, True), (1, False), (3 * batch, False), (2, True), (batch, False)]
    played = plan_scenario(model, plan, runs, MemoryModel(20, 1)).runs[-len(runs) :]
    of_x, of_h = beats_of(plan)
    most = [-(-steps // batch) * of_x + steps * of_h for steps, _ in runs]
    found = [run.counters["read_beats"] for run in played]
    assert found == most if least == 0 else all(few < many for few, many in zip(found, most, strict=True))
    assert words_read(plan, runs)[1]["h"] == -(-4 * sizes[1] // 12) * sizes[1]  # all of them, of zeros nobody knows


@pytest.mark.parametrize("decoder", ["bitmap", "esell"])
def test_segments_are_what_the_decoder_expands(decoder):
    model = layer()
    config = engine(model, decoder=decoder)
    plan = CompressedPlanner(model.network, config, 2).plan()
    words = pack(plan.image, model.layers, config)
    content = np.frombuffer(to_bytes(words, config, plan.image), np.uint8).reshape(-1, config.beat_bytes)
    assert len(content) == plan.image.beats(config) < plan.image.words * config.beats_per_word
    content = content[plan.image.plain_words * config.beats_per_word :]
    for tile, word, first, beats in plan.image.segments:
        segment = config.segment_form.decode(content[first : first + beats], tile.words)
        assert (segment == words[word : word + tile.words]).all()


def test_more_row_blocks_than_slots(monkeypatch):
    """Segments of a large layer take several MACs each."""
    monkeypatch.setattr(layers, "MOST_SLOTS", 3)
    model = layer((14, 24))
    plan = CompressedPlanner(model.network, engine(model), 2).plan()
    assert max(instr.slots for instr in plan.program.instructions if instr.op == "MAC") == 3
    assert check(plan) > 0
    plan_scenario(model, plan, [(5, True), (2, False)])


def test_more_zeros_take_less_time():
    cycles = []
    for zeros in (0, 0.4, 0.7):
        model = layer((16, 32), (zeros, zeros))
        plan = CompressedPlanner(model.network, engine(model), 2).plan()
        cycles.append(plan_scenario(model, plan, [(8, True)]).runs[-1].counters["cycles"])
    assert cycles == sorted(cycles, reverse=True) and cycles[2] < 0.6 * cycles[0]


def test_denser_weights_than_planned():
    model = layer(zeros=(0.5, 0.5))
    config = engine(model)
    plan = CompressedPlanner(model.network, config, 2).plan()
    words = np.maximum(pack(plan.image, model.layers, config), 1)
    with pytest.raises(FormatError, match="segment"):
        to_bytes(words, config, plan.image)


def test_refuses_what_does_not_fit():
    model = layer()
    config = engine(model)
    for values, subject in (
        ({"decoder": "off"}, "engine.decoder"),
        ({"contexts": 2}, "engine.contexts"),
        ({"accumulators": 30}, "engine.accumulators"),
        ({"weight_words": 64}, "engine.weight_words"),
    ):
        with pytest.raises(ConfigError) as error:
            CompressedPlanner(model.network, replace(config, **values), 2)
        assert error.value.subject == subject
    with pytest.raises(ConfigError, match="batch"):
        CompressedPlanner(model.network, config, 1)
    for sizes, found in (((30, 24), "30 inputs"), ((28, 18), "18 units")):
        odd = layer(sizes)
        with pytest.raises(ConfigError, match=f"{found}; must be a multiple of 4 for eSELL"):
            CompressedPlanner(odd.network, engine(odd, decoder="esell"), 2)
    with pytest.raises(ConfigError, match="as they are"):
        BatchPlanner(model.network, config, 2, 1).plan()


STACKS = [
    ((28, 24), 4, 3, True, "bitmap", None),
    ((3, 48), 3, 14, True, "bitmap", None),  # no part of W_x for each step
    ((28, 24, 12), 2, 0, False, "bitmap", None),
    ((7, 13, 30, 5), 3, 3, True, "bitmap", None),
    ((8, 12, 36), 3, 3, False, "esell", None),
    ((28, 24), 4, 3, True, "bitmap", 40_000),
    ((28, 24, 12), 4, 3, False, "bitmap", 40_000),
    ((8, 12, 36), 3, 0, False, "esell", 0),
    ((8, 12, 36, 16), 3, 3, True, "bitmap", 40_000),
]


def stack(sizes, batch, head, every, decoder, least):
    model = layer(sizes, head=head, head_every_step=every)
    if least is not None:
        model = leaving_out(model, least)
    config = engine(model, decoder=decoder, program_length=512, h_elements=512)
    return model, CompressedPlanner(model.network, config, batch).plan()


@pytest.mark.parametrize("case", STACKS)
def test_stacks_that_go_on(case):
    """Each with the bits of the integer LSTM; every segment once a batch or step, but for groups that are left out."""
    (model, plan), batch = stack(*case), case[1]
    assert check(plan) > 0
    runs = [(2 * batch + 1, True), (1, False), (batch, False), (2, True)]
    played = plan_scenario(model, plan, runs, MemoryModel(20, 1)).runs[-len(runs) :]
    of_x, of_h = beats_of(plan)
    most = [-(-steps // batch) * of_x + steps * of_h for steps, _ in runs]
    found = [run.counters["read_beats"] for run in played]
    assert found == most if not case[-1] else all(few < many for few, many in zip(found, most, strict=True))


def test_groups_that_are_taken_to_be_kept_wherever_h_is():
    """Shares of each layer in each step, also where the h of a batch is kept."""
    model, plan = stack((8, 12, 36), 3, 3, True, "bitmap", 40_000)
    assert plan.places == (3, 3)
    shares = (1 / 3, 2 / 3)
    assumed = replace(plan, network=replace(plan.network, activity=shares))
    below, above = model.network.layers[:2]
    words = below.blocks(12) * below.outputs * shares[0] + above.blocks(12) * above.outputs * shares[1]
    for steps in (1, 3, 7):
        (read,) = words_read(assumed, [(steps, True)])
        assert read["h"] == steps * words
    dense, sparse = (columns_by_layer(a, 6) for a in (plan, assumed))
    assert dense[0] - sparse[0] == 6 * below.blocks(12) * below.outputs * 2 / 3
    assert dense[1] - sparse[1] == 6 * above.blocks(12) * above.outputs / 3
    assert dense[2:] == sparse[2:]


def test_segments_divide_the_columns():
    for columns in range(1, 100):
        width = segment_columns(columns, 43)
        assert columns % width == 0
        assert width * 43 >= 128 or width == columns
