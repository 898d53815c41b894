"""Every activation unit (``python -m bench.activations``): errors, costs, and what each does to trained models.

Errors are over all 65,536 inputs of Q3.12, with results in Q0.15, against the real functions; costs those of the
component of sigmoid and tanh by Yosys for 7-series parts. Accuracy is the integer reference's, whose bits are the
Verilog's, of examples that were trained with the real functions: weights, x and h of 16 and of 8 bits, formats as they
are chosen for quadratic64.

The bench fails if a unit takes other than a DSP slice a multiplier or more than six LUTs in a row, if one but PLAN or
the shared tables falls or is not odd-symmetric, or if the tables of quadratic64 and quadratic become worse.
"""

import re
from dataclasses import replace

import click
import numpy as np

from lstm_hw.errors import VerificationError
from lstm_hw.gateware.activation import activation_component
from lstm_hw.machine.activation import SHARED, make_activation
from lstm_hw.machine.activation_unit import ActivationUnit
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from lstm_hw.progress import progress
from lstm_hw.project.api import load

from .lanes import MOST_LEVELS, synthesised
from .table import FOLDER, Row, command

RESULT, SYNTHESIS = f"{FOLDER}/activations.json", "build/activations"
UNITS = (
    *SHARED,
    "quadratic",
    "quadratic(segments=64)",
    "cubic",
    "linear",
    "nonuniform",
    "taylor",
    "taylor(segments=64, order=3)",
    "catmull_rom",
    "table",
    "plan",
    "hard5",
    "hard6",
)
FUNCTIONS = ("sigmoid", "tanh")
PUBLISHED = {"pwl": {"max_lsb": (1.016, 1.476), "table_bits": (4096, 4096), "multipliers": (1, 1)}}
"""Of TFLite and CMSIS-NN, whose one table of 256 entries is interpolated in lines: sigmoid, tanh."""
BOUNDS = {"quadratic64": (0.857, 1.201, 2880), "quadratic": (0.56, 0.993, 5376)}
"""Largest errors of sigmoid and tanh in LSB and table bits that must stay."""
EXAMPLES = ("digits", "vowels")
WIDTHS = (16, 8)
"""Of weights, x and h."""


def falls(values: np.ndarray) -> int:
    """How often a result is less than the one before."""
    return int(np.count_nonzero(np.diff(values) < 0))


def unlike(unit: ActivationUnit, tanh: bool) -> int:
    """For how many x > 0 the results of x and -x are not opposite, neither of them saturated."""
    values, zero = unit.results[int(tanh)], -unit.i_format.lowest
    one = 0 if tanh else 1 << unit.o_format.fraction
    below, above = values[1:zero][::-1], values[zero + 1 :]
    return int(np.count_nonzero((below + above != one) & (above != unit.o_format.highest)))


def unit_rows(name: str, folder: str = SYNTHESIS) -> list[Row]:
    """Rows of one unit.

    Raises
    ------
    VerificationError
        It breaks a rule of this bench.
    """
    unit = make_activation(name)
    file = re.sub(r"\W+", "_", name).strip("_")
    stat = synthesised(activation_component(unit), f"activation_{file}", folder)
    rows, worst = [], []
    for number, function in enumerate(FUNCTIONS):
        values = unit.results[number]
        worst.append(unit.max_error(bool(number)))
        found = {
            "max_lsb": (worst[-1], "LSB of Q0.15", "all Q3.12 inputs"),
            "mean_lsb": (unit.mean_error(bool(number)), "LSB of Q0.15", "all Q3.12 inputs"),
            "falls": (falls(values), "results below the one before", "all Q3.12 inputs"),
            "not_opposite": (unlike(unit, bool(number)), "pairs of x and -x", "all Q3.12 inputs"),
            "table_bits": (unit.table_bits, "bits, both functions", "table"),
            "multipliers": (unit.multipliers, "both functions", "component"),
            "latency": (unit.latency, "cycles", "component"),
            **{metric: (stat[metric], "both functions", stat["tool"]) for metric in ("lut", "ff", "dsp", "bram36")},
            "lut_levels": (stat["lut_levels"], "LUTs in a row", stat["tool"]),
        }
        published = {metric: pair[number] for metric, pair in PUBLISHED.get(name, {}).items()}
        rows += [
            Row(metric, f"{function}/{name}", ours, text, published.get(metric), source)
            for metric, (ours, text, source) in found.items()
        ]
        well = name in SHARED or (falls(values) == 0 or name == "plan") and unlike(unit, bool(number)) == 0
        if not well:
            raise VerificationError(f"{function}/{name}", "falls or is not odd-symmetric", "must rise and be symmetric")
    if stat["dsp"] != unit.multipliers:
        raise VerificationError(name, f"{stat['dsp']} DSP slices", f"must be {unit.multipliers}, one a multiplier")
    if stat["lut_levels"] > MOST_LEVELS:
        raise VerificationError(name, f"{stat['lut_levels']} LUTs in a row", f"must be at most {MOST_LEVELS}")
    *bounds, bits = BOUNDS.get(name, (np.inf, np.inf, np.inf))
    if unit.table_bits > bits or any(error > bound for error, bound in zip(worst, bounds, strict=True)):
        rule = f"must be at most {bounds} in {bits} bits"
        raise VerificationError(name, f"{worst} LSB in {unit.table_bits} bits", rule)
    return rows


def example_rows(name: str, widths: tuple[int, ...] = WIDTHS, units: tuple[str, ...] = UNITS) -> list[Row]:
    """Rows of an example with every unit."""
    project = load(f"examples/{name}/{name}.toml", progress=progress)
    model, x = project.model, project.x
    exact, _ = float_reference(model, x)

    def score(outputs, where, source):
        return Row("accuracy", where, 100 * project.metric.score(outputs), "%", None, f"{source}, {len(x)} sequences")

    rows = [score(exact, f"{name}/float", "float reference")]
    for width in widths:
        accumulator = {"accumulator_bits": 32} if width == 8 else {}
        config = QuantConfig(weight_bits=width, operand_bits=width, **accumulator)
        quantised = quantize(model, project.data.calibration, config)
        with progress(f"{name}, {width} bits") as report:
            for number, unit in enumerate(units, start=1):
                qmodel = replace(quantised, activation=unit)
                outputs = qmodel.dequantize_output(integer_reference(qmodel, qmodel.quantize_input(x))[0])
                where, error = f"{name}/{width} bits/{unit}", float(np.mean(np.abs(outputs - exact)))
                rows.append(score(outputs, where, "integer reference"))
                rows.append(Row("mean_error", where, error, "of outputs", None, rows[-1].source))
                report(number, len(units))
    return rows


@command(RESULT)
def main():
    """Print errors and costs of every activation unit, and the accuracy of two examples with each."""
    result = []
    for name in UNITS:
        click.echo(name, err=True)
        result += unit_rows(name)
    return result + [row for name in EXAMPLES for row in example_rows(name)]


if __name__ == "__main__":
    main()
