"""Verbs on files that leave the project, and the check of what comes back."""

from pathlib import Path

import click

from ..errors import VerificationError
from .shell import project_of, verb, wrote


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


@click.command(
    epilog="\b\nExamples:\n  lstm-hw check build/digits/hardware\n  lstm-hw check build/digits/hardware/firmware.lstmfw"
)
@click.argument("path", type=click.Path())
def check(path: str) -> None:
    """Check a folder that `generate` wrote, a copy of it, or a firmware image.

    Every file is compared with its digest, and with what else is there.
    """
    from ..project.api import load_hardware
    from ..project.designed import SUFFIX, FirmwareImage

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


@click.command(epilog="\b\nExamples:\n  lstm-hw driver firmware/lstm_hw")
@click.argument("folder", type=click.Path())
def driver(folder: str) -> None:
    """Write the driver in C99 to a folder: its sources, and the headers of registers and firmware images.

    It runs the images of `lstm-hw firmware` from bare metal or Linux; docs/host.md shows how.
    """
    from ..project.api import write_driver

    wrote(*write_driver(folder))
