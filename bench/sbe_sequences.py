"""SBE's third case with a batch of sequences: W_h from memory, used for the whole batch (part of ``make bench-sbe``).

The published schedule fetches part of W_h at every time step and uses it once
(:mod:`lstm_hw.plan.sbe_model`, equations (5) and (6)). :class:`lstm_hw.plan.rowblock.RowBlockPlanner`
uses every word for all sequences, so nothing of the weights has to stay on chip.
"""

from lstm_hw.machine.config import EngineConfig
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sbe_model import alpha, knee, peak_rate, stream_rate, throughput
from lstm_hw.plan.sizing import accumulator_bits, engine_formats, network_of
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.cycles import STALLS
from lstm_hw.proof.load_timing import MemoryModel

from .table import Row
from .verilog import play
from .workloads import random_model

SOURCE = "Que et al., 2020"
ENGINE = {"rows": 128, "contexts": 7, "cells": 5, "axi_data_bits": 1024, "x_per_beat": 8}
GROUPS = 4
CLOCK = 142
"""MHz: that of the published Zynq 7Z045 design."""
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
        **engine,
        **engine_formats(model),
        accumulator_bits=accumulator_bits(network, 16),
        shifts=tuple(shape.shift for shape in network.layers),
        h_elements=2 * groups * stride,
        x_elements=2 * groups * x_stride,
        states=groups * engine["contexts"] * stride,
        accumulators=1 + groups,
        finish_entries=2 * groups,
        weight_words=1024,
    )
    return model, RowBlockPlanner(network, config, groups).plan(), x[:, :steps]


def measure(layer, folder, **fields):
    """Prove, estimate and simulate; returns the plan and the counters that the Verilog gave.

    Raises
    ------
    ProgramError, VerificationError
        The program is not proved, or Verilog, interpreter and reference differ.
    """
    model, plan, x = planned(layer, **fields)
    return plan, play("case3", model, plan, x, MEMORY, folder, steps_checked=1)


def rows(plan, counters, steps, dsp):
    """Rows of config ``case3``; published is what SBE's equation (5) allows with the same lanes, port and buffer."""
    config, cycles, macs = plan.config, counters["cycles"], plan.network.macs(steps) * plan.sequences
    gops, beat = 2 * macs / cycles * CLOCK / 1000, config.beat_bytes
    layer = plan.network.layers[0]
    share = alpha(layer, config.weight_words * config.word_bytes, config.weight_bits)
    peak = peak_rate(config)
    published = throughput(peak, stream_rate(config, MEMORY), knee(config, MEMORY), share)
    first = count_cycles(plan, 1, memory=MEMORY).to_dict()
    figures = {
        "lanes": (config.lanes, "lanes"),
        "dsp": (dsp, "slices"),
        "sequences": (plan.sequences, "sequences"),
        "cycles": (cycles, "cycles"),
        "lane_utilisation": (100 * macs / (cycles * config.lanes), "% of lane-cycles, start to done"),
        "interstep_stall_cycles": (max(0, sum(counters[name] - first[name] for name in STALLS)), "cycles"),
        "gops": (gops, f"GOPS at {CLOCK} MHz"),
        "gops_per_dsp": (gops / dsp, "GOPS"),
        "dram_bytes": (counters["read_beats"] * beat, "bytes"),
        "port_bandwidth": (beat / MEMORY.interval * CLOCK / 1000, "GB/s at most"),
        "used_bandwidth": (counters["read_beats"] * beat / cycles * CLOCK / 1000, "GB/s on average"),
        "limiting_bandwidth": (config.word_bytes / plan.groups * CLOCK / 1000, "GB/s below which the lanes wait"),
    }
    source = f"emitted Verilog; memory latency {MEMORY.latency} cycles; published: equation (5), {SOURCE}"
    return [
        Row(metric, "case3", value, unit, 100 * published / peak if metric == "lane_utilisation" else None, source)
        for metric, (value, unit) in figures.items()
    ]
