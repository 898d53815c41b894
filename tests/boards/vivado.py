"""A model of the part of Vivado that the block designs use: a Tcl interpreter whose commands check what they are given.

It knows the interfaces and pins of the cores by their documentation (PG021, PG059, PG078, PG082, PG164, PG174, PG247,
UG585), and those of the engine by the attributes in its Verilog.
"""

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HIDDEN = ("glob", "file")
"""Commands of Tcl that the model replaces."""


@dataclass
class Interface:
    """``kind`` is aximm, axis or another word; ``bits`` are of data, None where a core takes any."""

    mode: str
    kind: str
    bits: int | None = None
    protocol: str = ""
    clock: str = ""


@dataclass
class Pins:
    """Interfaces and pins of a cell; a pin is (direction, kind or "", bits)."""

    interfaces: dict = field(default_factory=dict)
    pins: dict = field(default_factory=dict)
    spaces: dict = field(default_factory=dict)
    """Address space -> interface that it is of."""
    segments: dict = field(default_factory=dict)
    """Segment -> interface that it is reached by."""


def pins_of(core, config, engine):
    """What a core has with such properties, which must be its own."""
    name = core.split(":")[0]
    number = {key: int(value) for key, value in config.items() if re.fullmatch(r"\d+", str(value))}
    found = Pins()
    if name == "processing_system7":
        assert all(key.startswith("PCW_") for key in config)
        found.interfaces = {"DDR": Interface("Master", "ddrx_rtl"), "FIXED_IO": Interface("Master", "fixedio_rtl")}
        if number.get("PCW_USE_M_AXI_GP0"):
            found.interfaces["M_AXI_GP0"] = Interface("Master", "aximm", 32, "AXI3", "M_AXI_GP0_ACLK")
            found.spaces["Data"] = "M_AXI_GP0"
        for slave, segment in (
            *((f"S_AXI_HP{n}", f"HP{n}_DDR_LOWOCM") for n in range(4)),
            ("S_AXI_GP0", "GP0_DDR_LOWOCM"),
        ):
            if number.get(f"PCW_USE_{slave}"):
                bits = number[f"PCW_{slave}_DATA_WIDTH"] if "HP" in slave else 32
                found.interfaces[slave] = Interface("Slave", "aximm", bits, "AXI3", f"{slave}_ACLK")
                found.segments[f"{slave}/{segment}"] = slave
        found.pins = {i.clock: ("I", "clk", 1) for i in found.interfaces.values() if i.clock}
        found.pins |= {"FCLK_CLK0": ("O", "clk", 1), "FCLK_RESET0_N": ("O", "rst", 1)}
        if number.get("PCW_USE_FABRIC_INTERRUPT") and number.get("PCW_IRQ_F2P_INTR"):
            found.pins["IRQ_F2P"] = ("I", "intr", 16)
    elif name == "axi_dma":
        assert number["c_include_sg"] == 0 and number["c_sg_length_width"] <= 26
        found.interfaces["S_AXI_LITE"] = Interface("Slave", "aximm", 32, "AXI4LITE", "s_axi_lite_aclk")
        found.segments["S_AXI_LITE/Reg"] = "S_AXI_LITE"
        for way, stream, prefix, mode in (
            ("MM2S", "M_AXIS_MM2S", "c_m_axis_mm2s", "Master"),
            ("S2MM", "S_AXIS_S2MM", "c_s_axis_s2mm", "Slave"),
        ):
            clock, memory = f"m_axi_{way.lower()}_aclk", number[f"c_m_axi_{way.lower()}_data_width"]
            width = number[f"{prefix}_tdata_width"]
            assert width <= memory and memory >= 32 and {width, memory} <= {1 << n for n in range(3, 11)}
            assert width <= 512 or not number[f"c_include_{way.lower()}_dre"]
            found.interfaces[f"M_AXI_{way}"] = Interface("Master", "aximm", memory, "AXI4", clock)
            found.interfaces[stream] = Interface(mode, "axis", width, clock=clock)
            found.spaces[f"Data_{way}"] = f"M_AXI_{way}"
            found.pins |= {clock: ("I", "clk", 1), f"{way.lower()}_introut": ("O", "intr", 1)}
        found.pins |= {"s_axi_lite_aclk": ("I", "clk", 1), "axi_resetn": ("I", "rst", 1)}
    elif name == "smartconnect":
        assert config.keys() <= {"NUM_SI", "NUM_MI", "NUM_CLKS"} and number["NUM_SI"] <= 16 and number["NUM_MI"] <= 16
        for letter, mode, count in (("S", "Slave", number["NUM_SI"]), ("M", "Master", number["NUM_MI"])):
            for n in range(count):
                found.interfaces[f"{letter}{n:02}_AXI"] = Interface(mode, "aximm", None, "", "aclk")
        found.pins = {"aclk": ("I", "clk", 1), "aresetn": ("I", "rst", 1)}
    elif name == "proc_sys_reset":
        found.pins = {"slowest_sync_clk": ("I", "clk", 1), "ext_reset_in": ("I", "rst", 1)}
        found.pins |= {"dcm_locked": ("I", "", 1), "peripheral_aresetn": ("O", "rst", 1)}
    elif name == "xlconcat":
        inputs = {f"In{n}": ("I", "intr", 1) for n in range(number["NUM_PORTS"])}
        found.pins = inputs | {"dout": ("O", "intr", len(inputs))}
    elif name == "clk_wiz":
        assert config["USE_RESET"] == "false" and config["PRIM_SOURCE"] == "Differential_clock_capable_pin"
        found.interfaces["CLK_IN1_D"] = Interface("Slave", "diff_clock_rtl")
        found.pins = {"clk_out1": ("O", "clk", 1), "locked": ("O", "", 1)}
    elif name == "jtag_axi":
        found.interfaces["M_AXI"] = Interface("Master", "aximm", number["M_AXI_DATA_WIDTH"], "AXI4", "aclk")
        found.spaces["Data"] = "M_AXI"
        found.pins = {"aclk": ("I", "clk", 1), "aresetn": ("I", "rst", 1)}
    elif name == "axi_bram_ctrl":
        assert number["SINGLE_PORT_BRAM"] == 1
        found.interfaces["S_AXI"] = Interface("Slave", "aximm", number["DATA_WIDTH"], "AXI4", "s_axi_aclk")
        found.interfaces["BRAM_PORTA"] = Interface("Master", "bram_rtl")
        found.segments["S_AXI/Mem0"] = "S_AXI"
        found.pins = {"s_axi_aclk": ("I", "clk", 1), "s_axi_aresetn": ("I", "rst", 1)}
    elif name == "blk_mem_gen":
        assert config["use_bram_block"] == "BRAM_Controller"
        found.interfaces["BRAM_PORTA"] = Interface("Slave", "bram_rtl")
    elif name == "lstm_engine":
        return engine
    else:
        raise AssertionError(f"unknown core {core}")
    return found


