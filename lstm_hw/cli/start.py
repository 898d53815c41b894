"""Verbs that a project begins with: a comparison of schedules, and a configuration file."""

from typing import Any

import click

from ..progress import progress
from .shell import note, say, wrote


@click.command(
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
    from ..project import start, text
    from ..project.api import convert
    from ..project.settings import ProjectConfig

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


@click.command(
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
@click.option(
    "--feature",
    "features",
    multiple=True,
    help="What the model reads of them, as abs(x0, x1)^2, computed by the host; once for each input of the model.",
)
@click.option("--part", help="FPGA that the engine has to fit.")
@click.option("--board", help="Board that the engine has to fit.")
@click.option(
    "--head",
    type=click.Choice(["last_step", "every_step", "final_state", "all_steps"]),
    help="Hidden states that the linear head reads; final_state of a bidirectional layer.",
)
@click.option(
    "--prefix",
    multiple=True,
    help="What the names of the LSTM's tensors begin with, in a file with more than it. Once for each of several.",
)
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
@click.option(
    "--head-input",
    "head_inputs",
    type=click.Choice(["h", "h + x", "h, x", "x, h"]),
    multiple=True,
    help="What a linear layer of a state_dict reads, h being what is in front of it; once for each.",
)
@click.option(
    "--front-prefix", multiple=True, help="As --head-prefix, of a linear layer in front of the LSTM; once for each."
)
@click.option(
    "--front-activation",
    "front_activations",
    type=click.Choice(["none", "relu", "elu", "sigmoid", "tanh"]),
    multiple=True,
    help="What follows a linear layer in front of the LSTM; once for each.",
)
@click.option("--nonlinearity", type=click.Choice(["tanh", "relu"]), help="Of a plain RNN of a state_dict.")
@click.option("--most-steps", type=int, help="Of a sequence, where a layer waits for h of all steps; 64 without it.")
@click.option(
    "--initial-state",
    multiple=True,
    help="Tensors of a state to begin from, h and c one after the other; zero although the file has one.",
)
@click.option(
    "--skip", type=click.Choice(["first", "all", "outside"]), help="Inputs that are added to the outputs, or outside."
)
@click.option(
    "--residual", type=click.Choice(["h + x", "h, x", "x, h"]), help="What is behind the LSTM of a state_dict, not h."
)
@click.option("--force", is_flag=True, help="Replace a project file that is there.")
def init(
    model: str,
    calibration: str | None,
    features: tuple[str, ...],
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
    from ..project import start

    target = {"part": part, "board": board}
    path, notes = start.init(model, calibration, output, target, force, start.ReadOptions(**said), features)
    say(notes)
    wrote(path)
    click.echo(f"next: lstm-hw run {path}")
