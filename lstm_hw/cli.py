"""The command line: one verb a step, a thin shell over :mod:`lstm_hw.project.api` and :mod:`lstm_hw.project.flow`."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import ConfigError, LstmHwError, VerificationError
from .progress import progress

if TYPE_CHECKING:
    from .project.api import Project
    from .project.board import Device
    from .project.report import Report

NEXT = {"quantize": "estimate", "estimate": "generate", "generate": "simulate", "simulate": "report"}


class Commands(click.Group):
    """Turns the package's errors into one line and exit status 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LstmHwError as error:
            click.echo(f"error: {' '.join(str(error).split())}", err=True)
            sys.exit(1)

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)  # in the order of the flow, not of the alphabet


def verb(examples: list[str]) -> Callable[[Callable], click.Command]:
    """A command on a configuration file, with examples in its help."""

    def decorate(function):
        shown = "\n".join(f"  lstm-hw {example}" for example in examples)
        command = main.command(epilog=f"\b\nExamples:\n{shown}")(function)
        command.params.insert(0, click.Argument(["config"], type=click.Path(), metavar="CONFIG.toml"))
        return command

    return decorate


def project_of(config: str) -> "Project":
    from .project.api import convert
    from .project.settings import ProjectConfig

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


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  lstm-hw init model.safetensors --calibration data.npz
  lstm-hw run model.toml
  lstm-hw plan --inputs 256 --hidden 256 --part xc7z020""",
)
@click.version_option(package_name="lstm-hw", message="lstm-hw %(version)s")
def main() -> None:
    """Turn a trained LSTM into verified, synthesizable Verilog.

    A configuration file names the model, the data and what is to be decided (`lstm-hw init` writes one); results go to
    build/NAME. Every verb does what it needs of the ones before it. `lstm-hw run` does all.
    """


@verb(["quantize examples/digits/digits.toml"])
@allow_option
def quantize(config: str, allow_error: bool) -> None:
    """Choose number formats and round the weights."""
    from .project import text

    project = project_of(config)
    project.quantize()
    folder = project.write_settings()
    say(text.quantized(project))
    wrote(folder / "quantized.safetensors", folder / "resolved.toml")
    judge(project, allow_error)
    then("quantize", config)


@verb(["estimate examples/digits/digits.toml", "estimate examples/digits/digits.toml --steps 100"])
@click.option("--steps", type=click.IntRange(1), help="Time steps of a sequence; those of the test inputs without it.")
def estimate(config: str, steps: int | None) -> None:
    """Choose the schedule, plan, check the plan and count cycles, without simulating anything."""
    from .project import text

    project = project_of(config)
    cycles = project.write_estimate(steps)
    say(text.estimated(project, cycles))
    wrote(project.folder / "estimate.json")
    then("estimate", config)


@verb(["generate examples/digits/digits.toml"])
def generate(config: str) -> None:
    """Emit the Verilog, the register map, the program, the weights and the firmware image."""
    folder = project_of(config).generate()
    wrote(*sorted(folder.iterdir()))
    then("generate", config)


@verb(
    [
        "simulate examples/digits/digits.toml",
        "simulate examples/digits/digits.toml --simulator icarus --images 2",
        "simulate examples/digits/digits.toml --stress 0.5 --images 20",
        "simulate examples/digits/digits.toml --images 1 --waves",
        "simulate examples/digits/digits.toml --images 300 --jobs 2",
        "simulate examples/digits/digits.toml --images 300 --cluster tcp://10.0.0.1:8786",
    ]
)
@simulator_option
@images_option
@click.option("--waves", is_flag=True, help="Record every signal in an FST file.")
@click.option(
    "--stress",
    type=click.FloatRange(0, 1, max_open=True),
    help="Probability that each stream and the memory pause, in each cycle.",
)
@force_option
@jobs_option
@cluster_option
def simulate(
    config: str,
    simulator: str | None,
    images: int | None,
    waves: bool,
    stress: float | None,
    force: bool,
    jobs: int,
    cluster: str | None,
) -> None:
    """Compare every bit and cycle of the Verilog with the references.

    With --jobs or --cluster the sequences are simulated in shards side by side; results are the same to the byte, and
    what an interrupted simulation has done is not done again. docs/campaigns.md shows how to start a cluster.
    """
    from dataclasses import replace

    from .project import text

    project = project_of(config)
    if stress is not None:
        stress = replace(project.config.simulate.stress, x_idle=stress, y_stall=stress, memory_stall=stress)
    measured = project.simulate(images, simulator, waves, stress, force, jobs, cluster)
    say(text.simulated(measured))
    say(text.numbers(project))
    wrote(project.folder / "simulation" / "results.json", *([measured.waves] if measured.waves else []))
    then("simulate", config)


@verb(
    [
        "report examples/digits/digits.toml",
        "report examples/digits/digits.toml --no-synthesis",
        "report examples/digits/digits.toml --fmax 66.0",
    ]
)
@click.option(
    "--synthesis/--no-synthesis", default=None, help="Count resources with Yosys, instead of as the configuration says."
)
@click.option(
    "--fmax",
    type=click.FloatRange(0, min_open=True),
    help="MHz that place and route reached, as `make fmax` prints.",
)
@allow_option
def report(config: str, synthesis: bool | None, fmax: float | None, allow_error: bool) -> None:
    """Count resources, collect the figures of the last simulation and write the report: a page, drawings, a trace."""
    project = project_of(config)
    resources = None
    if project.config.report.synthesis if synthesis is None else synthesis:
        with project.synthesis() as running:
            resources = running.result()
    show(project, project.report(resources, fmax))
    judge(project, allow_error)


def show(project: "Project", made: "Report") -> None:
    from .project import text

    say(text.numbers(project))
    click.echo(made.table())
    click.echo(made.clock())
    click.echo(made.agreement())
    wrote(*sorted((project.folder / "report").iterdir()))


@verb(["trace examples/digits/digits.toml", "trace examples/digits/digits.toml --images 500"])
@click.option("--images", type=click.IntRange(1), help="Sequences, from the first; so many as take seconds without it.")
def trace(config: str, images: int | None) -> None:
    """Show where accuracy goes: errors by layer and gate, and those of the outputs when one place alone is rounded."""
    from .project import text

    project = project_of(config)
    folder, budget = project.write_trace(images)
    say(text.traced(project, budget))
    wrote(*sorted(folder.iterdir()))


@verb(
    [
        "precision examples/digits/digits.toml --accuracy 0.98",
        "precision examples/cases/cases.toml --max-error 0.02",
        "precision examples/vowels/vowels.toml --max-error 0.05 --samples 32 --wider 2",
    ]
)
@click.option(
    "--accuracy",
    type=click.FloatRange(0, 1, min_open=True),
    help="Least share of right labels of the test inputs; the choice has then seen these labels.",
)
@click.option(
    "--max-error",
    type=click.FloatRange(0, min_open=True),
    help="Largest error of an output for the calibration set, as a share of the float model's largest output; without "
    "both quantize.max_error.",
)
@click.option("--samples", type=click.IntRange(1), help="Sequences to measure, from the first; all without it.")
@click.option(
    "--wider",
    type=click.IntRange(0, 12),
    default=0,
    help="Bits by which a matrix may be wider than the narrowest engine's: fewer bits in all, a wider engine.",
)
def precision(config: str, accuracy: float | None, max_error: float | None, samples: int | None, wider: int) -> None:
    """Find how few weight bits, by layer and matrix, meet an accuracy or an error.

    First the narrowest width for all weights is found, from 4 to quantize.weight_bits; then one bit after the other is
    taken away where it costs least. The engine stores all weights at the widest width, so narrower matrices save no
    memory: they tell where accuracy needs bits. Prints the [quantize] section; nothing is written.
    """
    from .project import text

    if accuracy is not None and max_error is not None:
        raise click.UsageError("give --accuracy or --max-error")
    project = project_of(config)
    found = project.precision(accuracy, max_error, samples, wider)
    say(text.precise(found, accuracy, accuracy or max_error or project.config.quantize.error_bound))


@verb(
    [
        "thresholds examples/digits/digits.toml --loss 0.005 --samples 200",
        "thresholds examples/cases/cases.toml --max-error 0.05",
    ]
)
@click.option(
    "--loss",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of right labels of the test inputs that may be lost; the choice has then seen these labels.",
)
@click.option(
    "--max-error",
    type=click.FloatRange(0, min_open=True),
    help="Largest error of an output for the calibration set, as a share of the float model's largest output.",
)
@click.option("--samples", type=click.IntRange(1), help="Sequences to measure, from the first; all without it.")
def thresholds(config: str, loss: float | None, max_error: float | None, samples: int | None) -> None:
    """Find how large a change of x and h may be that is left out: thresholds of a delta network.

    As few products as an accuracy or an error bears. Prints the [delta] section and the share of x and h that still
    changes; nothing is written.
    """
    from .project import text

    if (loss is None) == (max_error is None):
        raise click.UsageError("give --loss or --max-error")
    project = project_of(config)
    say(text.thresholds(project.thresholds(loss, max_error, samples), loss, max_error if loss is None else loss))


class Numbers(click.ParamType):
    """Integers with commas between them."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} must be integers with commas between them, as 8,16", param, ctx)


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
@click.option("--latency", help="Longest time of a run, as 1ms or 200us.")
@click.option("--rate", help="Least time steps of a sequence in a second while it goes on, as 48000 or 48kHz.")
@click.option("--power", help="Most power of the counted events, as 500mW.")
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

    Number formats, schedules, rows, contexts, cells, ports and buffers are tried; cycles come from the exact model,
    which the Verilog equals, accuracies from the integer reference, resources from the estimate. What cannot be among
    the best is not looked at. The table, a page and the data go to build/NAME/explore; `--point` makes a project file
    for lstm-hw run of any engine in it.
    """
    from .project.exploration.front import Exploration
    from .project.exploration.wanted import wanted

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
    wrote(*sorted(folder.iterdir()))
    click.echo(f"next: lstm-hw explore {config} --point N --output my.toml")


@verb(["lint examples/digits/digits.toml"])
def lint(config: str) -> None:
    """Check the Verilog with Verilator, all warnings on."""
    project = project_of(config)
    found = project.lint()
    for warning in found:
        click.echo(warning)
    if found:
        raise VerificationError(project.verilog, f"{len(found)} warnings", "must have none")
    click.echo(f"{project.verilog}: no warnings")


@verb(["firmware examples/digits/digits.toml", "firmware examples/digits/digits.toml --output digits.lstmfw"])
@click.option("--output", "-o", type=click.Path(), help="The file; build/NAME/NAME.lstmfw without it.")
def firmware(config: str, output: str | None) -> None:
    """Write the firmware image: all that software needs to run the model on an engine, in one file.

    Program, weights, number formats and a few test vectors, with digests. `lstm-hw device` and the drivers read it. A
    new model needs no new bitstream where its image asks for the same engine.
    """
    project = project_of(config)
    path = project.write_firmware(output)
    click.echo(f"engine {project.engine.content_id:#010x}, model {project.firmware.identity[:16]}")
    wrote(path)


@verb(["package examples/digits/digits.toml", "package examples/digits/digits.toml -o ip_repo/digits"])
@click.option("-o", "--output", type=click.Path(), help="Folder, instead of build/NAME/package.")
def package(config: str, output: str | None) -> None:
    """Write the engine as IP: IP-XACT, Vivado script, FuseSoC core, SystemRDL, LiteX module."""
    folder = project_of(config).package(output)
    wrote(*sorted(folder.iterdir()))


@main.command(
    epilog="\b\nExamples:\n  lstm-hw check build/digits/hardware\n  lstm-hw check build/digits/hardware/firmware.lstmfw"
)
@click.argument("path", type=click.Path())
def check(path: str) -> None:
    """Check a folder that `generate` wrote, a copy of it, or a firmware image.

    Every file is compared with its digest, and with what else is there.
    """
    from .project.api import load_hardware
    from .project.designed import SUFFIX, FirmwareImage

    if Path(path).suffix == SUFFIX or Path(path).is_file():
        image = FirmwareImage.read(path)
        click.echo(
            f"{path}: as it was written: model {image.identity[:16]}, engine {image.config.content_id:#010x}, "
            f"{len(image.program.instructions)} instructions, {len(image.weights)} bytes of weights"
        )
        return
    hardware = load_hardware(path)
    click.echo(
        f"{path}: as it was written: engine {hardware.config.content_id:#010x}, "
        f"{len(hardware.program.instructions)} instructions, {len(hardware.image)} bytes of weights"
    )


@main.command(epilog="\b\nExamples:\n  lstm-hw driver firmware/lstm_hw")
@click.argument("folder", type=click.Path())
def driver(folder: str) -> None:
    """Write the driver in C99 to a folder: its sources, and the headers of registers and firmware images.

    It runs the images of `lstm-hw firmware` from bare metal or Linux; docs/host.md shows how.
    """
    from .project.api import write_driver

    wrote(*write_driver(folder))


@verb(
    [
        "run examples/digits/digits.toml",
        "run examples/digits/digits.toml --simulator icarus --images 2",
        "run examples/digits/digits.toml --jobs 2",
    ]
)
@simulator_option
@images_option
@force_option
@allow_option
@jobs_option
@cluster_option
def run(
    config: str,
    simulator: str | None,
    images: int | None,
    force: bool,
    allow_error: bool,
    jobs: int,
    cluster: str | None,
) -> None:
    """Do all: quantize, estimate, generate, simulate, report."""
    from .project import flow, text

    project = project_of(config)
    steps = [step.name for step in flow.STEPS]

    def on_step(step):
        if step.name == "generate":
            say(text.planned(project))  # what the step before has chosen
        click.echo(f"[{steps.index(step.name) + 1}/{len(steps)}] {step.name}: {step.doc}")

    made = flow.run(project, on_step, simulator, images, force, jobs, cluster)
    wrote(*(project.folder / artefact for step in flow.STEPS[:-1] for artefact in step.artefacts))
    show(project, made)
    judge(project, allow_error)


@main.command(
    epilog="""\b
