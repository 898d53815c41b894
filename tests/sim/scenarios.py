"""Scenarios of random networks: what the emitted Verilog must answer, from the integer LSTM and the interpreter."""

import numpy as np

from lstm_hw.machine.pack import pack, to_bytes
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.proof.interpreter import Interpreter
from lstm_hw.verify.scenario import BENCH_MEMORY, Run, Scenario, Stress, pack_beats
from tests.builders import IntegerNetwork, config_of, interleaved, random_network, random_x


def plan_scenario(model, plan, runs, memory, seed=1):
    """Pieces of sequences, each (steps, clear), through the layers of a plan or stack, behind its load entry if any.

    Outputs come from :class:`tests.builders.IntegerNetwork`, counters from the interpreter, whose outputs must be the
    same.
    """
    config, rng = plan.config, np.random.default_rng(seed)
    words = pack(plan.image, model.layers, config)
    interpreter = Interpreter(config, plan.program, words, memory)
    sequences = plan.plans[0].sequences
    networks = [IntegerNetwork(model, config) for _ in range(sequences)]
    found = [loaded(plan, interpreter)] if "load" in plan.program.entries else []
    done = 0
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
            packets = part.packets(h, done)
            beats, lasts = pack_beats(x, config, part.x_order)
            entry = plan.entry(n, done)
            assert interpreter.run(entry, steps, clear, beats) == packets
            found.append(
                Run(
                    plan.program.entries[entry],
                    steps,
                    clear,
                    beats,
                    lasts,
                    packets,
                    interpreter.timing.counters.to_dict(),
                )
            )
            x = h
        done += steps
    return Scenario(config, plan.program.encoded(), to_bytes(words, config), found)


def loaded(plan, interpreter):
    """The run of the load entry."""
    assert interpreter.run("load") == []
    nothing = np.zeros((0, plan.config.x_per_beat), dtype=np.int64)
    counters = interpreter.timing.counters.to_dict()
    return Run(plan.program.entries["load"], 1, False, nothing, nothing[:, 0], [], counters)


def network_scenario(seed, sizes, steps, head=0, head_every_step=False, stress=None, **fields):
    """A random network that is loaded and then runs once for each entry of ``steps``.

    The first run and every third one start from zero state; the others go on where the one before ended. Outputs
    come from :class:`tests.builders.IntegerNetwork`, counters from the interpreter, whose outputs must be the same.
    """
    rng = np.random.default_rng(seed)
    widths = {name: fields.get(name, 16) for name in ("weight_bits", "operand_bits")}
    model = random_network(rng, sizes, head, head_every_step, **widths)
    config = config_of(**fields, shifts=model.shifts)
    plan = ResidentPlanner(model.network, config).plan()
    words = pack(plan.image, model.layers, config)
    interpreter = Interpreter(config, plan.program, words, BENCH_MEMORY)
    contexts = [IntegerNetwork(model, config) for _ in range(config.contexts)]
    entries = plan.program.entries

    runs = [loaded(plan, interpreter)]
    for number, count in enumerate(steps):
        clear = number % 3 == 0
        x = random_x(rng, config.contexts, count, sizes[0], config.operand_bits)
        if clear:
            for context in contexts:
                context.clear()
        outputs = interleaved([context.run(vectors) for context, vectors in zip(contexts, x, strict=True)], head)
        beats, lasts = pack_beats(x, config)
        assert interpreter.run("run", count, clear, beats) == outputs
        runs.append(Run(entries["run"], count, clear, beats, lasts, outputs, interpreter.timing.counters.to_dict()))
    return Scenario(config, plan.program.encoded(), to_bytes(words, config), runs, stress or Stress())


def streaming_scenario(seed, inputs, units, steps, batch, pinned, tile_columns, stress=None, **fields):
    """Two runs of a random layer whose W_x streams from memory in each; the second goes on from the first."""
    widths = {name: fields.get(name, 16) for name in ("weight_bits", "operand_bits")}
    model = random_network(np.random.default_rng(seed), (inputs, units), **widths)
    config = config_of(**fields, shifts=model.shifts)
    plan = BatchPlanner(model.network, config, steps, batch, pinned, tile_columns=tile_columns).plan()
    scenario = plan_scenario(model, plan, ((steps, True), (steps, False)), BENCH_MEMORY, seed)
    scenario.stress = stress or Stress()
    return scenario
