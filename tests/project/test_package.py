"""The engine as IP: every description is checked by who reads it, and says what the Verilog and the registers say."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree
from systemrdl import RDLCompiler
from systemrdl.node import FieldNode, MemNode, RegNode
from systemrdl.rdltypes import AccessType, OnWriteType

from lstm_hw.gateware.ipxact import NAMESPACE
from lstm_hw.gateware.top import Top, config_words
from lstm_hw.machine.registers import ADDRESS_BITS, PROGRAM, Access, register_map
from lstm_hw.project.package import package_files
from lstm_hw.verilog.emit import emit_verilog
from sim.runner import run_bench
from tests.builders import config_of
from tests.sim.scenarios import network_scenario
from tests.simulators import QUICK

SCHEMA = Path(__file__).parents[1] / "ieee_1685_2009" / "index.xsd"
"""The standard's schema as Accellera publishes it; README.md beside it says under what terms."""
ENGINES = {
    "one-port": {},
    "two-ports": {"rows": 32, "axi_ports": 2, "x_per_beat": 8, "count_clipped": True},
}


@pytest.fixture(scope="module", params=ENGINES)
def config(request):
    return config_of(**ENGINES[request.param])


@pytest.fixture(scope="module")
def files(config):
    return package_files(config, "my-engine", "1.2.dev3")


@pytest.fixture(scope="module")
def verilog(config):
    return emit_verilog(Top(config), "lstm_engine")


class Xml:
    def __init__(self, text):
        self.root = etree.fromstring(text.encode())

    def all(self, path, node=None):
        return (self.root if node is None else node).xpath(path, namespaces={"s": NAMESPACE})

    def text(self, path, node=None):
        return self.all(f"string({path})", node)


def test_component_is_valid(files):
    schema = etree.XMLSchema(etree.parse(SCHEMA))
    xml = etree.fromstring(files["component.xml"].encode())
    assert schema.validate(xml), schema.error_log
    xml.remove(xml.find(f"{{{NAMESPACE}}}vendor"))
    assert not schema.validate(xml), "the schema finds what is missing"


def test_ports_and_interfaces_are_those_of_the_verilog(files, verilog):
    xml = Xml(files["component.xml"])
    top = re.search(r"^module lstm_engine\(.*?^endmodule", verilog, re.M | re.S)[0]
    declared = {
        name: (way, int(high or 0))
        for way, high, name in re.findall(r"^  (in|out)put (?:\[(\d+):0\] )?(\w+);", top, re.M)
    }
    ports = {
        xml.text("s:name", port): (
            xml.text("s:wire/s:direction", port),
            int(xml.text("s:wire/s:vector/s:left", port) or 0),
        )
        for port in xml.all("//s:model/s:ports/s:port")
    }
    assert ports == declared
    attributes = re.findall(
        r'X_INTERFACE_INFO = "xilinx.com:(\w+):(\w+):1.0 (\w+) (\w+)" \*\)(?:\n  \(\*.*)?\n.*?(\w+);', top
    )
    named = {port: (interface, library, kind, role) for library, kind, interface, role, port in attributes}
    found = {}
    for interface in xml.all("//s:busInterface"):
        kind = xml.all("s:busType", interface)[0]
        for pair in xml.all("s:portMaps/s:portMap", interface):
            port, role = xml.text("s:physicalPort/s:name", pair), xml.text("s:logicalPort/s:name", pair)
            found[port] = (
                xml.text("s:name", interface),
                kind.get(f"{{{NAMESPACE}}}library"),
                kind.get(f"{{{NAMESPACE}}}name"),
                role,
            )
    assert found == named and found.keys() == declared.keys()
    modes = {xml.text("s:name", i): {"m" if xml.all("s:master", i) else "s"} for i in xml.all("//s:busInterface")}
    assert modes.pop("interrupt") == {"m"} and modes.pop("aclk") == modes.pop("aresetn") == {"s"}
    assert all({name[0]} == mode for name, mode in modes.items())
    polarity = xml.text("//s:busInterface[s:name='aresetn']//s:parameter[s:name='POLARITY']/s:value")
    assert polarity == "ACTIVE_LOW"