Examples:
  lstm-hw plan examples/digits/digits.toml
  lstm-hw plan --inputs 256 --hidden 256 --lanes 128 --buffer 1024
  lstm-hw plan --inputs 39 --hidden 512 --hidden 256 --outputs 40 --every-step --bandwidth 4.2e9
  lstm-hw plan --inputs 40 --hidden 128 --kind gru
  lstm-hw plan --inputs 1024 --hidden 1024 --sequences 8 --schedule rowblock --port-bits 512
  lstm-hw plan --inputs 256 --hidden 256 --schedule sacc --output build/sketch"""
)
@click.argument("config", type=click.Path(), metavar="[CONFIG.toml]", required=False)
@click.option("--inputs", type=click.IntRange(1), help="Lx of the first layer, instead of a project file.")
@click.option("--hidden", type=click.IntRange(1), multiple=True, help="Lh of a layer; once for each layer.")
@click.option("--outputs", type=click.IntRange(1), help="Outputs of a linear head.")
@click.option("--every-step", is_flag=True, help="The head reads h of every step, not of the last one.")
@click.option("--kind", type=click.Choice(["lstm", "gru"]), default="lstm", show_default=True, help="Of the layers.")
@click.option("--steps", type=click.IntRange(1), help="Time steps of a sequence; 32, or those of the test inputs.")
@click.option("--schedule", help="auto, or the name of a schedule.")
@click.option("--sequences", type=click.IntRange(1), help="Independent sequences of a run.")
@click.option("--batch", type=click.IntRange(1), help="Time steps that share a fetch of W_x; chosen without it.")
@click.option("--lanes", type=click.IntRange(4), help="Multiply-accumulate lanes at most.")
@click.option("--part", help="FPGA that the engine has to fit.")
@click.option("--board", help="Board that the engine has to fit.")
@click.option("--clock", type=click.FloatRange(0, min_open=True), help="Clock in MHz.")
@click.option("--rows", type=int, help="R, rows of the lane array.")
@click.option("--contexts", type=int, help="K, contexts side by side.")
@click.option("--buffer", type=int, help="Weight buffer, words of R weights.")
@click.option("--port-bits", type=int, help="Width of the weight port.")
@click.option("--interval", type=click.IntRange(1), help="Cycles a beat of the memory.")
@click.option("--bandwidth", type=click.FloatRange(0, min_open=True), help="Bytes a second of the memory.")
@click.option("--latency", type=click.IntRange(1), help="Cycles to the first beat.")
@click.option("--output", type=click.Path(), help="Folder for a project file of the choice, for lstm-hw run.")
def plan(
    config: str | None,
    inputs: int | None,
    hidden: tuple[int, ...],
    outputs: int | None,
    every_step: bool,
    kind: str,
    steps: int | None,
    output: str | None,
    **asked: Any,
) -> None:
    """Compare the schedules for a model or for sizes, and take the best.

    Sizes are planned with random weights; options go before what a project file says. Cycles and bytes come from the
    exact model, which the Verilog equals.
    """
    from .project import start, text
    from .project.api import convert
    from .project.settings import ProjectConfig

    if (config is None) == (inputs is None) or (inputs is None) != (not hidden):
        raise click.UsageError("give a project file, or --inputs and --hidden")
    sizes = None
    if config is not None:
        settings, model = ProjectConfig.load(config), None
    else:
        sizes = start.Sizes(inputs, hidden, outputs or 0, every_step, kind)
        settings, model = start.sketch(sizes, steps or 32, output or "")
    project = convert(start.asked(settings, steps=steps, **asked), model=model, progress=progress, note=note)
    project.compare()
    say(text.compared(project))
    if output:
        if sizes is not None:
            wrote(sizes.write(output))
        path = project.write_project(output)
        wrote(path)
        click.echo(f"next: lstm-hw run {path}")


@main.command(
    epilog="""\b
