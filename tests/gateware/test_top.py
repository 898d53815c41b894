"""The ports of the top level: names from which Vivado groups interfaces, with one weight port and with several."""

import re

import pytest

from lstm_hw.gateware.axi import Axi4Read
from lstm_hw.gateware.top import Top
from lstm_hw.machine.ports import weight_prefixes
from lstm_hw.verilog import tools
from lstm_hw.verilog.emit import write_verilog
from tests.builders import config_of


@pytest.mark.parametrize(
    "ports, names",
    [
        (1, ["m_axi_weights"]),
        (2, ["m_axi_weights0", "m_axi_weights1"]),
        (4, ["m_axi_weights0", "m_axi_weights1", "m_axi_weights2", "m_axi_weights3"]),
    ],
)
def test_weight_ports(tmp_path, ports, names):
    config = config_of(rows=64, axi_ports=ports)
    assert weight_prefixes(config) == names
    path = write_verilog(tmp_path / "engine.v", Top(config), "lstm_engine")
    declared = re.findall(r"^  (?:input|output) (?:\[\d+:0\] )?(m_axi_\w+);", path.read_text(), flags=re.M)
    assert set(declared) == {f"{name}_{member}" for name in names for member in Axi4Read(40, 64).members}
    assert tools.lint([path], "lstm_engine") == []
