"""Build a board's bitstream, with open tools or Vivado: ``python -m boards.bitstream BOARD`` (``make bitstream``)."""

import shutil
import sys

import click

from lstm_hw.errors import LstmHwError
from lstm_hw.progress import progress
from lstm_hw.project.api import convert

from . import vivado
from .__main__ import CONFIG, FOLDER
from .plan import BOARDS, TOP, Plan, scenario_of


@click.command()
@click.argument("board", type=click.Choice(list(BOARDS)))
@click.option("--config", default=CONFIG, show_default=True, help="Project whose engine and test inputs are used.")
def main(board, config):
    """Write build/boards/BOARD/ and build it there. A design that misses the board's clock is an error.

    \b
    Boards with an ECP5 have open tools: top.bit after about ten minutes; results are kept in build/ecp5.
    The others need Vivado on PATH: top.bit is the self-test, overlay/ has the engine behind the board's host.
    Examples:
      python -m boards.bitstream ulx3s
      python -m boards.bitstream pynq-z2
    """
    try:
        plan = Plan(board, scenario_of(convert(config, progress=progress)))
        folder = plan.write(FOLDER / board)
        print(f"wrote {folder}", flush=True)
        if not plan.platform.open_tools:
            program = vivado.found(board, plan.platform.board.part, folder)
            for path in vivado.build(program, folder, progress):
                print(f"wrote {path}")
            return
        path, layout = plan.bitstream(progress=progress)
        target = shutil.copyfile(path, folder / f"{TOP}.bit")
        rates = ", ".join(f"{clock} {mhz:.1f} MHz" for clock, mhz in layout.fmax_mhz.items())
        print(f"wrote {target} ({rates}; must reach {plan.clock_mhz:g} MHz)")
    except LstmHwError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
