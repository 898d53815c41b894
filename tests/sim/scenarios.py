"""Scenarios of random networks: what the emitted Verilog must answer, from the integer LSTM and the interpreter."""

import numpy as np

from lstm_hw.machine.pack import pack
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.verify.runs import Piece, scenario_of
from lstm_hw.verify.scenario import BENCH_MEMORY
from tests.builders import IntegerReference, config_of, random_network, random_x


def plan_scenario(model, plan, runs, memory=BENCH_MEMORY, seed=1, stress=None):
    """Runs of random x, each (steps, clear), behind the plan's load entry if it has one.

    Outputs come from :class:`tests.builders.IntegerNetwork`, counters from the interpreter, whose outputs must be the
    same.
    """
    rng, inputs = np.random.default_rng(seed), model.network.layers[0].inputs
    bits = plan.config.operand_bits
    pieces = [Piece(random_x(rng, plan.sequences, steps, inputs, bits), clear) for steps, clear in runs]
    words = pack(plan.image, model.layers, plan.config)
    return scenario_of(plan, words, IntegerReference(model, plan), pieces, memory, stress)


def network_scenario(
    seed, sizes, steps, head=0, head_every_step=False, stress=None, lifts=((0, 0),), row_bits=0, skip=False, **fields
):
    """A random network that is loaded and then runs once for each entry of ``steps``.

    The first run and every third one start from zero state; the others go on where the one before ended.
    """
    widths = {name: fields.get(name, 16) for name in ("weight_bits", "operand_bits")}
    rng = np.random.default_rng(seed)
    model = random_network(rng, sizes, head, head_every_step, **widths, lifts=lifts, row_bits=row_bits, skip=skip)
    plan = ResidentPlanner(model.network, config_of(**fields, **model.factors)).plan()
    runs = [(count, number % 3 == 0) for number, count in enumerate(steps)]
    return plan_scenario(model, plan, runs, seed=seed, stress=stress)


def streaming_scenario(seed, inputs, units, steps, batch, pinned, tile_columns, stress=None, **fields):
    """Two runs of a random layer whose W_x streams from memory in each; the second, of half the steps, goes on from the
    first."""
    widths = {name: fields.get(name, 16) for name in ("weight_bits", "operand_bits")}
    model = random_network(np.random.default_rng(seed), (inputs, units), **widths)
    config = config_of(**fields, shifts=model.shifts)
    plan = BatchPlanner(model.network, config, batch, pinned, tile_columns=tile_columns).plan()
    return plan_scenario(model, plan, ((steps, True), (steps // 2, False)), seed=seed, stress=stress)
