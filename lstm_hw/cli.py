"""The command line: one verb a step, a thin shell over :mod:`lstm_hw.project.api` and :mod:`lstm_hw.project.flow`."""

import sys

import click

from .errors import LstmHwError, VerificationError
from .progress import progress

NEXT = {"quantize": "estimate", "estimate": "generate", "generate": "simulate", "simulate": "report"}


class Commands(click.Group):
    """Turns the package's errors into one line and exit status 1."""

    def invoke(self, context):
        try:
            return super().invoke(context)
        except LstmHwError as error:
            click.echo(f"error: {' '.join(str(error).split())}", err=True)
            sys.exit(1)

    def list_commands(self, context):
        return list(self.commands)  # in the order of the flow, not of the alphabet


def verb(examples):
    """A command on a configuration file, with examples in its help."""

    def decorate(function):
        shown = "\n".join(f"  lstm-hw {example}" for example in examples)
        command = main.command(epilog=f"\b\nExamples:\n{shown}")(function)
        command.params.insert(0, click.Argument(["config"], type=click.Path(), metavar="CONFIG.toml"))
        return command

    return decorate


def project_of(config):
    from .project.api import convert
    from .project.settings import ProjectConfig

    return convert(ProjectConfig.load(config), progress=progress, note=lambda text: click.echo(f"note: {text}"))


def wrote(*paths):
    for path in paths:
        click.echo(f"wrote {path}")


def then(name, config):
    if name in NEXT:
        click.echo(f"next: lstm-hw {NEXT[name]} {config}")


simulator_option = click.option(
    "--simulator", type=click.Choice(["verilator", "icarus"]), help="Instead of the configuration's."
)
images_option = click.option("--images", type=click.IntRange(1), help="Test sequences to simulate, from the first.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lstm-hw", message="lstm-hw %(version)s")
def main():
    """Turn a trained LSTM into verified, synthesizable Verilog.

    A configuration file names the model, the data and what is to be decided; results go to build/NAME. Every verb does
    what it needs of the ones before it. `lstm-hw run` does all.
    """


@verb(["quantize examples/digits/digits.toml"])
def quantize(config):
    """Choose number formats and round the weights."""
    project = project_of(config)
    qmodel = project.quantize()
    folder = project.write_settings()
    click.echo(f"input: {qmodel.input_format}")
    for number, layer in enumerate(qmodel.layers):
        click.echo(
            f"layer {number}: LSTM {layer.input_size} -> {layer.hidden_size}, W_x {layer.w_x_format}, "
            f"W_h {layer.w_h_format}, preact and c {layer.preact}, h {layer.hidden}"
        )
    if qmodel.head is not None:
        head = qmodel.head
        click.echo(f"head: {head.input_size} -> {head.output_size}, W {head.w_format}, outputs {head.output}")
    accuracy = project.accuracy() if project.data.x is not None else None
    if accuracy:
        click.echo(
            f"accuracy of {accuracy['sequences']} sequences: float {accuracy['float']:.2%}, "
            f"integer {accuracy['integer']:.2%}"
        )
    wrote(folder / "quantized.safetensors", folder / "resolved.toml")
    then("quantize", config)


@verb(["estimate examples/digits/digits.toml", "estimate examples/digits/digits.toml --steps 100"])
@click.option("--steps", type=click.IntRange(1), help="Time steps of a sequence; those of the test inputs without it.")
def estimate(config, steps):
    """Plan, check the plan and count cycles, without simulating anything."""
    from .proof.cycles import STALLS

    project = project_of(config)
    cycles = project.write_estimate(steps)
    engine = project.engine
    click.echo(
        f"engine: {engine.rows} rows x {engine.contexts} contexts = {engine.lanes} lanes, "
        f"{engine.weight_bits}-bit weights, {engine.weight_words} weight words"
    )
    click.echo(
        f"run of {cycles.steps} steps: {cycles.run['cycles']} cycles, {cycles.per_step:.1f} a step, "
        f"{cycles.per_further_step:.1f} a further step"
    )
    click.echo(
        f"lanes: {cycles.run['busy']} cycles busy, {', '.join(f'{cycles.run[n]} {n}' for n in STALLS)}, "
        f"{cycles.run['empty']} empty; utilisation {cycles.utilisation:.1%}"
    )
    click.echo(f"load: {cycles.load['cycles']} cycles, {cycles.load['read_beats']} beats of {engine.beat_bytes} bytes")
    wrote(project.folder / "estimate.json")
    then("estimate", config)


@verb(["generate examples/digits/digits.toml"])
def generate(config):
    """Emit the Verilog, the register map, the program and the weight image."""
    folder = project_of(config).generate()
    wrote(*sorted(folder.iterdir()))
    then("generate", config)


