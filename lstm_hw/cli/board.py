"""Verbs that run an engine on a board."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..progress import progress
from .shell import say, wrote

if TYPE_CHECKING:
    from ..project.board import Device


@click.group(
    epilog="""\b
Examples:
  lstm-hw device info build/digits/digits.lstmfw --port /dev/ttyUSB0
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


def on_device(
    examples: list[str], group: click.Group | None = device, required: bool = True
) -> Callable[[Callable], click.Command]:
    """A command, of ``group`` or a verb of its own: an image, ``required`` or not, and the road to a board."""

    metavar = "IMAGE.lstmfw" if required else "[IMAGE.lstmfw]"

    def decorate(function):
        shown = "\n".join(f"  lstm-hw {example}" for example in examples)
        command = (group or click).command(epilog=f"\b\nExamples:\n{shown}")(function)
        for option in BOARD:
            option(command)
        command.params.insert(0, click.Argument(["image"], type=click.Path(), metavar=metavar, required=required))
        return command

    return decorate


def open_device(image: str, timeout: float, where: dict[str, Any]) -> "Device":
    from ..project.board import FirmwareImage, open_device

    return open_device(FirmwareImage.read(image), where, timeout)


@on_device(["device info digits.lstmfw --port /dev/ttyUSB0"])
@click.option("--abort", is_flag=True, help="Abort a run that is in progress, whoever has started it.")
def info(image: str, timeout: float, abort: bool, **where: Any) -> None:
    """Show what the engine says of itself: whether it is the image's, registers, counters of its last run."""
    from ..project import board

    for line in board.told(image, where, timeout, abort):
        click.echo(line)


@on_device(
    [
        "selftest digits.lstmfw --port /dev/ttyUSB0",
        "selftest digits.lstmfw --overlay design.bit",
        "selftest --board --port /dev/ttyUSB0",
    ],
    group=None,
    required=False,
)
@click.option("--board", is_flag=True, help="The self-test in the board's own bitstream instead, which needs no image.")
def selftest(image: str | None, timeout: float, board: bool, **where: Any) -> None:
    """Load the model and run the image's test vectors: every bit of the outputs must be right."""
    if board == (image is not None):
        raise click.UsageError("must have an image, or --board without one")
    if board:
        from ..project.board import tested

        click.echo(tested(where, timeout))
        return
    with open_device(image, timeout, where) as opened:
        click.echo(f"{opened.session.transport.name}: {opened.selftest()} sequences right, in every bit")


@on_device(
    [
        "device predict digits.lstmfw --port /dev/ttyUSB0 --input examples/digits/test.npz --scale input_scale",
        "device predict digits.lstmfw --port /dev/ttyUSB0 --input x.npz --loaded",
        "device predict digits.lstmfw --registers uio0 --dma uio1 --weights udmabuf0 --streams udmabuf1 --input x.npz",
    ]
)
@click.option(
    "--input", "source", type=click.Path(), required=True, help="npz file with inputs (sequences, steps, inputs)."
)
@click.option("--scale", help="What its values are multiplied by: a number, or an array of one.")
@click.option(
    "--feature", "features", multiple=True, help="What the model reads of them, as abs(x0, x1)^2; once for each input."
)
@click.option("--array", help="Its array; x, or the only one, without it.")
@click.option(
    "--output", "-o", type=click.Path(), help="npz file for the outputs, array y; they are printed without it."
)
@click.option("--loaded", is_flag=True, help="Load nothing: the engine must have this image, as from a flash.")
def predict(
    image: str,
    timeout: float,
    source: str,
    array: str | None,
    scale: str | None,
    features: tuple[str, ...],
    output: str | None,
    loaded: bool,
    **where: Any,
) -> None:
    """Load the model, send inputs in real numbers and take the outputs back."""
    import warnings

    from ..project import board

    x = board.read_inputs(source, array, scale, features)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with open_device(image, timeout, where) as opened, progress("predict") as told:
            if loaded:
                opened.adopt()
            y = opened.predict(x, progress=told)
    for warning in caught:
        click.echo(f"warning: {warning.message}", err=True)
    if output:
        wrote(board.write_outputs(output, y))
    else:
        say(board.shown(y))
