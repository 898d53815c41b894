"""SBE's third case with a batch of sequences: W_h from memory, used for the whole batch (part of ``make bench-sbe``).

The published schedule fetches part of W_h at every time step and uses it once
(:mod:`lstm_hw.plan.sbe_model`, equations (5) and (6)). :class:`lstm_hw.plan.rowblock.RowBlockPlanner`
uses every word for all sequences, so nothing of the weights has to stay on chip.
"""

from lstm_hw.config import EngineConfig
from lstm_hw.emit import write_verilog
from lstm_hw.errors import VerificationError
from lstm_hw.gateware.top import Top
from lstm_hw.image.pack import pack, to_bytes
from lstm_hw.model.reference import integer_reference
from lstm_hw.plan.checker import check
from lstm_hw.plan.interpreter import Interpreter
from lstm_hw.plan.load_timing import MemoryModel
from lstm_hw.plan.rowblock import RowBlockPlanner, packets_of
from lstm_hw.plan.sizing import accumulator_bits, engine_formats, network_of
from lstm_hw.plan.timing import Timing
from lstm_hw.scenario import Run, Scenario, pack_beats
from sim.scale import run_scale

from .workloads import random_model

ENGINE = {"rows": 128, "contexts": 7, "cells": 5, "axi_data_bits": 1024, "x_per_beat": 8}
GROUPS = 4
STEPS = 32
"""Time steps of a sequence."""
MEMORY = MemoryModel(latency=40)


def planned(layer, engine=None, groups=GROUPS, steps=STEPS, activation="pwl"):
    """Model, plan and inputs.

    Returns
    -------
    QuantModel, Plan, int array (groups * contexts, steps, Lx)
    """
    engine = engine or ENGINE
    model, x = random_model(layer, engine["contexts"] * groups, activation)
    network = network_of(model)
    block = engine["rows"] // 4
    stride = -(-layer.hidden // block) * block
    x_stride = -(-layer.input // engine["x_per_beat"]) * engine["x_per_beat"]
    config = EngineConfig(
        **engine, **engine_formats(model), accumulator_bits=accumulator_bits(network, 16),
        shifts=tuple(shape.shift for shape in network.layers), h_elements=2 * groups * stride,
        x_elements=2 * groups * x_stride, states=groups * engine["contexts"] * stride, accumulators=1 + groups,
        finish_entries=2 * groups, weight_words=1024)
    return model, RowBlockPlanner(network, config, groups).plan(), x[:, :steps]


def scenario_of(model, plan, x, memory):
    """The run as a scenario: outputs from the integer reference, counters from the interpreter, which must agree."""
    config, steps = plan.config, x.shape[1]
    words = pack(plan.image, model.layers, config)
    beats, lasts = pack_beats(x, config)
    interpreter = Interpreter(config, plan.program, words, memory)
    packets = interpreter.run("run", steps, True, beats)
    if packets != packets_of(integer_reference(model, x)[0], plan):
        raise VerificationError("case3", "interpreter and integer reference differ", "must be equal in every bit")
    return Scenario(config, plan.program.encoded(), to_bytes(words, config),
                    [Run(plan.program.entries["run"], steps, True, beats, lasts, packets,
                         interpreter.timing.counters.to_dict())])


def estimate(plan, steps, memory):
    """Counters of a run of ``steps`` from zero state."""
    timing = Timing(plan.config, memory)
    for command in plan.program.run("run", steps, True):
        timing.execute(command)
    return timing.counters


def simulate(layer, folder, engine=None, groups=GROUPS, steps=STEPS, memory=MEMORY, progress=None):
    """Prove, estimate and simulate; returns the plan and the counters that the Verilog gave.

    Raises
    ------
    ProgramError, VerificationError
        The program is not proved, or Verilog, interpreter and reference differ.
    """
    model, plan, x = planned(layer, engine, groups, steps)
    check(plan, steps=2)
    scenario = scenario_of(model, plan, x, memory)
    verilog = write_verilog(f"{folder}/lstm_engine.v", Top(plan.config), "lstm_engine")
    counters, = run_scale(folder, scenario, verilog, memory, progress=progress)
    return plan, counters
