"""Small scenarios for the self-test."""

import numpy as np

from lstm_hw.machine.pack import pack, to_bytes
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.proof.interpreter import Interpreter
from lstm_hw.verify.scenario import Run, Scenario, pack_beats
from tests.builders import config_of, random_network, random_x


def small_scenario(vectors=3, steps=5, seed=1, sizes=(3, 10), head=4, **config):
    """A random network, its program and image, a load and some runs from zero state."""
    rng = np.random.default_rng(seed)
    model = random_network(rng, sizes, head)
    config = config_of(shifts=model.shifts, **config)
    plan = ResidentPlanner(model.network, config).plan()
    words = pack(plan.image, model.layers, config)
    interpreter = Interpreter(config, plan.program, words)
    entries = plan.program.entries
    nothing = np.zeros((0, config.x_per_beat), int), np.zeros(0, int)
    runs = [Run(entries["load"], 1, False, *nothing, interpreter.run("load"))]
    for _ in range(vectors):
        x, lasts = pack_beats(random_x(rng, config.contexts, steps, sizes[0]), config)
        outputs = interpreter.run("run", steps, True, x)
        runs.append(Run(entries["run"], steps, True, x, lasts, outputs, interpreter.timing.counters.to_dict()))
    return Scenario(config, plan.program.encoded(), to_bytes(words, config), runs)