def test_registers_of_the_component(files, config):
    xml = Xml(files["component.xml"])
    (block,) = xml.all("//s:addressBlock")
    assert int(xml.text("s:range", block), 0) == 1 << ADDRESS_BITS
    *registers, window = xml.all("s:register", block)
    words = {Access.RO: "read-only", Access.WO: "write-only"}
    changes = {Access.W1S: "oneToSet", Access.W1C: "oneToClear", Access.W1T: "oneToToggle"}
    for found, register in zip(registers, register_map(config.axi_ports, config.count_clipped), strict=True):
        assert xml.text("s:name", found) == register.name
        assert int(xml.text("s:addressOffset", found), 0) == register.address
        reset = config_words(config).get(register.name, register.reset)
        assert int(xml.text("s:reset/s:value", found), 0) == reset
        fields = [
            tuple(
                xml.text(f"s:{name}", f) for name in ("name", "bitOffset", "bitWidth", "access", "modifiedWriteValue")
            )
            for f in xml.all("s:field", found)
        ]
        assert fields == [
            (f.name, str(f.lsb), str(f.width), words.get(f.access, "read-write"), changes.get(f.access, ""))
            for f in register.fields
        ]
    assert int(xml.text("s:addressOffset", window), 0) == PROGRAM.address
    assert 4 * int(xml.text("s:dim", window)) == PROGRAM.size


def test_register_map_in_systemrdl(files, config, tmp_path):
    """systemrdl-compiler reads the same addresses, fields, access and reset values."""
    (tmp_path / "registers.rdl").write_text(files["registers.rdl"])
    compiler = RDLCompiler()
    compiler.compile_file(str(tmp_path / "registers.rdl"))
    nodes = list(compiler.elaborate().top.children())
    found = {node.inst_name: node for node in nodes if isinstance(node, RegNode)}
    registers = register_map(config.axi_ports, config.count_clipped)
    assert list(found) == [register.name for register in registers]
    writes = {Access.W1S: OnWriteType.woset, Access.W1C: OnWriteType.woclr, Access.W1T: OnWriteType.wot}
    software = {Access.RO: AccessType.r, Access.WO: AccessType.w}
    for register in registers:
        node = found[register.name]
        assert (node.absolute_address, node.size, node.get_property("desc")) == (register.address, 4, register.doc)
        reset = config_words(config).get(register.name, register.reset)
        fields = [child for child in node.children() if isinstance(child, FieldNode)]
        assert [(f.inst_name, f.lsb, f.width, f.get_property("reset")) for f in fields] == [
            (f.name, f.lsb, f.width, f.extract(reset)) for f in register.fields
        ]
        for field, wanted in zip(fields, register.fields, strict=True):
            assert field.get_property("sw") == software.get(wanted.access, AccessType.rw)
            assert field.get_property("onwrite") == writes.get(wanted.access)
    (window,) = [node for node in nodes if isinstance(node, MemNode)]
    assert (window.inst_name, window.absolute_address, window.size) == (PROGRAM.name, PROGRAM.address, PROGRAM.size)
    assert window.get_property("sw") == AccessType.w


