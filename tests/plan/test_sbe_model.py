"""The published equations against hand-made figures and against each other, and the choice of case and batch."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.machine.network import LayerShape
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.plan.sbe_model import (
    alpha,
    bound,
    knee,
    operations,
    peak_rate,
    plan_batch,
    stream_rate,
    tail_columns,
    throughput,
)
from lstm_hw.proof.checker import check
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel
from tests.builders import config_of, random_network

LRCN = LayerShape("lstm", 1792, 256, 15)


def test_rates_of_an_engine():
    config = config_of(rows=128, contexts=7, x_per_beat=8, axi_data_bits=512)
    assert operations(LRCN) == 8 * 256 * (1792 + 256) == 2 * 1 << 21
    assert peak_rate(config) == 2 * 896
    # 512 bits bring 32 weights a cycle, each for seven sequences: 448 operations.
    assert stream_rate(config, MemoryModel()) == 448
    assert stream_rate(config, MemoryModel(interval=2)) == 224
    assert knee(config, MemoryModel()) == 4 == config.beats_per_word


def test_share_that_is_fetched_once():
    w_h = 4 * 256 * 256 * 2
    assert alpha(LRCN, 0, 16) == 1792 / 2048
    assert alpha(LRCN, w_h, 16) == 1
    assert alpha(LRCN, w_h / 4, 16) == (1792 + 64) / 2048
    assert alpha(LRCN, w_h, 8) == 1  # eight-bit weights take half the bytes


def test_equations():
    assert throughput(1000, 100, 10) == throughput(1000, 100, 99) == 1000  # (2)
    assert throughput(1000, 100, 4) == 400  # (3)
    assert throughput(1000, 100, 10, 0.75) == pytest.approx(1000 * 100 / (0.75 * 100 + 0.25 * 1000))  # (5)
    assert throughput(1000, 100, 5, 0.75) == pytest.approx(5 * 100 / (0.75 + 0.25 * 5))  # (6)
    assert throughput(1000, 100, 5, 0) == pytest.approx(100)
    assert throughput(1000, 4000, 1, 0.75) == 1000  # a stream faster than the lanes is no limit


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_equations_meet_at_the_knee(share):
    below, above = (throughput(1000, 100, batch, share) for batch in (10 - 1e-9, 10))
    assert below == pytest.approx(above)


def network(inputs=96, hidden=32):
    model = random_network(np.random.default_rng(1), (inputs, hidden))
    config = config_of(
        rows=16,
        contexts=2,
        x_per_beat=2,
        x_elements=16 * inputs,
        h_elements=64,
        states=64,
        weight_words=2048,
        accumulators=129,
        shifts=model.shifts,
    )
    return model.network, config


def test_published_equation_is_met_where_memory_limits():
    """Batches below the knee: the part that streams costs what equation (3) says, to a few per cent."""
    net, config = network()
    memory = MemoryModel(latency=20, interval=8)
    layer, steps = net.layers[0], 16
    assert knee(config, memory) == 32
    for batch in (1, 2, 4):
        planner = BatchPlanner(net, config, batch, 1)
        cycles = count_cycles(planner.plan(), steps, memory=memory).cycles
        streamed = (layer.inputs - planner.layers[0].pinned) / layer.columns * operations(layer) * 2 * steps
        rest = operations(layer) * 2 * steps - streamed
        n_pe, n_t = peak_rate(config), stream_rate(config, memory)
        assert cycles == pytest.approx(streamed / throughput(n_pe, n_t, batch) + rest / n_pe, rel=0.15)


@pytest.mark.parametrize("case", [1, 2, 3])
@pytest.mark.parametrize("pinned", [1, 20])
@pytest.mark.parametrize("interval", [1, 12])
def test_nothing_beats_the_bound(case, pinned, interval):
    net, config = network()
    memory = MemoryModel(10, interval)
    for batch in (1, 4, 16):
        planner = BatchPlanner(net, config, batch, pinned, case)
        assert bound(planner, memory, 16) <= count_cycles(planner.plan(), 16, memory=memory).cycles


def test_chooses_case_one_where_all_fits():
    net, config = network()
    choice = plan_batch(net, config, 16)
    assert choice.planner.case == 1 and choice.planner.batch > 1
    assert choice.planner.layers[0].pinned >= tail_columns(net.layers[0], config)
    assert choice.reason.startswith("case 1, B = ")
    assert check(choice.plan) > 0
    assert choice.counters == count_cycles(choice.plan, 16, memory=MemoryModel())


def test_smaller_buffers_and_slower_memory_change_the_choice():
    net, config = network()
    memory = MemoryModel(20, 2)
    chosen = [plan_batch(net, replace(config, weight_words=words), 16, memory=memory) for words in (2048, 360, 300)]
    assert [choice.planner.case for choice in chosen][0::2] == [1, 3]
    cycles = [choice.counters.cycles for choice in chosen]
    assert cycles == sorted(cycles) and cycles[0] < cycles[-1]
    assert "case 1 does not fit (engine.weight_words: 300" in chosen[-1].reason
    assert "columns of W_h stay on chip" in chosen[-1].reason


def test_choice_is_the_best_of_all_batches():
    net, config = network(40, 16)
    memory = MemoryModel(20, 6)
    best = plan_batch(net, config, 8, memory=memory)
    every = [
        plan_batch(net, config, 8, batch, case, memory=memory).counters.cycles
        for batch in (1, 2, 4, 8)
        for case in (1, 2, 3)
    ]
    assert best.counters.cycles <= min(every) * 1.02
    assert max(every) > 1.1 * min(every)


def test_does_what_the_user_says():
    net, config = network()
    choice = plan_batch(net, config, 16, batch=2, case=2, pinned=5)
    assert (choice.planner.batch, choice.planner.case) == (2, 2)
    assert 5 <= choice.planner.layers[0].pinned < 5 + choice.planner.layers[0].tile
    assert plan_batch(net, config, 16, batch=3, case=1).counters.cycles > 0  # the last batch is shorter
    with pytest.raises(ConfigError, match="engine.weight_words: 100; must be at least"):
        plan_batch(net, replace(config, weight_words=100), 16, case=1)
    with pytest.raises(ConfigError, match="case: 4"):
        plan_batch(net, config, 16, case=4)