def engine_pins(verilog):
    """Interfaces and pins of the engine, from the attributes of its ports."""
    top = re.search(r"^module lstm_engine\(.*?^endmodule", verilog, re.M | re.S)[0]
    found = Pins()
    pattern = r'X_INTERFACE_INFO = "xilinx.com:(\S+) (\w+) \w+" \*\)\n((?:  \(\*.*\n)?)'
    pattern += r"  (input|output) (?:\[(\d+):0\] )?(\w+);"
    for kind, interface, parameters, direction, high, port in re.findall(pattern, top):
        kind = kind.split(":")[1]
        if interface == port:
            found.pins[port] = (direction[0].upper(), {"clock": "clk", "reset": "rst", "interrupt": "intr"}[kind], 1)
            continue
        given = dict(re.findall(r"(\w+) (\w+)", parameters))
        if given:
            bits = int(given["DATA_WIDTH"]) if "DATA_WIDTH" in given else 8 * int(given["TDATA_NUM_BYTES"])
            mode = {"s": "Slave", "m": "Master"}[interface[0]]
            found.interfaces[interface] = Interface(mode, kind, bits, given.get("PROTOCOL", ""), "aclk")
        if port.endswith("data") and kind in ("aximm", "axis"):
            assert int(high) + 1 == found.interfaces[interface].bits, port
    for name, interface in found.interfaces.items():
        if interface.kind == "aximm" and interface.mode == "Master":
            found.spaces[name] = name
        elif interface.kind == "aximm":
            found.segments[f"{name}/reg0"] = name
    return found