@verb(
    [
        "simulate examples/digits/digits.toml",
        "simulate examples/digits/digits.toml --simulator icarus --images 2",
        "simulate examples/digits/digits.toml --stress 0.5 --images 20",
        "simulate examples/digits/digits.toml --images 1 --waves",
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
def simulate(config, simulator, images, waves, stress):
    """Compare every bit and cycle of the Verilog with the references."""
    from dataclasses import replace

    project = project_of(config)
    if stress is not None:
        stress = replace(project.config.simulate.stress, x_idle=stress, y_stall=stress, memory_stall=stress)
    measured = project.simulate(images, simulator, waves, stress)
    counted = (
        "counters of every run as estimated"
        if measured.cycles_equal
        else "counters not compared, since streams or memory were held back"
    )
    click.echo(f"{measured.simulator}: {len(measured.outputs)} sequences, every output bit as in the integer reference")
    click.echo(counted)
    click.echo(f"{measured.cycles_simulated} cycles in {measured.seconds:.1f} s")
    wrote(project.folder / "simulation" / "results.json", *([measured.waves] if measured.waves else []))
    then("simulate", config)


@verb(["report examples/digits/digits.toml", "report examples/digits/digits.toml --no-synthesis"])
@click.option(
    "--synthesis/--no-synthesis", default=None, help="Count resources with Yosys, instead of as the configuration says."
)
def report(config, synthesis):
    """Count resources, collect the figures of the last simulation and draw plots."""
    project = project_of(config)
    resources = None
    if project.config.report.synthesis if synthesis is None else synthesis:
        with project.synthesis() as running:
            resources = running.result()
    show(project, project.report(resources))


def show(project, made):
    click.echo(made.table())
    click.echo(made.clock())
    click.echo(made.agreement())
    wrote(*sorted((project.folder / "report").iterdir()))


@verb(["lint examples/digits/digits.toml"])
def lint(config):
    """Check the Verilog with Verilator, all warnings on."""
    from .machine.ports import TOPLEVEL
    from .verilog import tools

    project = project_of(config)
    verilog = project.verilog
    with progress("lint"):
        found = tools.lint([verilog], TOPLEVEL)
    for warning in found:
        click.echo(warning)
    if found:
        raise VerificationError(verilog, f"{len(found)} warnings", "must have none")
    click.echo(f"{verilog}: no warnings")


@verb(["run examples/digits/digits.toml", "run examples/digits/digits.toml --simulator icarus --images 2"])
@simulator_option
@images_option
def run(config, simulator, images):
    """Do all: quantize, estimate, generate, simulate, report."""
    from .project import flow

    project = project_of(config)
    steps = [step.name for step in flow.STEPS]

    def on_step(step):
        click.echo(f"[{steps.index(step.name) + 1}/{len(steps)}] {step.name}: {step.doc}")

    made = flow.run(project, on_step, simulator, images)
    wrote(*(project.folder / artefact for step in flow.STEPS[:-1] for artefact in step.artefacts))
    show(project, made)


@main.command(
    epilog="""\b
Examples:
  lstm-hw plan --inputs 256 --hidden 256 --contexts 2 --buffer 1024
  lstm-hw plan --inputs 1024 --hidden 1024 --sequences 8 --contexts 4 --port-bits 512
  lstm-hw plan --inputs 256 --hidden 256 --contexts 2 --schedule sacc --output build/plan"""
)
@click.option("--inputs", type=click.IntRange(1), required=True, help="Lx of the layer.")
@click.option("--hidden", type=click.IntRange(1), required=True, help="Lh of the layer.")
@click.option("--steps", type=click.IntRange(1), default=32, show_default=True, help="Time steps of a sequence.")
@click.option("--sequences", type=click.IntRange(1), default=1, show_default=True, help="Independent sequences.")
@click.option("--batch", type=click.IntRange(1), help="Time steps that share a fetch of W_x; chosen without it.")
@click.option("--rows", type=int, default=64, show_default=True, help="R, rows of the lane array.")
@click.option("--contexts", type=int, default=2, show_default=True, help="K, contexts side by side.")
@click.option("--buffer", "words", type=int, default=1024, show_default=True, help="Weight buffer, words of R weights.")
@click.option("--port-bits", type=int, default=128, show_default=True, help="Width of the weight port.")
@click.option("--interval", type=click.IntRange(1), default=1, show_default=True, help="Cycles a beat of the memory.")
@click.option("--latency", type=click.IntRange(1), default=40, show_default=True, help="Cycles to the first beat.")
@click.option("--schedule", default="auto", show_default=True, help="auto, or the beginning of a schedule's name.")
@click.option("--output", type=click.Path(), help="Folder for the program's listing and its encoding.")
def plan(
    inputs, hidden, steps, sequences, batch, rows, contexts, words, port_bits, interval, latency, schedule, output
):
    """Compare the schedules for a layer whose weights are in memory, and take the best.

    Cycles and bytes come from the exact model, which the Verilog equals; every program that is written was proved.
    """
    from .files import write_file
    from .machine.network import LayerShape, Network
    from .plan.schedules import choose
    from .plan.sizing import streaming_engine
    from .proof.checker import check
    from .proof.load_timing import MemoryModel

    network = Network((LayerShape("lstm", inputs, hidden, 15),))
    engine = streaming_engine(
        network, rows, contexts, words, max(1, sequences // contexts), batch or steps, axi_data_bits=port_bits
    )
    with progress("plan") as update:
        choice = choose(network, engine, steps, sequences, batch, MemoryModel(latency, interval), schedule, update)
    click.echo(f"{'schedule':<28} {'cycles a step':>13} {'bytes a step':>13} {'lanes':>7}")
    macs = network.macs(steps) * sequences
    for tried in choice.tried:
        if tried.plan is None:
            click.echo(f"{tried.name:<28} {tried.refused}")
            continue
        share = macs / (tried.cycles * engine.lanes)
        click.echo(f"{tried.name:<28} {tried.cycles / steps:13.1f} {tried.read_bytes / steps:13.0f} {share:7.1%}")
    click.echo(choice.reason)
    if output:
        best = choice.outcome.plan
        check(best)
        wrote(
            write_file(f"{output}/program.txt", best.program.listing()),
            write_file(f"{output}/program.json", best.program.to_json()),
        )


if __name__ == "__main__":
    main()
