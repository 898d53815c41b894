"""The digits example in Verilog: real images with idle, back-pressure and a slow memory, some in Icarus."""

from pathlib import Path

import pytest

import lstm_hw
from lstm_hw.verify.scenario import Stress

EXAMPLE = Path(__file__).parents[2] / "examples/digits/digits.toml"
STRESS = Stress(x_idle=0.3, y_stall=0.5, memory_stall=0.3, memory_latency=30, seed=5)


@pytest.mark.parametrize(
    "simulator, images, stress",
    [
        ("verilator", 12, STRESS),
        pytest.param("icarus", 1, None, marks=pytest.mark.icarus),
    ],
)
def test_images_are_bit_exact(tmp_path, simulator, images, stress):
    project = lstm_hw.convert(EXAMPLE, output=tmp_path)
    result = project.simulate(images, simulator=simulator, stress=stress)
    assert len(result.outputs) == images