def run_fusesoc(folder, *arguments):
    command = [sys.executable, "-m", "fusesoc.main", "--cores-root", str(folder), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_fusesoc_takes_the_core(files, verilog, tmp_path):
    folder = tmp_path / "ip"
    folder.mkdir()
    (folder / "my_engine.core").write_text(files["my_engine.core"])
    (folder / "lstm_engine.v").write_text(verilog)
    shown = run_fusesoc(folder, "core", "show", "lstm-hw:ip:my_engine:1.2.3")
    assert shown.returncode == 0 and "lint" in shown.stdout, shown.stdout + shown.stderr
    done = run_fusesoc(folder, "run", "--target", "lint", "--setup", "--build-root", "out", "lstm-hw:ip:my_engine")
    assert done.returncode == 0, done.stdout + done.stderr
    (options,), (settings,) = folder.rglob("out/**/*.vc"), folder.rglob("out/**/*.eda.yml")
    assert "lstm_engine.v\n--top-module lstm_engine\n" in options.read_text()
    assert "mode: lint-only" in settings.read_text()


def test_package_ip_is_tcl(files, tmp_path):
    """The script's commands, in an interpreter in which those of Vivado return their last word."""
    tkinter = pytest.importorskip("tkinter")
    tcl, seen = tkinter.Tcl(), []
    tcl.createcommand("record", lambda *words: (seen.append(words), "0" if "check" in words[0] else words[-1])[1])
    tcl.eval("proc unknown args { return [record {*}$args] }")
    tcl.eval("proc puts args {}")
    tcl.eval(f"namespace eval ipx {{}}; cd {tmp_path}")
    (tmp_path / "lstm_engine.v").write_text("")
    tcl.eval(files["package_ip.tcl"])
    commands = [words[0] for words in seen]
    assert {"ipx::package_project", "ipx::check_integrity", "ipx::save_core"} <= set(commands)
    assert ("set_property", "range", str(1 << ADDRESS_BITS)) in [words[:3] for words in seen]
    assert ("set_property", "version", "1.2.3") in [words[:3] for words in seen]


def litex_top(text, folder, ports):
    """Verilog of the LiteX module whose ports have the names of the engine's, and the names of its instance's pins.

    Parameters
    ----------
    text : str
        Of the module.
    folder : Path
    ports : iterable of str
        Names of the engine's ports.
    """
    from litex.gen.fhdl.verilog import convert
    from migen import ClockDomain, Signal

    path = folder / "litex_engine.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("litex_engine", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    engine = module.LstmEngine()
    weights = sorted({port.rpartition("_")[0] for port in ports if port.startswith("m_axi_weights")})
    buses = {"s_axi_ctrl": engine.control, "s_axis_x": engine.x, "m_axis_y": engine.y}
    buses |= {prefix: getattr(engine, f"weights{number}") for number, prefix in enumerate(weights)}
    clock, reset = Signal(name_override="aclk"), Signal(name_override="aresetn")
    engine.clock_domains.cd_sys = domain = ClockDomain("sys")
    engine.comb += [domain.clk.eq(clock), domain.rst.eq(~reset)]
    ios = {clock, reset, engine.interrupt}
    for port in set(ports) - {"aclk", "aresetn", "interrupt"}:
        prefix, _, name = port.rpartition("_")
        bus = buses[prefix]
        if prefix.startswith(("s_axis", "m_axis")):
            signal = getattr(bus, name.removeprefix("t"))
        else:
            channel = re.match("aw|ar|w|b|r", name)[0]
            signal = getattr(getattr(bus, channel), name.removeprefix(channel))
        signal.name_override = port
        ios.add(signal)
    wrapper = convert(engine, ios, name="litex_top").main_source
    instance = re.search(r"lstm_engine lstm_engine\s*\((.*?)\n\);", wrapper, re.S)[1]
    return wrapper, set(re.findall(r"\.(\w+)\s*\(", instance))


def ports_of(verilog):
    top = re.search(r"^module lstm_engine\(.*?^endmodule", verilog, re.M | re.S)[0]
    return set(re.findall(r"^  (?:in|out)put (?:\[\d+:0\] )?(\w+);", top, re.M))


def test_litex_connects_every_port(files, verilog, tmp_path):
    ports = ports_of(verilog)
    assert litex_top(files["litex_engine.py"], tmp_path, ports)[1] == ports


def test_litex_in_simulation(tmp_path):
    """The engine inside the LiteX module has the bits and cycles that it has alone, behind the transfers of a DMA."""
    scenario = network_scenario(5, sizes=(7, 4), steps=(4, 3), x_per_beat=4, rows=4, x_elements=16, axi_data_bits=64)
    verilog = emit_verilog(Top(scenario.config), "lstm_engine")
    wrapper, _ = litex_top(package_files(scenario.config, "e", "1")["litex_engine.py"], tmp_path, ports_of(verilog))
    (tmp_path / "lstm_engine.v").write_text(verilog)
    (tmp_path / "litex_top.v").write_text(wrapper)
    scenario.save(tmp_path / "scenario")
    environment = {"LSTM_HW_SCENARIO": str(tmp_path / "scenario"), "LSTM_HW_INPUTS": "7"}
    sources = [tmp_path / "lstm_engine.v", tmp_path / "litex_top.v"]
    run_bench(sources, "litex_top", "sim.bench_dma", simulator=QUICK, timeout=500, extra_env=environment)
