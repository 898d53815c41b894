"""The command line: one verb a step, a thin shell over :mod:`lstm_hw.project.api` and :mod:`lstm_hw.project.flow`."""

import click

from .accuracy import precision, thresholds, trace
from .board import device, selftest
from .exploring import explore
from .files import check, driver, firmware, lint, package
from .shell import Commands
from .start import init, plan
from .steps import estimate, generate, quantize, report, run, simulate

VERBS = (
    *(quantize, estimate, generate, simulate, report, trace, precision, thresholds, explore),
    *(lint, firmware, package, check, driver, run, plan, init, device, selftest),
)
"""In the order of the flow."""


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  lstm-hw init model.safetensors --calibration data.npz
  lstm-hw run model.toml
  lstm-hw plan --inputs 256 --hidden 256 --part xc7z020""",
)
@click.version_option(package_name="lstm-hw", message="lstm-hw %(version)s")
def main() -> None:
    """Turn a trained LSTM into verified, synthesizable Verilog.

    A configuration file names the model, the data and what is to be decided (`lstm-hw init` writes one); results go to
    build/NAME. Every verb does what it needs of the ones before it. `lstm-hw run` does all.
    """


for command in VERBS:
    main.add_command(command)
