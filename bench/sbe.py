"""SBE at full size (``python -m bench.sbe``): weights in memory, blocking-batching, beside the published figures.

Que et al., "Efficient Weight Reuse for Large LSTMs", ASAP 2019: LRCN activity recognition, 32 frames a sample, 16 bits.
The emitted Verilog runs the whole workload under Verilator on a memory model of stated latency and bandwidth; outputs
must equal the integer reference and counters the estimate, or the bench fails. The sweep of :mod:`bench.sbe_sweep`
follows.
"""

import sys
from dataclasses import dataclass, field, replace

import click

from lstm_hw.errors import LstmHwError
from lstm_hw.proof.count import count_cycles

from . import sbe_sequences, sbe_sweep
from .sbe_case import Case, measure
from .table import FOLDER, Row, text, update
from .workloads import workload

RESULT = f"{FOLDER}/sbe.json"
SOURCE = "Que et al., ASAP 2019"


@dataclass(frozen=True)
class Device:
    """An engine for a published device, and what was published for that device.

    Parameters
    ----------
    case : Case
    workload : str
    clock : int
        Published clock, MHz.
    dsp_limit : int
        DSP slices that the published design used.
    published : dict of metric to number
    """

    case: Case
    workload: str
    clock: int
    dsp_limit: int
    published: dict = field(default_factory=dict)


SHARED = {"axi_data_bits": 512, "x_per_beat": 8, "block_sums": 4}
DEVICES = (
    Device(
        Case("lrcn/zynq7045", {"rows": 128, "contexts": 7, "cells": 2} | SHARED, batch=8),
        "lrcn",
        clock=142,
        dsp_limit=900,
        published={"sample_ms": 0.61, "lane_utilisation": 86.5, "gops": 221, "gops_per_dsp": 0.246},
    ),
    Device(
        Case("lrcn/virtex690t", {"rows": 256, "contexts": 8, "cells": 5} | SHARED, batch=16),
        "lrcn",
        clock=125,
        dsp_limit=2060,
        published={"sample_ms": 0.38, "lane_utilisation": 69.1, "gops": 356, "gops_per_dsp": 0.173},
    ),
)
OTHERS = {
    "ESE (KU060, 12 bits)": {"gops": 282, "dsp": 1504, "gops_per_dsp": 282 / 1504},
    "FP-DNN (16 bits)": {"gops": 316, "dsp": 2072, "gops_per_dsp": 316 / 2072},
}
"""What SBE's own comparison lists of other systems; the figures are of dense operations."""


def dsp_slices(config):
    """DSP slices: one a lane or pair of 8-bit lanes, and in every cell the activation's and one for the products."""
    unit = config.unit
    return config.lanes // config.lanes_per_dsp + config.cells * (unit.multipliers + 1)


def rows(device, plan, counters, steps):
    """Rows of a device from the counters of a run of so many steps in Verilog."""
    case, config, cycles = device.case, plan.config, counters["cycles"]
    macs = plan.network.macs(steps) * plan.sequences
    dsp = dsp_slices(config)
    gops = 2 * macs / cycles * device.clock / 1000
    beat = config.beat_bytes
    figures = {
        "lanes": (config.lanes, "lanes"),
        "dsp": (dsp, "slices"),
        "cycles": (cycles, "cycles"),
        "sample_ms": (cycles / device.clock / 1000 / plan.sequences, f"ms a sample at {device.clock} MHz"),
        "lane_utilisation": (100 * macs / (cycles * config.lanes), "% of lane-cycles, start to done"),
        "interstep_stall_cycles": (counters["stall_h"] + counters["stall_x"], "cycles"),
        "weight_stall_cycles": (counters["stall_weights"], "cycles"),
        "gops": (gops, f"GOPS at {device.clock} MHz"),
        "gops_per_dsp": (gops / dsp, "GOPS"),
        "dram_bytes": (counters["read_beats"] * beat, "bytes"),
        "port_bandwidth": (beat / case.memory.interval * device.clock / 1000, "GB/s at most"),
        "used_bandwidth": (counters["read_beats"] * beat / cycles * device.clock / 1000, "GB/s on average"),
        "limiting_bandwidth": (
            config.word_bytes / case.batch * device.clock / 1000,
            "GB/s at which the lanes' knee N_pe / N_t is the batch",
        ),
        "utilisation_at_limit": (
            100 * macs / (at_limit(case, plan, steps) * config.lanes),
            "% of lane-cycles at the limiting bandwidth (timing model)",
        ),
    }
    source = f"emitted Verilog, resident words loaded; memory latency {case.memory.latency} cycles; published: {SOURCE}"
    return [
        Row(metric, case.name, value, unit, device.published.get(metric), source)
        for metric, (value, unit) in figures.items()
    ]


def at_limit(case, plan, steps):
    """Cycles of a run on a memory that brings a word in as many cycles as a batch has steps, or on the case's own."""
    interval = max(case.memory.interval, case.batch // plan.config.beats_per_word)
    return count_cycles(plan, steps, memory=replace(case.memory, interval=interval)).cycles


def beside_others(result):
    """The rows of our devices again, beside the other systems of the published comparison."""
    return [
        Row(
            row.metric,
            f"{row.config} beside {name}",
            row.ours,
            row.unit,
            published[row.metric],
            f"emitted Verilog; published: as listed by {SOURCE}",
        )
        for row in result
        for name, published in OTHERS.items()
        if row.metric in published
    ]


@click.command()
@click.option("--case", "names", multiple=True, help="Run these only, as lrcn/zynq7045 or case3, and no sweep.")
@click.option("--output", default=RESULT, show_default=True, help="JSON file that the rows are written to.")
def main(names, output):
    """Print our figures beside those of SBE and write them as JSON."""
    try:
        result = []
        for device in DEVICES:
            name = device.case.name
            if not names or name in names:
                click.echo(f"{name}: plan, check, emit, simulate", err=True)
                layer = workload(device.workload)
                plan, counters = measure(device.case, layer, f"build/sbe/{name.replace('/', '-')}")
                result += rows(device, plan, counters, layer.steps)
        result += beside_others(result)
        if not names or "case3" in names:
            click.echo("case3: plan, check, emit, simulate", err=True)
            layer = workload("sbe_case3")
            plan, counters = sbe_sequences.measure(layer, "build/sbe/case3")
            result += sbe_sequences.rows(plan, counters, layer.steps, dsp_slices(plan.config))
        print(text(result))
        print("Outputs equal the integer reference in every bit, counters the estimate in every cycle.")
        print(f"wrote {update(output, result)}")
        if not names:
            sbe_sweep.report()
    except LstmHwError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
