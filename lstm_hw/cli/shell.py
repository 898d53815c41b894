"""What verbs share: errors as one line, options, and how results are told."""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import LstmHwError
from ..files import FULL
from ..process import INTERRUPTED, interrupted
from ..progress import progress

if TYPE_CHECKING:
    from ..project.api import Project
    from ..project.report import Report


NEXT = {"quantize": "estimate", "estimate": "generate", "generate": "simulate", "simulate": "report"}


class Commands(click.Group):
    """Turns the package's errors into one line and exit status 1, and interrupts into one line and that of theirs."""

    def main(self, *args: Any, **more: Any) -> Any:
        try:
            return super().main(*args, **more)
        except OSError as error:
            if error.errno not in FULL:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be written is not tried again at the end
            click.echo(f"error: {error.filename or 'output'}: {error.strerror}; must be a writable place", err=True)
            sys.exit(1)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LstmHwError as error:
            click.echo(f"error: {' '.join(str(error).split())}", err=True)
            sys.exit(1)
        except KeyboardInterrupt as error:
            click.echo(interrupted(error), err=True)
            sys.exit(INTERRUPTED)

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)  # in the order of the flow, not of the alphabet


def verb(examples: list[str]) -> Callable[[Callable], click.Command]:
    """A command on a configuration file, with examples in its help."""

    def decorate(function):
        shown = "\n".join(f"  lstm-hw {example}" for example in examples)
        command = click.command(epilog=f"\b\nExamples:\n{shown}")(function)
        command.params.insert(0, click.Argument(["config"], type=click.Path(), metavar="CONFIG.toml"))
        return command

    return decorate


def project_of(config: str) -> "Project":
    from ..project.api import convert
    from ..project.settings import ProjectConfig

    return convert(ProjectConfig.load(config), progress=progress, note=note)


def note(text: str) -> None:
    click.echo(f"note: {text}")


def say(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def wrote(*paths: Path) -> None:
    for path in paths:
        click.echo(f"wrote {path}")


def then(name: str, config: str) -> None:
    if name in NEXT:
        click.echo(f"next: lstm-hw {NEXT[name]} {config}")


simulator_option = click.option(
    "--simulator", type=click.Choice(["verilator", "icarus"]), help="Instead of the configuration's."
)
images_option = click.option("--images", type=click.IntRange(1), help="Test sequences to simulate, from the first.")


force_option = click.option("--force", is_flag=True, help="Simulate even what has not changed since the last time.")


jobs_option = click.option(
    "--jobs",
    "-j",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes that work at a time, on this machine.",
)
cluster_option = click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Scheduler of a dask.distributed cluster whose workers do the work, as tcp://host:8786, instead of --jobs.",
)


allow_option = click.option("--allow-error", is_flag=True, help="Take errors of the outputs beyond quantize.max_error.")


def judge(project: "Project", allow_error: bool) -> None:
    """The exit status is not 0 where the outputs are too far from the float model's, unless that is allowed."""
    if not allow_error:
        project.check_error()


def show(project: "Project", made: "Report") -> None:
    from ..project import text

    say(text.numbers(project))
    click.echo(made.table())
    click.echo(made.clock())
    click.echo(made.agreement())
    wrote(*sorted((project.folder / "report").iterdir()))
