"""The figures of the digits example (``python -m bench.digits``): accuracy, cycles, resources, clock rate.

No other system has published these figures for this model; later changes are compared with them.
"""

import click

from boards.ecp5 import Ecp5
from lstm_hw.progress import progress
from lstm_hw.project import flow
from lstm_hw.project.api import convert
from lstm_hw.proof.cycles import STALLS

from . import fmax
from .table import FOLDER, Row, command, write

CONFIG = "examples/digits/digits.toml"
RESULT = f"{FOLDER}/digits.json"


def fmax_rows(engine, path=fmax.RESULT):
    """Rows of ``make fmax`` for this engine; placed and routed now, unless that was done for the same Verilog before.

    Parameters
    ----------
    engine : EngineConfig
    path : path-like
        File that the rows are written to.

    Returns
    -------
    list of Row

    Raises
    ------
    ToolError
        Synthesis, placement or routing failed.
    """
    result = [Row(**row) for row in fmax.rows(engine, fmax.measure(engine, Ecp5(progress=progress)))]
    write(path, result)
    return result


def rows(report):
    """Rows of a report of a simulated and synthesised project.

    Parameters
    ----------
    report : Report

    Returns
    -------
    list of Row
    """
    figures = report.figures
    engine, accuracy, found = figures["engine"], figures["accuracy"], figures["resources"]["synthesised"]
    cycles, simulator = figures["cycles"]["measured"], figures["simulation"]["simulator"]
    lanes = engine["rows"] * engine["contexts"]
    config = f"{figures['name']}, {lanes} lanes, {engine['weight_bits']} bit"
    played = f"emitted Verilog, {simulator}"

    def row(metric, ours, unit, source, of=config):
        return Row(metric, of, ours, unit, None, source)

    def sequences(count):
        return f"{config}, {count} sequences"

    result = [
        row("accuracy_float", 100 * accuracy["float"], "%", "float reference", sequences(accuracy["sequences"])),
        row("accuracy_integer", 100 * accuracy["integer"], "%", "integer reference", sequences(accuracy["sequences"])),
        row("accuracy_verilog", 100 * accuracy["verilog"], "%", played, sequences(accuracy["simulated"])),
        row("cycles_per_run", cycles["run"]["cycles"], "cycles", played, f"{config}, {cycles['steps']} steps"),
        row("cycles_per_step", cycles["per_step"], "cycles", played, f"{config}, {cycles['steps']} steps"),
        row("cycles_per_further_step", cycles["per_further_step"], "cycles", played),
        row("interstep_stall_cycles", cycles["interstep_stalls"], "cycles", played),
        row("lane_utilisation", 100 * cycles["products_per_lane_cycle"], "%", played),
        *(row(f"{name}_cycles", cycles["run"][name], "cycles", played) for name in STALLS),
    ]
    if found:
        result += [
            row(metric, found[name], unit, found["tool"])
            for metric, name, unit in (
                ("dsp", "dsp", "blocks"),
                ("bram", "bram36", "blocks of 36 Kb"),
                ("lut", "lut", "LUTs as logic"),
                ("lutram", "lutram", "LUTs as memory"),
                ("ff", "ff", "flip-flops"),
                ("lut_levels", "lut_levels", "LUTs"),
            )
        ]
    return result


@command(RESULT)
@click.argument("config", default=CONFIG)
@click.option(
    "--fmax/--no-fmax",
    "with_fmax",
    default=True,
    show_default=True,
    help="Place and route on an ECP5, which takes minutes the first time.",
)
def main(config, with_fmax):
    """Print the figures of CONFIG and write them as JSON."""
    project = convert(config, progress=progress)
    made = flow.run(project, lambda step: click.echo(f"{step.name}: {step.doc}", err=True))
    return rows(made) + (fmax_rows(project.engine) if with_fmax else []), [made.agreement()]


if __name__ == "__main__":
    main()