Examples:
  lstm-hw init model.safetensors --calibration data.npz
  lstm-hw init model.safetensors --part xc7z020 --output my.toml
  lstm-hw init model.safetensors --board zc706 --force
  lstm-hw init policy.pt --prefix memory --head-prefix actor.0 --head every_step
  lstm-hw init chain.pt --head-prefix fc1 --head-activation relu --head-prefix fc2 --head-activation none"""
)
@click.argument("model", type=click.Path())
@click.option("--calibration", type=click.Path(), help="npz file with inputs (sequences, steps, inputs).")
@click.option("--output", type=click.Path(), help="The project file; NAME.toml in the current folder without it.")
@click.option("--part", help="FPGA that the engine has to fit.")
@click.option("--board", help="Board that the engine has to fit.")
@click.option(
    "--head", type=click.Choice(["last_step", "every_step"]), help="Hidden states that the linear head reads."
)
@click.option("--prefix", help="What the names of the LSTM's tensors begin with, in a file with more than it.")
@click.option(
    "--head-prefix",
    multiple=True,
    help="The same for the linear head; none leaves it out. Once for each linear layer of a chain, in order.",
)
@click.option(
    "--head-activation",
    "head_activations",
    type=click.Choice(["none", "relu", "elu", "sigmoid", "tanh"]),
    multiple=True,
    help="What follows a linear layer of a state_dict, which cannot say it; once for each.",
)
@click.option("--initial-state", type=click.Choice(["zero"]), help="Begin with zeros although the file has a state.")
@click.option(
    "--skip", type=click.Choice(["first", "all", "outside"]), help="Inputs that are added to the outputs, or outside."
)
@click.option("--force", is_flag=True, help="Replace a project file that is there.")
def init(
    model: str,
    calibration: str | None,
    output: str | None,
    part: str | None,
    board: str | None,
    force: bool,
    **said: str | tuple[str, ...] | None,
) -> None:
    """Write a commented project file for a trained model.

    It names what was found in the model and explains every key. Without calibration data the project has random inputs,
    which is told wherever it matters.
    """
    from .project import start

    target = {"part": part, "board": board}
    path, notes = start.init(model, calibration, output, target, force, start.ReadOptions(**said))
    say(notes)
    wrote(path)
    click.echo(f"next: lstm-hw run {path}")


@main.group(
    epilog="""\b
