"""Build a board's bitstream with open tools: ``python -m boards.bitstream BOARD`` (``make bitstream BOARD=ulx3s``)."""

import shutil
import sys

import click

from lstm_hw.errors import LstmHwError, ToolError
from lstm_hw.progress import progress
from lstm_hw.project.api import convert

from .__main__ import CONFIG, FOLDER
from .plan import BOARDS, TOP, Plan, ULX3SPlatform, scenario_of


@click.command()
@click.argument("board", type=click.Choice(list(BOARDS)))
@click.option("--config", default=CONFIG, show_default=True, help="Project whose engine and test inputs are used.")
def main(board, config):
    """Write build/boards/BOARD/ and in it top.bit. A design that misses the board's clock is an error.

    \b
    Only boards with an ECP5 have open tools here; for the others the plan is written, and Vivado builds it.
    The first run takes about ten minutes; results are kept in build/ecp5.
    Example: python -m boards.bitstream ulx3s
    """
    try:
        plan = Plan(board, scenario_of(convert(config, progress=progress)))
        folder = plan.write(FOLDER / board)
        print(f"wrote {folder}", flush=True)
        if plan.platform is not ULX3SPlatform:
            rule = f"must be built by Vivado: run `sh build_{TOP}.sh` in {folder}, which is complete"
            raise ToolError(f"bitstream of {board}", "no open tools for its part", rule)
        path, layout = plan.bitstream(progress=progress)
        target = shutil.copyfile(path, folder / f"{TOP}.bit")
        rates = ", ".join(f"{clock} {mhz:.1f} MHz" for clock, mhz in layout.fmax_mhz.items())
        print(f"wrote {target} ({rates}; must reach {plan.platform.board.clock_mhz:g} MHz)")
    except LstmHwError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
