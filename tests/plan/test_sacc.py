"""SACC: proved by the checker, the bits of an integer LSTM, half of W_h a step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_hw.errors import ConfigError
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from tests.builders import config_of, random_network
from tests.sim.scenarios import plan_scenario


def engine(model, **fields):
    values = {
        "rows": 8,
        "contexts": 2,
        "h_elements": 64,
        "x_elements": 256,
        "states": 64,
        "weight_words": 1024,
        "accumulators": 128,
        "program_length": 256,
    }
    return config_of(**values | fields, shifts=model.shifts)


def run_pieces(model, plan, pieces, seed=0, memory=None):
    """Runs of (steps, clear); bits must be those of an integer LSTM. Returns the interpreter's words read a run."""
    runs = plan_scenario(model, plan, pieces, memory or MemoryModel(), seed).runs[1:]
    return [run.counters["read_beats"] // plan.config.beats_per_word for run in runs]


@settings(max_examples=25, deadline=None)
@given(
    inputs=st.integers(1, 20),
    hidden=st.integers(1, 18),
    rows=st.sampled_from((4, 8, 16)),
    seed=st.integers(0, 99),
    pinned=st.integers(0, 2),
    contexts=st.sampled_from((2, 4, 6)),
    pieces=st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=4),
)
def test_bits_of_any_size_in_pieces(inputs, hidden, rows, seed, pinned, contexts, pieces):
    model = random_network(np.random.default_rng(seed), (inputs, hidden))
    config = engine(model, rows=rows, contexts=contexts, x_per_beat=2)
    pinned = min(pinned, -(-hidden // (rows // 4)))
    plan = SaccPlanner(model.network, config, pinned=pinned).plan()
    check(plan)
    run_pieces(model, plan, [(pieces[0][0], True), *pieces[1:]], seed)


@settings(max_examples=25, deadline=None)
@given(
    inputs=st.integers(1, 20),
    hidden=st.integers(1, 18),
    batch=st.sampled_from((2, 3, 5, 6)),
    pinned=st.integers(0, 2),
    contexts=st.sampled_from((2, 4)),
    seed=st.integers(0, 99),
    pieces=st.lists(st.tuples(st.integers(1, 14), st.booleans()), min_size=1, max_size=4),
)
def test_bits_with_a_batch_of_steps(inputs, hidden, batch, pinned, contexts, seed, pieces):
    """Any number of steps: the last batch of a run may be shorter, and the next run may begin with an odd step."""
    model = random_network(np.random.default_rng(seed), (inputs, hidden))
    config = engine(model, contexts=contexts)
    pinned = min(pinned, -(-hidden // 2))
    plan = SaccPlanner(model.network, config, batch, pinned).plan()
    check(plan, 2 * batch + 1)
    run_pieces(model, plan, [(pieces[0][0], True), *pieces[1:]], seed)


@pytest.mark.parametrize("pinned", [0, 1, 3])
def test_traffic_is_half_of_the_matrix_a_step(pinned):
    """A gate's words of W_h over an even number of steps: (n^2 - pinned) / 2 a step."""
    model = random_network(np.random.default_rng(1), (5, 12))
    plan = SaccPlanner(model.network, engine(model), pinned=pinned).plan()
    steps = 6
    (words,) = run_pieces(model, plan, [(steps, True)], memory=MemoryModel(20))
    tile, blocks, n = 2, 6, 12  # units a row block; a word holds the four gates of them
    of_x = steps * blocks * 5
    assert (words - of_x) * tile == steps * (n * n - pinned * tile * n) // 2


@pytest.mark.parametrize("steps, batch", [(8, 4), (6, 4), (9, 4), (9, 3), (7, 5)])
def test_w_x_is_read_once_a_batch(steps, batch):
    model = random_network(np.random.default_rng(1), (5, 12))
    plan = SaccPlanner(model.network, engine(model), batch).plan()
    (words,) = run_pieces(model, plan, [(steps, True)])
    down, up = (tiles * 2 * 2 for tiles in (21, 15))  # tiles of two columns; a gate's words of two units
    assert words == -(-steps // batch) * 6 * 5 + (-(-steps // 2) * down + steps // 2 * up) // 2


def test_refuses_what_does_not_fit():
    model = random_network(np.random.default_rng(1), (5, 12))
    with pytest.raises(ConfigError, match="engine.contexts"):
        SaccPlanner(model.network, engine(model, contexts=3))
    with pytest.raises(ConfigError, match="batch: 0; must be at least 1"):
        SaccPlanner(model.network, engine(model), 0)
    with pytest.raises(ConfigError, match="engine.weight_words"):
        SaccPlanner(model.network, engine(model, weight_words=16))
    with pytest.raises(ConfigError, match="pinned"):
        SaccPlanner(model.network, engine(model), pinned=7)