Examples:
  lstm-hw device info build/digits/digits.lstmfw --port /dev/ttyUSB0
  lstm-hw device selftest build/digits/digits.lstmfw --port /dev/ttyUSB0
  lstm-hw device predict build/digits/digits.lstmfw --port /dev/ttyUSB0 --input x.npz --output y.npz"""
)
def device() -> None:
    """Run a firmware image on a board: your data through the engine.

    The road to the board is one of: a serial port to a bridge in the FPGA (--port), a socket (--socket), a PYNQ overlay
    (--overlay), or, on the board's own Linux, UIO devices or addresses and u-dma-bufs (--registers and what goes with
    it).
    """


BOARD = (
    click.option("--port", help="Serial port, as /dev/ttyUSB0; needs pyserial: pip install lstm-hw[serial]."),
    click.option("--baud", type=click.IntRange(1), help="Of the serial port, at first; 115,200 without it."),
    click.option(
        "--fast", type=click.IntRange(0), default=1_000_000, help="Baud to go on with, if the bridge can; 0: none."
    ),
    click.option("--socket", metavar="HOST:PORT", help="TCP connection to a bridge."),
    click.option("--overlay", type=click.Path(), help="PYNQ overlay, a .bit file with its .hwh beside it."),
    click.option("--registers", help="The engine on this Linux: a UIO device or its name, or an address (0x43c00000)."),
    click.option("--dma", help="Its AXI DMA, given in the same way."),
    click.option("--weights", help="The u-dma-buf for the weight image, as udmabuf0."),
    click.option("--streams", help="The u-dma-buf for x and the outputs."),
    click.option("--interrupt", is_flag=True, help="Wait for the interrupt of the UIO device instead of polling."),
    click.option(
        "--timeout", type=click.FloatRange(0, min_open=True), default=30.0, help="Seconds a run may take; 30."
    ),
)


def on_device(examples: list[str]) -> Callable[[Callable], click.Command]:
    """A command of `device`: an image, and the road to a board."""

    def decorate(function):
        shown = "\n".join(f"  lstm-hw device {example}" for example in examples)
        command = device.command(epilog=f"\b\nExamples:\n{shown}")(function)
        for option in BOARD:
            option(command)
        command.params.insert(0, click.Argument(["image"], type=click.Path(), metavar="IMAGE.lstmfw"))
        return command

    return decorate


def open_device(image: str, timeout: float, where: dict[str, Any]) -> "Device":
    from .project.board import FirmwareImage, open_device

    return open_device(FirmwareImage.read(image), where, timeout)


@on_device(["info digits.lstmfw --port /dev/ttyUSB0"])
@click.option("--abort", is_flag=True, help="Abort a run that is in progress, whoever has started it.")
def info(image: str, timeout: float, abort: bool, **where: Any) -> None:
    """Show what the engine says of itself: whether it is the image's, registers, counters of its last run."""
    from .project import board

    for line in board.told(image, where, timeout, abort):
        click.echo(line)


