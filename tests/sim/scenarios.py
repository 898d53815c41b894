"""Scenarios of random networks: what the emitted Verilog must answer, from the integer LSTM and the interpreter."""

import numpy as np

from lstm_hw.machine.pack import pack, to_bytes
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.plan.stack import Stack
from lstm_hw.proof.interpreter import Interpreter
from lstm_hw.verify.runs import Piece, scenario_of
from lstm_hw.verify.scenario import BENCH_MEMORY, Run, Scenario
from tests.builders import IntegerNetwork, IntegerReference, config_of, random_network, random_x


def plan_scenario(model, plan, runs, memory=BENCH_MEMORY, seed=1, stress=None):
    """Runs of random x, each (steps, clear), behind the plan's load entry if it has one.

    Outputs come from :class:`tests.builders.IntegerNetwork`, counters from the interpreter, whose outputs must be the
    same.
    """
    if isinstance(plan, Stack):
        return stack_scenario(model, plan, runs, memory, seed)
    rng, inputs = np.random.default_rng(seed), model.network.layers[0].inputs
    bits = plan.config.operand_bits
    pieces = [Piece(random_x(rng, plan.sequences, steps, inputs, bits), clear) for steps, clear in runs]
    words = pack(plan.image, model.layers, plan.config)
    return scenario_of(plan, words, IntegerReference(model, plan), pieces, memory, stress)


def stack_scenario(model, plan, runs, memory, seed):
    """As :func:`plan_scenario`, through the entries of a Stack's layers one after the other."""
    config, rng = plan.config, np.random.default_rng(seed)
    words = pack(plan.image, model.layers, config)
    interpreter = Interpreter(config, plan.program, words, memory)
    sequences = plan.plans[0].sequences
    networks = [IntegerNetwork(model, config) for _ in range(sequences)]
    assert interpreter.run("load") == []
    nothing, counters = np.zeros((0, config.x_per_beat), dtype=np.int64), interpreter.timing.counters.to_dict()
    found, done = [Run(plan.program.entries["load"], 1, False, nothing, nothing[:, 0], [], counters)], 0
    for steps, clear in runs:
        x = random_x(rng, sequences, steps, model.network.layers[0].inputs, config.operand_bits)
        if clear:
            done = 0
            for network in networks:
                network.clear()
        outputs = [np.zeros((sequences, steps, layer.outputs), dtype=np.int64) for layer in model.network.lstm]
        for sequence, step in np.ndindex(sequences, steps):
            networks[sequence].run(x[sequence, step : step + 1])
            for layer, h in zip(outputs, networks[sequence].h, strict=True):
                layer[sequence, step] = h
        for n, (part, h) in enumerate(zip(plan.plans, outputs, strict=True)):
            packets, (beats, lasts), entry = part.packets(h, done), part.beats(x), plan.entry(n, done)
            assert interpreter.run(entry, steps, clear, beats) == packets
            counters = interpreter.timing.counters.to_dict()
            found.append(Run(plan.program.entries[entry], steps, clear, beats, lasts, packets, counters))
            x = h
        done += steps
    return Scenario(config, plan.program.encoded(), to_bytes(words, config), found, memory=memory)


def network_scenario(seed, sizes, steps, head=0, head_every_step=False, stress=None, **fields):
    """A random network that is loaded and then runs once for each entry of ``steps``.

    The first run and every third one start from zero state; the others go on where the one before ended.
    """
    widths = {name: fields.get(name, 16) for name in ("weight_bits", "operand_bits")}
    model = random_network(np.random.default_rng(seed), sizes, head, head_every_step, **widths)
    plan = ResidentPlanner(model.network, config_of(**fields, shifts=model.shifts)).plan()
    runs = [(count, number % 3 == 0) for number, count in enumerate(steps)]
    return plan_scenario(model, plan, runs, seed=seed, stress=stress)


def streaming_scenario(seed, inputs, units, steps, batch, pinned, tile_columns, stress=None, **fields):
    """Two runs of a random layer whose W_x streams from memory in each; the second goes on from the first."""
    widths = {name: fields.get(name, 16) for name in ("weight_bits", "operand_bits")}
    model = random_network(np.random.default_rng(seed), (inputs, units), **widths)
    config = config_of(**fields, shifts=model.shifts)
    plan = BatchPlanner(model.network, config, batch, pinned, tile_columns=tile_columns).plan()
    return plan_scenario(model, plan, ((steps, True), (steps, False)), seed=seed, stress=stress)
