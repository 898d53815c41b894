"""What the Verilog models of memory and streams refuse."""

import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.verify.scenario import Scenario
from sim.scale import run_scale
from tests.builders import config_of


def test_one_memory_only(tmp_path):
    scenario = Scenario(config_of(rows=32, axi_ports=2), [], bytes(128), [])
    with pytest.raises(ConfigError, match="engine.axi_ports: 2; must be 1 for the Verilog models"):
        run_scale(tmp_path, scenario, tmp_path / "none.v", MemoryModel())
