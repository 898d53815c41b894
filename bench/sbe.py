"""SBE at full size (``python -m bench.sbe``): weights in memory, blocking-batching, beside the published figures.

Que et al., "Efficient Weight Reuse for Large LSTMs", ASAP 2019: LRCN activity recognition, 32 frames a sample, 16 bits.
The emitted Verilog runs the whole workload under Verilator on a memory model of stated latency and bandwidth; outputs
must equal the integer reference and counters the estimate, or the bench fails.
"""

import sys
from dataclasses import dataclass, field, replace

import click

from lstm_hw.activation import make_activation
from lstm_hw.cli import progress
from lstm_hw.config import EngineConfig
from lstm_hw.emit import write_verilog
from lstm_hw.errors import LstmHwError, VerificationError
from lstm_hw.gateware.top import Top
from lstm_hw.image.pack import pack, to_bytes
from lstm_hw.model.reference import integer_reference
from lstm_hw.plan.checker import check
from lstm_hw.plan.interpreter import Interpreter
from lstm_hw.plan.load_timing import MemoryModel
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.plan.sizing import accumulator_bits, engine_formats, network_of
from lstm_hw.scenario import Run, Scenario, pack_beats
from sim.scale import run_scale

from .table import FOLDER, Row, text, update
from .workloads import random_model, workload

RESULT = f"{FOLDER}/sbe.json"
SOURCE = "Que et al., ASAP 2019"


@dataclass(frozen=True)
class Case:
    """An engine for a published device, and what was published for that device.

    Parameters
    ----------
    name, workload : str
    engine : dict
        Fields of EngineConfig.
    batch, pinned : int
        See BatchPlanner.
    weight_words : int, optional
        Depth of the weight buffer; what stays on chip and a ring of 2048 words if not given.
    sbe_case : int
        How W_h lives, see BatchPlanner.
    clock : int
        Published clock, MHz.
    dsp_limit : int
        DSP slices that the published design used.
    published : dict of metric to number
    memory : MemoryModel
    """

    name: str
    workload: str
    engine: dict
    batch: int
    pinned: int
    clock: int
    dsp_limit: int
    published: dict = field(default_factory=dict)
    memory: MemoryModel = MemoryModel(latency=40)
    sbe_case: int = 1
    weight_words: int | None = None


CASES = (
    Case("lrcn/zynq7045", "lrcn", {"rows": 128, "contexts": 7, "cells": 2, "axi_data_bits": 512, "x_per_beat": 8},
         batch=8, pinned=345, clock=142, dsp_limit=900,
         published={"lane_utilisation": 86.5, "gops": 221, "gops_per_dsp": 0.246}),
    Case("lrcn/virtex690t", "lrcn", {"rows": 256, "contexts": 8, "cells": 5, "axi_data_bits": 512, "x_per_beat": 8},
         batch=16, pinned=345, clock=125, dsp_limit=2060,
         published={"lane_utilisation": 69.1, "gops": 356, "gops_per_dsp": 0.173}),
)
MULTIPLIERS = {"quadratic64": 2, "quadratic128": 2, "pwl": 1}
"""Multipliers of an activation unit."""
RING_WORDS = 2048


def dsp_slices(config):
    """DSP slices: one a lane or pair of 8-bit lanes, and in every cell the activation's and one for the products."""
    make_activation(config.activation, config.preact, config.activated)
    return config.lanes // config.lanes_per_dsp + config.cells * (MULTIPLIERS[config.activation] + 1)


def planned(case, layer, activation="pwl"):
    """Model, plan and inputs of a case.

    Returns
    -------
    QuantModel, Plan, int array (K, steps, Lx)
    """
    contexts = case.engine["contexts"]
    model, x = random_model(layer, contexts, activation)
    network = network_of(model)
    config = EngineConfig(
        **case.engine, **engine_formats(model), accumulator_bits=accumulator_bits(network, 16),
        shifts=tuple(shape.shift for shape in network.layers), h_elements=layer.hidden, states=layer.hidden * contexts,
        accumulators=1 + case.batch * network.layers[0].blocks(case.engine["rows"]),
        weight_words=case.weight_words or 1 << 16, x_elements=case.batch * layer.input)
    if case.weight_words is None:
        words = BatchPlanner(network, config, layer.steps, case.batch, case.pinned, case.sbe_case).resident_words
        config = replace(config, weight_words=words + RING_WORDS)
    return model, BatchPlanner(network, config, layer.steps, case.batch, case.pinned, case.sbe_case).plan(), x