class Vivado:
    """Runs a script; everything that a command is given must exist and fit.

    Parameters
    ----------
    files : dict of str to str
        The plan's, among them the engine's Verilog.
    wns, whs : str
        Slack that implementation reports.
    progress : str
        How far it came.
    missing : str
        A part or a core, as the script names it, that this Vivado does not have.
    """

    def __init__(self, files, wns="0.1", whs="0.05", progress="100%", missing=""):
        self.missing = missing
        self.files, self.answers = files, {"STATS.WNS": wns, "STATS.WHS": whs, "PROGRESS": progress, "STATUS": "failed"}
        self.slack = {"max": wns, "min": whs}
        self.engine = engine_pins(files["lstm_engine.v"])
        self.cells, self.config, self.ports, self.pins = {}, {}, {}, {}
        self.links, self.drivers, self.addresses = {}, {}, {}
        self.seen, self.status, self.copied, self.errors, self.said = [], 0, {}, [], ""

    def run(self, name, *arguments):
        """Run a file of the plan; its exit status."""
        tkinter = pytest.importorskip("tkinter")
        tcl = tkinter.Tcl()
        tcl.createcommand("model", self._call)
        for command in HIDDEN:
            tcl.eval(f"rename {command} {{}}")
        tcl.eval("proc unknown args { return [model {*}$args] }")
        tcl.eval("proc exit {{status 0}} { model exit $status; return -level 0 -code error EXIT }")
        tcl.eval("rename puts tcl_puts")
        tcl.eval(
            "proc puts args { if {[lindex $args 0] eq {-nonewline}} { tcl_puts {*}$args } { model puts {*}$args } }"
        )
        tcl.eval(f"set argc {len(arguments)}; set argv [list {' '.join(arguments)}]")
        try:
            tcl.eval(self.files[name])
        except tkinter.TclError as error:
            if str(error) != "EXIT":
                raise AssertionError(self.errors or str(error)) from error
        assert not self.errors, self.errors
        return self.status

    def written(self):
        """Paths of what the script has made for somebody else."""
        commands = ("write_bitstream", "write_hw_platform")
        return [*self.copied, *(words[-1] for words in self.seen if words[0] in commands)]

    def _call(self, command, *words):
        words = [str(word) for word in words]
        self.seen.append((command, *words))
        try:
            answer = getattr(self, f"_{command}", self._other)(*words)
        except (AssertionError, KeyError, IndexError) as error:
            self.errors.append(f"{command} {' '.join(words)}: {error!r}")
            raise
        return "" if answer is None else answer

    def _other(self, *words):
        return ""

    # Tcl

    def _exit(self, status):
        self.status = int(status)

    def _puts(self, *words):
        self.said = words[-1]

    def _file(self, what, *words):
        if what == "exists":
            return str(int(words[0] in self.files))
        if what == "copy":
            self.copied[words[-1]] = words[-2]
        elif what not in ("mkdir",):
            return "/".join(word for word in words) if what == "join" else words[-1]
        return ""

    def _glob(self, _, pattern):
        folders = [pattern.replace("{gen,srcs}", name) for name in ("gen", "srcs")]
        return folders[0] if "{" in pattern else pattern

    # Objects

    def _get_parts(self, _, name):
        return "" if name == self.missing else name

    def _get_ipdefs(self, _, __, pattern):
        name = pattern.removeprefix("xilinx.com:ip:")
        return "" if name == self.missing else pattern.replace("*", "99.0")

    def _get_property(self, name, owner):
        return self.slack[owner] if name == "SLACK" else self.answers[name]

    def _get_timing_paths(self, _, kind):
        return kind

    def _create_bd_cell(self, *words):
        assert words[:2] in (("-type", "ip"), ("-type", "module")) and words[4] not in self.cells
        self.cells[words[4]] = words[3].removeprefix("xilinx.com:ip:")
        self.config[words[4]] = {}

    def _set_property(self, *words):
        if words[-1] in self.ports or words[-1] in self.pins:
            self.config.setdefault(words[-1], {})[words[0].removeprefix("CONFIG.")] = words[1]
        elif words[0] == "-dict":
            values = words[1]
            import tkinter

            items = tkinter.Tcl().splitlist(values)
            for key, value in zip(items[::2], items[1::2], strict=True):
                self.config[words[2]][key.removeprefix("CONFIG.")] = value

    def _get_bd_cells(self, name):
        assert name in self.cells
        return name

    def _create_bd_intf_port(self, *words):
        self.ports[words[-1]] = Interface(words[1], words[3].split(":")[-2])

    def _create_bd_port(self, *words):
        self.pins[words[-1]] = words[3]

    def _get_bd_intf_ports(self, name):
        assert name in self.ports
        return name

    def _get_bd_ports(self, name):
        assert name in self.pins
        return name

    def _of(self, cell):
        return pins_of(self.cells[cell], self.config[cell], self.engine)

    def interface(self, name):
        if name in self.ports:
            return self.ports[name]
        cell, pin = name.split("/")
        return self._of(cell).interfaces[pin]

    def pin(self, name):
        if name in self.pins:
            return ("O", self.pins[name], 1)
        cell, pin = name.split("/")
        return self._of(cell).pins[pin]

    def _get_bd_intf_pins(self, name):
        self.interface(name)
        return name

    def _get_bd_pins(self, names):
        for name in names.split():
            self.pin(name)
        return names

    def _connect_bd_intf_net(self, one, other):
        ends = [self.interface(one), self.interface(other)]
        assert one not in self.links and other not in self.links, "connected twice"
        assert ends[0].kind == ends[1].kind
        outside = one in self.ports or other in self.ports
        assert (ends[0].mode == ends[1].mode) == outside, "two of one mode"
        bits = [end.bits for end in ends if end.bits is not None]
        assert len(set(bits)) <= 1, f"widths {bits}"
        protocols = {end.protocol for end in ends if end.protocol}
        assert len(protocols) <= 1, f"protocols {protocols}"
        self.links[one], self.links[other] = other, one

    def _connect_bd_net(self, driver, loads):
        direction, kind, bits = self.pin(driver)
        assert direction == "O"
        for load in loads.split():
            to, wanted, width = self.pin(load)
            assert to == "I" and load not in self.drivers and wanted == kind and bits <= width, load
            self.drivers[load] = driver

    def _get_bd_addr_spaces(self, name):
        cell, space = name.split("/")
        assert space in self._of(cell).spaces
        return name

    def _get_bd_addr_segs(self, name):
        cell, segment = name.split("/", 1)
        assert segment in self._of(cell).segments
        return name

    def _assign_bd_address(self, *words):
        options = dict(zip(words[:-1:2], words[1:-1:2], strict=True))
        offset, size = int(options["-offset"], 0), int(options["-range"].removesuffix("K")) << 10
        assert size & (size - 1) == 0 and offset % size == 0, "no aligned power of two"
        inside = self.addresses.setdefault(options["-target_address_space"], {})
        for start, length in inside.values():
            assert start + length <= offset or offset + size <= start, "overlaps"
        inside[words[-1]] = (offset, size)

    def _validate_bd_design(self):
        """What is connected, clocked, reset and mapped."""
        for cell in self.cells:
            pins = self._of(cell)
            for name, interface in pins.interfaces.items():
                assert f"{cell}/{name}" in self.links, f"{cell}/{name} is open"
                if interface.clock:
                    mine, other = f"{cell}/{interface.clock}", self.links[f"{cell}/{name}"]
                    clock = f"{other.split('/')[0]}/{self.interface(other).clock}"
                    assert self.drivers[mine] == self.drivers[clock], f"{mine} and {clock} differ"
            for name, (direction, kind, _) in pins.pins.items():
                if direction == "I" and (kind or name != "dcm_locked"):
                    assert f"{cell}/{name}" in self.drivers, f"{cell}/{name} is open"
            if self.cells[cell].startswith("proc_sys_reset"):
                low = self.drivers[f"{cell}/ext_reset_in"].endswith("_N")
                assert self.config[cell]["C_EXT_RESET_HIGH"] == str(int(not low)), "polarity of the reset"
        assert set(self.ports) <= self.links.keys()
        for port, interface in self.ports.items():
            if interface.kind == "diff_clock_rtl":
                wizard = self.config[self.links[port].split("/")[0]]
                assert int(self.config[port]["FREQ_HZ"]) == float(wizard["PRIM_IN_FREQ"]) * 1e6, "another frequency"
        for pin, kind in self.pins.items():
            assert kind != "rst" or self.config[pin] == {"POLARITY": "ACTIVE_HIGH"}, "polarity"
        for space, segments in self.reachable().items():
            assert self.addresses.get(space, {}).keys() == segments, f"{space}: {segments} must have addresses"

    def reachable(self):
        """Address space -> segments that its interface leads to."""
        found = {}
        for cell in self.cells:
            for space, interface in self._of(cell).spaces.items():
                found[f"{cell}/{space}"] = self._segments(f"{cell}/{interface}")
        return found

    def _segments(self, master):
        slave = self.links[master]
        cell, name = slave.split("/")
        pins = self._of(cell)
        if self.cells[cell].startswith("smartconnect"):
            masters = [n for n, interface in pins.interfaces.items() if interface.mode == "Master"]
            return set().union(*(self._segments(f"{cell}/{n}") for n in masters))
        return {f"{cell}/{segment}" for segment, interface in pins.segments.items() if interface == name}


def main(argv, folder):
    """Be the program: run the script that batch mode is given in a folder, and leave what it writes; its exit status.

    ``slack.json`` in the folder above has parameters of :class:`Vivado` for a script.
    """
    assert argv[:2] == ["-mode", "batch"]
    script, slack = argv[argv.index("-source") + 1], folder.parent / "slack.json"
    files = {path.name: path.read_text() for path in folder.iterdir() if path.suffix in (".tcl", ".v", ".xdc")}
    given = json.loads(slack.read_text()).get(script, {}) if slack.is_file() else {}
    vivado = Vivado(files, **given)
    status = vivado.run(script)
    print(vivado.said)
    for name in [] if status else vivado.written():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"made")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
