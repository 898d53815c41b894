"""The steps of the flow, one verb each, and all of them."""

import click

from .shell import (
    allow_option,
    cluster_option,
    force_option,
    images_option,
    jobs_option,
    judge,
    project_of,
    say,
    show,
    simulator_option,
    then,
    verb,
    wrote,
)


@verb(["quantize examples/digits/digits.toml"])
@allow_option
def quantize(config: str, allow_error: bool) -> None:
    """Choose number formats and round the weights."""
    from ..project import text

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
    from ..project import text

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

    from ..project import text

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
    from ..project import flow, text

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