def scenario_of(case, model, plan, x):
    """The run as a scenario: outputs from the integer reference, counters from the interpreter, which must agree."""
    config, steps = plan.config, x.shape[1]
    words = pack(plan.image, model.layers, config)
    beats, lasts = pack_beats(x, config, plan.x_order)
    interpreter = Interpreter(config, plan.program, words, case.memory)
    packets = interpreter.run("run", steps, True, beats)
    reference, _ = integer_reference(model, x)
    expected = [reference[:, step].T.ravel().tolist() for step in range(steps)]
    if packets != expected:
        raise VerificationError(case.name, "interpreter and integer reference differ", "must be equal in every bit")
    counters = interpreter.timing.counters.to_dict()
    return Scenario(config, plan.program.encoded(), to_bytes(words, config),
                    [Run(plan.program.entries["run"], steps, True, beats, lasts, packets, counters)])


def measure(case, layer, folder, build_dir=None):
    """Check, estimate and simulate a case; returns its rows.

    Raises
    ------
    ProgramError, VerificationError
        The program is not proved, or Verilog, interpreter and reference differ.
    """
    model, plan, x = planned(case, layer)
    config = plan.config
    check(plan)
    scenario = scenario_of(case, model, plan, x)
    verilog = write_verilog(f"{folder}/lstm_engine.v", Top(config), "lstm_engine")
    with progress(case.name) as update:
        counters, = run_scale(folder, scenario, verilog, case.memory, build_dir=build_dir, progress=update)
    return rows(case, layer, plan, counters)


def rows(case, layer, plan, counters):
    """Rows of a case from the counters of the Verilog."""
    config, cycles = plan.config, counters["cycles"]
    macs = plan.network.macs(layer.steps) * config.contexts
    dsp = dsp_slices(config)
    gops = 2 * macs / cycles * case.clock / 1000
    beat = config.beat_bytes
    figures = {
        "lanes": (config.lanes, "lanes"), "dsp": (dsp, "slices"), "cycles": (cycles, "cycles"),
        "lane_utilisation": (100 * macs / (cycles * config.lanes), "% of lane-cycles, start to done"),
        "interstep_stall_cycles": (counters["stall_h"] + counters["stall_x"], "cycles"),
        "weight_stall_cycles": (counters["stall_weights"], "cycles"),
        "gops": (gops, f"GOPS at {case.clock} MHz"), "gops_per_dsp": (gops / dsp, "GOPS"),
        "dram_bytes": (counters["read_beats"] * beat, "bytes"),
        "port_bandwidth": (beat / case.memory.interval * case.clock / 1000, "GB/s at most"),
        "used_bandwidth": (counters["read_beats"] * beat / cycles * case.clock / 1000, "GB/s on average"),
        "limiting_bandwidth": (config.word_bytes / case.batch * case.clock / 1000,
                               "GB/s below which the streamed part waits"),
    }
    source = f"emitted Verilog; memory latency {case.memory.latency} cycles; published: {SOURCE}"
    return [Row(metric, case.name, value, unit, case.published.get(metric), source)
            for metric, (value, unit) in figures.items()]


@click.command()
@click.option("--case", "names", multiple=True, help="Run these cases only, as lrcn/zynq7045.")
@click.option("--output", default=RESULT, show_default=True, help="JSON file that the rows are written to.")
def main(names, output):
    """Print our figures beside those of SBE and write them as JSON."""
    try:
        result = []
        for case in CASES:
            if not names or case.name in names:
                click.echo(f"{case.name}: plan, check, emit, simulate", err=True)
                result += measure(case, workload(case.workload), f"build/sbe/{case.name.replace('/', '-')}")
        print(text(result))
        print("Outputs equal the integer reference in every bit, counters the estimate in every cycle.")
        print(f"wrote {update(output, result)}")
    except LstmHwError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
