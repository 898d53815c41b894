"""Write the build plans of the boards and print what the design takes: ``python -m boards`` (``make board-plans``)."""

import sys
from pathlib import Path

import click

from lstm_hw.errors import LstmHwError
from lstm_hw.files import write_json
from lstm_hw.machine.parts import part_of
from lstm_hw.progress import progress
from lstm_hw.project.api import convert

from .plan import BOARDS, Plan, scenario_of

CONFIG = "examples/digits/digits.toml"
FOLDER = Path("build/boards")


def entry(plan, usage):
    """What is known of a plan, as JSON-able values."""
    platform, scenario = plan.platform, plan.scenario
    part, config, run = part_of(platform.board.part), scenario.config, scenario.runs[1]
    cycles = run.counters["cycles"]
    return {
        "board": plan.board,
        "part": platform.board.part,
        "source": part.source,
        "lanes": config.lanes,
        "weight_buffer_kbit": config.weight_words * config.word_bits / 1024,
        "clock_mhz": platform.board.clock_mhz,
        "clock_checked": platform.clock_checked,
        "steps": run.steps,
        "cycles": cycles,
        "sequences_per_second": round(platform.board.clock_mhz * 1e6 * config.contexts / cycles),
        "used": {name: taken for name, (taken, _) in part.shares(usage).items()},
        "available": {name: there for name, (_, there) in part.shares(usage).items()},
    }


def table(entries):
    """The entries as a text table: used of available, and the share."""
    headings = ["board", "part", "lanes", *entries[0]["used"], "MHz", "cycles", "sequences/s"]
    lines = []
    for e in entries:
        shares = [f"{used:g}/{e['available'][n]:g} ({used / e['available'][n]:.0%})" for n, used in e["used"].items()]
        lines.append(
            [
                e["board"],
                e["part"],
                str(e["lanes"]),
                *shares,
                f"{e['clock_mhz']}{'' if e['clock_checked'] else '*'}",
                str(e["cycles"]),
                f"{e['sequences_per_second']:,}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    text = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [headings, *lines]
    )
    notes = ["BRAM36: block RAMs of 36 kbit, one of 18 kbit counted half."]
    if not all(e["clock_checked"] for e in entries):
        notes.append("* The aim of the plan; no place and route has confirmed it here.")
    return "\n".join([text, "", *notes])


@click.command()
@click.argument("boards", nargs=-1, type=click.Choice(list(BOARDS)))
@click.option("--config", default=CONFIG, show_default=True, help="Project whose engine and test inputs are used.")
def main(boards, config):
    """Write build/boards/BOARD/ for every board, or those named, and check that the self-test fits.

    \b
    Examples:
      python -m boards
      python -m boards ulx3s
    """
    try:
        scenario = scenario_of(convert(config, progress=progress))
        entries = []
        for board in boards or BOARDS:
            plan = Plan(board, scenario)
            print(f"wrote {plan.write(FOLDER / board)}", flush=True)
            with progress(f"count {board}"):
                entries.append(entry(plan, plan.usage()))
        write_json(FOLDER / "boards.json", entries)
        print(table(entries))
    except LstmHwError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
