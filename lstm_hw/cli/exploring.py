"""Engines side by side: the verb explore."""

from pathlib import Path
from typing import Any

import click

from ..errors import ConfigError
from .shell import cluster_option, jobs_option, project_of, say, verb, wrote


class Numbers(click.ParamType):
    """Numbers with commas between them.

    Parameters
    ----------
    kind : type
        Of each.
    example : str
    """

    name = "N,N,..."

    def __init__(self, kind: type = int, example: str = "8,16"):
        self.kind, self.example = kind, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.kind(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} must be numbers with commas between them, as {self.example}", param, ctx)


@verb(
    [
        "explore examples/digits/digits.toml --part xc7z020",
        "explore examples/digits/digits.toml --part xc7z020 --part ulx3s --latency 100us --accuracy 0.98",
        "explore examples/vowels/vowels.toml --part lfe5u-25f --objective latency,bram,energy --budget 2min",
        "explore examples/digits/digits.toml --point 3 --output my.toml",
    ]
)
@click.option(
    "--part", "parts", multiple=True, help="Part or board that engines have to fit; several times for several."
)
@click.option("--latency", help="Longest time of a run, as 1ms or 200us; seconds without a unit.")
@click.option("--rate", help="Least time steps of a sequence in a second while it goes on, as 48000 or 48kHz.")
@click.option("--power", help="Most power of the counted events, as 500mW; watts without a unit.")
@click.option("--accuracy", type=float, help="Least share of right labels of the test inputs.")
@click.option(
    "--max-error", "error", type=float, help="Largest error of an output, as a share of the float model's largest."
)
@click.option(
    "--objective",
    help="What engines are compared by, with commas; latency,area,energy,accuracy without it (docs/explore.md).",
)
@click.option("--weight-bits", type=Numbers(), default=(), help="Widths of weights to try; 16,12,8,6,4 without it.")
@click.option("--operand-bits", type=Numbers(), default=(), help="Widths of x and h to try; 16,8 without it.")
@click.option(
    "--activation", help="Activation units to try, with commas, as pwl,quadratic64; the project's without it."
)
@click.option(
    "--sparsity",
    type=Numbers(float, "0,0.5,0.75"),
    default=(),
    help="Shares of pruned weights to try, 0 as trained; the project's without it.",
)
@click.option(
    "--pattern", help="Patterns of pruned weights to try, with commas, as row_balanced,2:4; the project's without it."
)
@click.option(
    "--delta-x",
    type=Numbers(float, "0,0.05"),
    default=(),
    help="Thresholds of x to try, as those of [delta]; without a delta network where x and h have 0.",
)
@click.option("--delta-h", type=Numbers(float, "0,0.02"), default=(), help="Thresholds of h to try.")
@click.option("--schedule", help="Schedules to try, with commas; all that suit the model without it.")
@click.option("--rows", type=Numbers(), default=(), help="R to try.")
@click.option("--contexts", type=Numbers(), default=(), help="K to try.")
@click.option("--cells", type=Numbers(), default=(), help="Numbers of cells to try.")
@click.option("--buffer", type=Numbers(), default=(), help="Weight buffers to try where weights stream, words.")
@click.option("--port-bits", type=Numbers(), default=(), help="Widths of the weight port to try where weights stream.")
@click.option("--sequences", type=click.IntRange(1), help="Independent sequences of a run.")
@click.option("--steps", type=click.IntRange(1), help="Time steps of a sequence; those of the test inputs without it.")
@click.option("--clock", type=click.FloatRange(0, min_open=True), help="Clock in MHz, for all parts.")
@click.option("--budget", help="When to stop: a time, as 2min, or a number of engines, as 500; at the end without it.")
@jobs_option
@cluster_option
@click.option("--point", type=click.IntRange(1), help="Write a project file of this point of the last exploration.")
@click.option("--output", "-o", type=click.Path(), help="That file; NAME_POINT.toml in the current folder without it.")
@click.option("--force", is_flag=True, help="Replace that file if it is there.")
def explore(
    config: str, point: int | None, output: str | None, force: bool, jobs: int, cluster: str | None, **asked: Any
) -> None:
    """Find the best engines for the model on one or more parts, without simulating anything.

    Number formats, schedules, rows, contexts, cells, ports and buffers are tried, and where they are asked for also
    activations, prunings and thresholds of delta networks; cycles come from the exact model,
    which the Verilog equals, accuracies from the integer reference, resources from the estimate. What cannot be among
    the best is not looked at. The table, a page and the data go to build/NAME/explore; `--point` makes a project file
    for lstm-hw run of any engine in it.
    """
    from ..project.exploration.front import FILES, Exploration
    from ..project.exploration.wanted import wanted

    project = project_of(config)
    if point is not None:
        given = [name for name, value in asked.items() if value not in (None, ())]
        if given:
            options = {param.name: param.opts[0] for param in click.get_current_context().command.params}
            raise click.UsageError(f"--point is of the last exploration: explore with {options[given[0]]} first")
        path = Path(output or f"{project.config.name}_{point}.toml")
        if path.exists() and not force:
            raise ConfigError(path, "is there already", "must be another file (--output), or --force must be given")
        wrote(Exploration.read(project).write_project(project, point, path))
        click.echo(f"next: lstm-hw run {path}")
        return
    if output is not None or force:
        raise click.UsageError("--output and --force are for --point: results go to build/NAME/explore")
    found = project.explore(wanted(**asked), jobs, cluster)
    folder = found.write(project.folder / "explore")
    say(found.lines())
    wrote(*(folder / name for name in FILES))
    click.echo(f"next: lstm-hw explore {config} --point N --output my.toml")
