"""Clock rate of the digits engine on an ECP5, placed and routed (``make fmax``).

The engine alone is measured: a shift register feeds its inputs and another collects its outputs, so that every path
to and from its pins starts and ends in a flip-flop, as it does between the parts of a system.
"""

import statistics
import sys

import click
from amaranth import Cat, ClockDomain, ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from boards.ecp5 import Device, Ecp5
from lstm_hw.errors import LstmHwError
from lstm_hw.files import write_json
from lstm_hw.gateware.top import Top
from lstm_hw.progress import progress
from lstm_hw.project.api import convert
from lstm_hw.verilog.emit import emit_verilog

CONFIG = "examples/digits/digits.toml"
DEVICE = Device("85k", "CABGA381", "6")
RESULT = "build/bench/fmax.json"
ENGINE, NAME = "lstm_engine", "lstm_fmax"
SHOWN = ("TRELLIS_COMB", "TRELLIS_FF", "TRELLIS_RAMW", "DP16KD", "MULT18X18D")
"""Cells to report, by nextpnr's names: LUTs, flip-flops, LUT memories' write ports, block RAMs, multipliers."""


class Harness(wiring.Component):
    """The engine between two shift registers: three pins, and a flip-flop at each end of every path.

    Parameters
    ----------
    engine : Top
        Instantiated by its emitted Verilog's name.

    Members
    -------
    aclk : In(1)
    i : In(1)
        Serial input of both shift registers.
    o : Out(1)
        Serial output of the one that collects the engine's outputs, by exclusive or.
    """

    def __init__(self, engine):
        self.engine = engine
        super().__init__({"aclk": In(1), "i": In(1), "o": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain("sync", local=True, reset_less=True)
        m.d.comb += ClockSignal().eq(self.aclk)
        ports, inputs, outputs = {}, [], []
        for name, member in self.engine.signature.members.items():
            signal = Signal(member.shape, name=name)
            ports[f"{'i' if member.flow == In else 'o'}_{name}"] = signal
            (inputs if member.flow == In else outputs).append((name, signal))
        ports["i_aclk"] = ClockSignal()
        m.submodules.engine = Instance(ENGINE, **ports)
        driven, seen = Cat(signal for name, signal in inputs if name != "aclk"), Cat(signal for _, signal in outputs)
        feed, collect = Signal(len(driven)), Signal(len(seen))
        m.d.comb += driven.eq(feed)
        m.d.sync += [feed.eq(Cat(self.i, feed)), collect.eq(Cat(self.i, collect) ^ seen), self.o.eq(collect[-1])]
        return m


def sources(engine_config):
    """Verilog of the engine and its harness: dict of file name -> text."""
    engine = Top(engine_config)
    harness = Harness(engine)
    return {f"{ENGINE}.v": emit_verilog(engine, ENGINE), f"{NAME}.v": emit_verilog(harness, NAME)}


def measure(engine_config, flow, seeds=(1,), frequency_mhz=100.0, device=DEVICE):
    """Place and route an engine with some seeds.

    Parameters
    ----------
    engine_config : EngineConfig
    flow : Ecp5
    seeds : sequence of int
    frequency_mhz : float
        What the tools aim at.
    device : Device

    Returns
    -------
    list of Layout
        One a seed; each has one clock.

    Raises
    ------
    ToolError
        A tool failed, or the design does not fit.
    """
    netlist, _ = flow.synthesise(sources(engine_config), NAME)
    return [flow.place_and_route(netlist, device, frequency_mhz, seed) for seed in seeds]


def clock_rate(layout):
    """Fmax in MHz of a design with one clock, and its critical path."""
    ((clock, fmax),) = layout.fmax_mhz.items()
    return fmax, layout.critical[clock]


def median_rate(layouts):
    """The median of the clock rates of some placements, in MHz."""
    return statistics.median(clock_rate(layout)[0] for layout in layouts)


def rows(engine_config, layouts):
    """The benchmark's rows, as JSON-able values: the median of Fmax, and what the engine takes."""
    fmax = median_rate(layouts)
    config = f"digits, {engine_config.lanes} lanes, {DEVICE.size} speed {DEVICE.speed}"

    def row(metric, ours, unit):
        return {
            "metric": metric,
            "config": config,
            "ours": ours,
            "unit": unit,
            "published": None,
            "source": "Yosys and nextpnr-ecp5",
        }

    return [
        row("ecp5_fmax_mhz", round(fmax, 2), "MHz"),
        *(row(f"ecp5_{name.lower()}", layouts[0].used[name], "cells") for name in SHOWN),
    ]


def describe(layouts, seeds):
    """What to print: clock rates, the critical path, cells."""
    lines = []
    for seed, layout in zip(seeds, layouts, strict=True):
        fmax, path = clock_rate(layout)
        lines += [
            f"seed {seed}: {fmax:.1f} MHz ({1000 / fmax:.2f} ns)",
            f"  from   {path.start}",
            f"  to     {path.end}",
            f"  {path.luts} LUTs and {path.carries} carry chains: {path.logic_ns:.2f} ns in cells, "
            f"{path.routing_ns:.2f} ns on nets",
        ]
    if len(layouts) > 1:
        lines.append(f"median: {median_rate(layouts):.1f} MHz")
    layout = layouts[0]
    lines += [f"{name:<13}{layout.used[name]:>7} of {layout.available[name]:>6}" for name in SHOWN]
    return "\n".join(lines)


@click.command()
@click.argument("config", default=CONFIG)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Placements to try.")
@click.option(
    "--frequency", type=click.FloatRange(1, 1000), default=100.0, show_default=True, help="Aim of the tools, MHz."
)
def main(config, seeds, frequency):
    """Place and route the engine of CONFIG on an ECP5 and print the clock rate.

    \b
    The first run takes minutes; results are kept in build/ecp5.
    Example: python -m bench.fmax --seeds 3
    """
    try:
        engine_config = convert(config, progress=progress).engine
        numbers = range(1, seeds + 1)
        layouts = measure(engine_config, Ecp5(progress=progress), numbers, frequency)
        print(describe(layouts, numbers))
        print(f"wrote {write_json(RESULT, rows(engine_config, layouts))}")
    except LstmHwError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