@on_device(["selftest digits.lstmfw --port /dev/ttyUSB0", "selftest digits.lstmfw --overlay design.bit"])
def selftest(image: str, timeout: float, **where: Any) -> None:
    """Load the model and run the image's test vectors: every bit of the outputs must be right."""
    with open_device(image, timeout, where) as opened:
        click.echo(f"{opened.session.transport.name}: {opened.selftest()} sequences right, in every bit")


@on_device(
    [
        "predict digits.lstmfw --port /dev/ttyUSB0 --input examples/digits/test.npz --scale input_scale",
        "predict digits.lstmfw --registers uio0 --dma uio1 --weights udmabuf0 --streams udmabuf1 --input x.npz",
    ]
)
@click.option(
    "--input", "source", type=click.Path(), required=True, help="npz file with inputs (sequences, steps, inputs)."
)
@click.option("--scale", help="What its values are multiplied by: a number, or an array of one.")
@click.option("--array", help="Its array; x, or the only one, without it.")
@click.option(
    "--output", "-o", type=click.Path(), help="npz file for the outputs, array y; they are printed without it."
)
def predict(
    image: str,
    timeout: float,
    source: str,
    array: str | None,
    scale: str | None,
    output: str | None,
    **where: Any,
) -> None:
    """Load the model, send inputs in real numbers and take the outputs back."""
    import warnings

    from .project import board

    x = board.read_inputs(source, array, scale)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with open_device(image, timeout, where) as opened, progress("predict") as told:
            y = opened.predict(x, progress=told)
    for warning in caught:
        click.echo(f"warning: {warning.message}", err=True)
    if output:
        wrote(board.write_outputs(output, y))
    else:
        say(board.shown(y))


if __name__ == "__main__":
    main()
