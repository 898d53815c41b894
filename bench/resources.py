"""What engines take of an FPGA: the estimate that sizes them beside Yosys's counts (``make bench-resources``).

Engines of many shapes are synthesised whole. ``--fit`` finds the coefficients of LUTs and flip-flops from them: least
squares of the relative errors, none below zero.
"""

import random
import sys
from pathlib import Path

import click
import numpy as np

from lstm_hw.errors import LstmHwError
from lstm_hw.gateware.top import Top
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.parts import Usage
from lstm_hw.plan.resources import estimate, features
from lstm_hw.verilog.emit import write_verilog
from lstm_hw.verilog.tools import yosys_stat

from .table import FOLDER, Row, text, write

RESULT = f"{FOLDER}/resources.json"
CACHE = f"{FOLDER}/resources"
ENGINES = {"xc7": 12, "ecp5": 6}
"""Engines that are synthesised, by family."""


def random_engine(rng: random.Random) -> EngineConfig:
    """An engine of at most 64 lanes whose every field is one of those that engines of users have."""
    operands = rng.choice((16, 16, 16, 8))
    weights = 8 if operands == 8 else rng.choice((16, 16, 8))
    rows, contexts = rng.choice((4, 8, 16, 16, 32, 32, 48)), rng.choice((1, 1, 2, 2, 3))
    contexts = contexts if rows * contexts <= 64 else 1
    per_beat = max(rng.choice((1, 2, 4)), 1 << (contexts - 1).bit_length())
    port = min(rng.choice((64, 128, 256)), max(64, 1 << (rows * weights).bit_length() - 1))
    return EngineConfig(
        rows=rows,
        contexts=contexts,
        weight_bits=weights,
        operand_bits=operands,
        accumulator_bits=rng.choice((40, 44, 48) if operands == 16 else (24, 28, 32)),
        weight_words=rng.choice((64, 512, 1024, 2048, 4096)),
        h_elements=rng.choice((32, 128, 256, 300, 1024, 2048)),
        x_elements=per_beat * rng.choice((8, 32, 64, 256, 512)),
        x_per_beat=per_beat,
        accumulators=rng.choice((5, 9, 17, 33, 40, 65, 129)),
        finish_entries=rng.choice((2, 8, 16, 32, 48)),
        states=rng.choice((16, 64, 128, 512, 1024)),
        program_length=rng.choice((64, 128, 256)),
        cells=rng.choice((1, 1, 2, 5)),
        axi_data_bits=port,
        outstanding=rng.choice((4, 8, 16)),
        activation=rng.choice(("quadratic64", "quadratic64", "pwl", "quadratic128")),
        shifts=(15,) * rng.choice((1, 1, 2, 3)),
        hidden=QFormat(0, operands - 1),
    )


def engines(family: str, count: int | None = None) -> list[EngineConfig]:
    """The engines that a family's estimate is compared on, the same every time."""
    rng = random.Random(family)
    return [random_engine(rng) for _ in range(count or ENGINES[family])]


def counted(config: EngineConfig, family: str, folder: str = CACHE) -> Usage:
    """What Yosys counts of the emitted engine."""
    name = "lstm_engine"
    verilog = write_verilog(Path(folder) / f"{config.content_id:08x}.v", Top(config), name)
    return Usage.of_stat(yosys_stat(verilog, name, family, folder))


def rows_of(config: EngineConfig, family: str, measured: Usage) -> list[Row]:
    """Estimate (ours) beside count (published), a row a resource."""
    shape = f"{config.rows}x{config.contexts}, {config.weight_bits}/{config.operand_bits} bits, {config.cells} cells"
    ours = estimate(config, family)
    return [
        Row(name, f"{family}: {shape}", getattr(ours, name), unit, getattr(measured, name), "estimate; Yosys")
        for name, unit in (
            ("dsp", "blocks"),
            ("bram36", "36 Kb"),
            ("lutram", "LUT as memory"),
            ("lut", "LUT as logic"),
            ("ff", "FF"),
        )
    ]


def fitted(pairs: list[tuple[EngineConfig, Usage]], kind: str, family: str) -> np.ndarray:
    """Coefficients of ``lut`` or ``ff``: least squares of relative errors, none below zero."""
    matrix = np.array([list(features(config, family)[kind].values()) for config, _ in pairs], dtype=float)
    wanted = np.array([getattr(usage, kind) for _, usage in pairs], dtype=float)
    matrix /= wanted[:, None]
    used = matrix.any(axis=0)
    result = np.zeros(matrix.shape[1])
    while used.any():
        found, *_ = np.linalg.lstsq(matrix[:, used], np.ones(len(pairs)), rcond=None)
        if (found >= 0).all():
            result[used] = found
            return result
        used[np.flatnonzero(used)[found.argmin()]] = False
    return result


@click.command()
@click.option("--family", "families", multiple=True, type=click.Choice(list(ENGINES)), help="All without it.")
@click.option("--count", type=click.IntRange(1), help="Engines a family.")
@click.option("--fit", is_flag=True, help="Print the coefficients that fit these engines best.")
@click.option("--output", default=RESULT, show_default=True, help="JSON file of the rows.")
def main(families, count, fit, output):
    """Compare the resource estimate with Yosys's counts."""
    try:
        rows = []
        for family in families or ENGINES:
            pairs = []
            for number, config in enumerate(engines(family, count), 1):
                click.echo(f"{family}: engine {number}, {config.lanes} lanes", err=True)
                pairs.append((config, counted(config, family)))
                rows += rows_of(config, family, pairs[-1][1])
            if fit:
                for kind in ("lut", "ff"):
                    print(family, kind, ", ".join(f"{value:.3g}" for value in fitted(pairs, kind, family)))
        print(text(rows))
        for family in families or ENGINES:
            for name in ("dsp", "bram36", "lutram", "lut", "ff"):
                errors = [
                    abs(row.ours / row.published - 1) if row.published else float(row.ours > 0)
                    for row in rows
                    if row.config.startswith(f"{family}:") and row.metric == name
                ]
                print(f"{family} {name}: largest error {max(errors):.1%}, mean {np.mean(errors):.1%}")
        print(f"wrote {write(output, rows)}")
    except LstmHwError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
