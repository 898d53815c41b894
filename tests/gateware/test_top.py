"""The ports of the top level: names from which Vivado groups interfaces, with one weight port and with several."""

import re

import pytest

from lstm_hw.gateware.axi import Axi4Read
from lstm_hw.gateware.top import Top
from lstm_hw.machine.ports import weight_prefixes
from lstm_hw.verilog import tools
from lstm_hw.verilog.emit import emit_verilog, write_verilog
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


@pytest.fixture(scope="module", params=[{"rows": 8, "contexts": 2, "x_per_beat": 2}, {"rows": 32, "axi_ports": 2}])
def emitted(request):
    """A configuration and its Verilog."""
    config = config_of(**request.param)
    return config, emit_verilog(Top(config), "lstm_engine")


def test_head_of_the_file(emitted):
    """The configuration, the id that a register reads, the version of the package, and nothing of place or time."""
    config, verilog = emitted
    head = verilog[: verilog.index("\n\n")].splitlines()
    assert all(line.startswith("//") for line in head)
    for line in ("lstm-hw = ", f'content id = "0x{config.content_id:08x}"', f"engine.rows = {config.rows}"):
        assert sum(text.startswith(f"//   {line}") for text in head) == 1
    assert sum("engine." in line for line in head) == len(config.to_dict())
    assert verilog.isascii()


def test_every_module_says_what_it_is(emitted):
    lines = emitted[1].splitlines()
    modules = [n for n, line in enumerate(lines) if line.startswith("module ")]
    assert len(modules) > 30
    for n in modules:
        assert re.match(r"// [A-Z]?.*", lines[n - 1]) and not re.search(r"[`~]|:\w+:", lines[n - 1]), lines[n]
    assert "// Walks through CELL commands: a drain request a piece and a tag a unit." in lines


def test_ports_have_names(emitted):
    """No port is called by a number, of an element or of a net; no wire has a value before reset that is unknown."""
    _, verilog = emitted
    ports = re.findall(r"^  (?:input|output) (?:\[\d+:0\] )?(\S+);", verilog, flags=re.M)
    assert {"i_weights0_31_0", "bus0__araddr_39_3"} & set(ports) and len(set(ports)) > 200
    assert not [port for port in ports if re.search(r"^port_\d|__\d|^_|\W", port)]
    assert "(* init" not in verilog and "full_case" not in verilog


OPTIONS = {"lifts": (3, 9), "row_bits": 2, "count_clipped": True, "cells": 5, "accumulators": 65, "finish_entries": 48}


@pytest.mark.parametrize("options", [{}, OPTIONS])
def test_nets_have_names(options):
    """Every signal is declared under a name of its own; what Yosys makes of expressions has a number."""
    verilog = emit_verilog(Top(config_of(**options)), "lstm_engine")
    nets = re.findall(r"^  (?:wire|reg) (?:\[\d+:0\] )?(\S+?)(?: \[\d+:0\])?(?: = \S+)?;", verilog, flags=re.M)
    assert {"room_first", "flying", "_000_"} < set(nets)
    assert not [net for net in nets if re.match(r"_[A-Za-z]", net)]


def test_interfaces_are_declared(emitted):
    """Each port of the top level belongs to an interface of Vivado, each of which is described once."""
    config, verilog = emitted
    top = verilog[verilog.index("module lstm_engine(") : verilog.index("endmodule")]
    found = dict(re.findall(r'X_INTERFACE_INFO = "(.*)" \*\)\n(?:.*PARAMETER.*\n)?  (?:input|output).* (\w+);', top))
    ports = re.findall(r"^  (?:input|output) (?:\[\d+:0\] )?(\w+);", top, flags=re.M)
    assert sorted(found.values()) == sorted(ports) and len(found) == len(ports)
    masters = weight_prefixes(config)
    for info, port in {
        "xilinx.com:signal:clock:1.0 aclk CLK": "aclk",
        "xilinx.com:signal:reset:1.0 aresetn RST": "aresetn",
        "xilinx.com:signal:interrupt:1.0 interrupt INTERRUPT": "interrupt",
        "xilinx.com:interface:aximm:1.0 s_axi_ctrl AWADDR": "s_axi_ctrl_awaddr",
        "xilinx.com:interface:axis:1.0 m_axis_y TLAST": "m_axis_y_tlast",
        f"xilinx.com:interface:aximm:1.0 {masters[-1]} RDATA": f"{masters[-1]}_rdata",
    }.items():
        assert found[info] == port
    parameters = dict(re.findall(r'X_INTERFACE_PARAMETER = "XIL_INTERFACENAME (\w+), (.*)"', top))
    assert parameters.keys() == {"aclk", "aresetn", "interrupt", "s_axi_ctrl", "s_axis_x", "m_axis_y", *masters}
    assert len(re.findall("X_INTERFACE_PARAMETER", top)) == len(parameters)
    buses = ":".join(["s_axi_ctrl", *masters, "s_axis_x", "m_axis_y"])
    assert parameters["aclk"] == f"ASSOCIATED_BUSIF {buses}, ASSOCIATED_RESET aresetn"
    assert parameters["aresetn"] == "POLARITY ACTIVE_LOW"
    assert f"DATA_WIDTH {config.axi_data_bits}, ADDR_WIDTH {config.axi_address_bits}" in parameters[masters[0]]
