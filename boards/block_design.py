"""Block designs for Vivado: cells, connections and addresses as data, and the script that builds a project from them.

The scripts are written from the documentation of the cores and were not tried on a Vivado, which their headers say too.
They need no board files: whatever a board decides is in them.
"""

from dataclasses import dataclass, field

from lstm_hw.errors import ConfigError
from lstm_hw.host.dma import LENGTH_BITS
from lstm_hw.machine.limits import VALUE_BITS
from lstm_hw.machine.ports import CONTROL, TOPLEVEL, X, Y
from lstm_hw.machine.registers import ADDRESS_BITS

ENGINE, DMA = "engine", "dma"
"""Cells of the engine and of its stream DMA in every design."""
CONTROL_BASE, DMA_BASE, DMA_BYTES = 0x43C00000, 0x40400000, 1 << 16
"""Addresses of the engine's registers and of those of the DMA, as a host sees them."""
DMA_BITS = 512
"""Widest stream of the DMA."""
CLOCKED = [f"{ENGINE}/aclk", *(f"{DMA}/{name}_aclk" for name in ("s_axi_lite", "m_axi_mm2s", "m_axi_s2mm"))]
RESET = [f"{ENGINE}/aresetn", f"{DMA}/axi_resetn"]
"""Pins of both cells that the clock and the reset go to."""
STREAMS = [(f"{DMA}/M_AXIS_MM2S", f"{ENGINE}/{X}"), (f"{ENGINE}/{Y}", f"{DMA}/S_AXIS_S2MM")]
"""Interfaces of x and of the outputs."""
OVERLAY = "lstm_hw"
"""Stem of the files that a build leaves: a driver finds the description of a bitstream by its name."""


@dataclass
class Cell:
    """A cell of a design.

    Parameters
    ----------
    core : str
        ``name:version`` of a core of xilinx.com:ip, or the name of a Verilog module.
    config : dict of str to value
        Its properties, without ``CONFIG.``.
    """

    core: str
    config: dict = field(default_factory=dict)

    @property
    def is_module(self):
        return ":" not in self.core


@dataclass
class Design:
    """A block design.

    Parameters
    ----------
    cells : dict of str to Cell
    ports : dict of str to (str, str, dict)
        Interface ports of the whole: mode, kind and properties, as ``Master``,
        ``xilinx.com:interface:ddrx_rtl:1.0``, {}.
    pins : dict of str to str
        Other ports of the whole, which all are inputs of one bit: type (``clk``, ``rst``).
    interfaces : list of (str, str)
        Interfaces that are connected, as ``cell/interface``, or a port's name.
    nets : list of (str, list of str)
        A pin that drives, or a port's name, and those that it drives.
    addresses : list of (str, str, int, int)
        Address space, segment, offset and bytes.
    constraints : list of str
        Lines of the constraints file.
    """

    cells: dict = field(default_factory=dict)
    ports: dict = field(default_factory=dict)
    pins: dict = field(default_factory=dict)
    interfaces: list = field(default_factory=list)
    nets: list = field(default_factory=list)
    addresses: list = field(default_factory=list)
    constraints: list = field(default_factory=list)


def x_bits_of(engine_config):
    """Bits of a beat of x.

    Raises
    ------
    ConfigError
        More than the DMA has with a realignment engine.
    """
    x_bits = engine_config.operand_bits * engine_config.x_per_beat
    if x_bits > DMA_BITS:
        rule = f"must make beats of up to {DMA_BITS} bits for the DMA"
        raise ConfigError("engine.x_per_beat", engine_config.x_per_beat, rule)
    return x_bits


def engine_cells(engine_config):
    """The engine, and the stream DMA in simple mode, with transfers from and to any byte: dict of name -> Cell."""
    x_bits = x_bits_of(engine_config)
    config = {
        "c_include_sg": 0,
        "c_sg_length_width": LENGTH_BITS,
        "c_include_mm2s": 1,
        "c_include_mm2s_dre": 1,
        "c_m_axis_mm2s_tdata_width": x_bits,
        "c_m_axi_mm2s_data_width": max(32, x_bits),
        "c_include_s2mm": 1,
        "c_include_s2mm_dre": 1,
        "c_s_axis_s2mm_tdata_width": VALUE_BITS,
        "c_m_axi_s2mm_data_width": 32,
    }
    return {ENGINE: Cell(TOPLEVEL), DMA: Cell("axi_dma:7.1", config)}


def registers_behind(interconnect):
    """Interfaces from the first two masters of an interconnect to the registers of both cells."""
    return [(f"{interconnect}/M00_AXI", f"{ENGINE}/{CONTROL}"), (f"{interconnect}/M01_AXI", f"{DMA}/S_AXI_LITE")]


def registers_in(space):
    """Addresses of the registers of both cells in an address space."""
    return [
        (space, f"{ENGINE}/{CONTROL}/reg0", CONTROL_BASE, 1 << ADDRESS_BITS),
        (space, f"{DMA}/S_AXI_LITE/Reg", DMA_BASE, DMA_BYTES),
    ]


def vectors_at(segment, offset, size):
    """Addresses of the memory of vectors, for both channels of the DMA."""
    return [(f"{DMA}/Data_{way}", segment, offset, size) for way in ("MM2S", "S2MM")]


_TEMPLATE = """\
# {title}
#
#   vivado -mode batch -source block_design.tcl [-tclargs FOLDER]
#
# FOLDER (overlay) gets {overlay}.bit, {overlay}.hwh and {overlay}.xsa, which belong beside the driver, and the reports.
# The exit status is not 0 if anything fails, a clock that is too fast for the design included.
#
# NOT TRIED: no Vivado was at hand when this was written. A part or a core that yours does not have is told first.
#
{notes}

set overlay [file normalize [expr {{$argc > 0 ? [lindex $argv 0] : "overlay"}}]]
proc stop {{text}} {{
    puts stderr "error: $text"
    exit 1
}}
foreach name {{{sources}}} {{
    if {{![file exists $name]}} {{ stop "$name: not in [pwd]; run this script in the folder that it is in" }}
}}
if {{![llength [get_parts -quiet {part}]]}} {{
    stop "part {part}: not in this Vivado; must be installed: Help, Add Design Tools or Devices"
}}

create_project -force {project} {project} -part {part}
foreach core {{{cores}}} {{
    if {{![llength [get_ipdefs -quiet -all xilinx.com:ip:$core]]}} {{
        set there [get_ipdefs -quiet -all xilinx.com:ip:[lindex [split $core :] 0]:*]
        stop "core $core: not in this Vivado, which has: $there; must be there: change the version below"
    }}
}}
add_files lstm_engine.v
{read_constraints}update_compile_order -fileset sources_1
create_bd_design system

{body}

validate_bd_design
save_bd_design
set wrapper [make_wrapper -files [get_files system.bd] -top]
add_files -norecurse $wrapper
set_property top system_wrapper [current_fileset]
update_compile_order -fileset sources_1

launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
if {{[get_property PROGRESS [get_runs impl_1]] ne "100%"}} {{
    stop "implementation: [get_property STATUS [get_runs impl_1]]; the log is in {project}/{project}.runs"
}}
open_run impl_1
file mkdir $overlay
report_timing_summary -file [file join $overlay timing.rpt]
report_utilization -hierarchical -file [file join $overlay utilization.rpt]
foreach {{check name}} {{setup STATS.WNS hold STATS.WHS}} {{
    set slack [get_property $name [get_runs impl_1]]
    if {{![string is double -strict $slack] || $slack < 0}} {{
        stop "timing: $check slack is $slack ns, must not be negative; see [file join $overlay timing.rpt]"
    }}
}}

set bits [glob -nocomplain {project}/{project}.runs/impl_1/system_wrapper.bit]
set descriptions [glob -nocomplain {project}/{project}.{{gen,srcs}}/sources_1/bd/system/hw_handoff/system.hwh]
if {{![llength $bits] || ![llength $descriptions]}} {{ stop "{project}: no bitstream or no system.hwh in it" }}
file copy -force [lindex $bits 0] [file join $overlay {overlay}.bit]
file copy -force [lindex $descriptions 0] [file join $overlay {overlay}.hwh]
write_hw_platform -fixed -include_bit -force [file join $overlay {overlay}.xsa]
puts "wrote {overlay}.bit, {overlay}.hwh and {overlay}.xsa to $overlay"
"""


def script(design, board, part, title, notes, uart=False):
    """The script that builds a design.

    Parameters
    ----------
    design : Design
    board : str
        Name of the project.
    part : str
    title : str
        First line.
    notes : list of str
        What a reader should know, a line each.
    uart : bool
        The plan without the block design has a UART for a host.

    Returns
    -------
    dict of str to str
        File name -> text: the script, and its constraints if there are any.
    """
    constraints = {"block_design.xdc": "\n".join([*design.constraints, ""])} if design.constraints else {}
    text = _TEMPLATE.format(
        title=title,
        overlay=OVERLAY,
        notes="\n".join(f"#   {note}".rstrip() for note in notes),
        project=f"{OVERLAY}_{board.replace('-', '_')}",
        part=part,
        cores=" ".join(sorted({cell.core for cell in design.cells.values() if not cell.is_module})),
        sources=" ".join(["lstm_engine.v", *constraints]),
        read_constraints="".join(f"add_files -fileset constrs_1 {name}\n" for name in constraints),
        body="\n".join(_body(design)),
    )
    readme = _readme(board, title, notes, uart)
    return {"block_design.tcl": text, **constraints, "README.md": readme}


def _readme(board, title, notes, uart):
    host = ", and a host's way in over the UART" if uart else ""
    return f"""\
# {title.rstrip(".")}

| command | what it does |
|---|---|
| `vivado -mode batch -source block_design.tcl` | builds the design; `overlay/` gets `{OVERLAY}.bit`, `.hwh`, `.xsa` |
| `vivado -mode batch -source block_design.tcl -tclargs DRIVER` | leaves them in the folder `DRIVER`, beside a driver |
| `sh build_top.sh` | builds `top.bit` without this design: the self-test, verdict on the LEDs{host} |

Exit status 1 and no bitstream: a step failed, or the design is too slow for its clock. The host checks the engine by
its registers ID and CONTENT_ID, and loads program and weights at run time: a new model that fits needs no new
bitstream.
`docs/boards/{board}.md` of lstm-hw says what to connect and to expect.

```
{chr(10).join(notes)}
```
"""


def _body(design):
    for name, cell in design.cells.items():
        kind = f"module -reference {cell.core}" if cell.is_module else f"ip -vlnv xilinx.com:ip:{cell.core}"
        yield f"create_bd_cell -type {kind} {name}"
        if cell.config:
            yield "set_property -dict [list \\"
            yield from (f"    CONFIG.{key} {_word(value)} \\" for key, value in cell.config.items())
            yield f"] [get_bd_cells {name}]"
    yield ""
    for name, (mode, kind, config) in design.ports.items():
        yield f"create_bd_intf_port -mode {mode} -vlnv {kind} {name}"
        for key, value in config.items():
            yield f"set_property CONFIG.{key} {_word(value)} [get_bd_intf_ports {name}]"
    for name, kind in design.pins.items():
        yield f"create_bd_port -dir I -type {kind} {name}"
        if kind == "rst":
            yield f"set_property CONFIG.POLARITY ACTIVE_HIGH [get_bd_ports {name}]"
    for ends in design.interfaces:
        yield f"connect_bd_intf_net {' '.join(_end(end, 'intf_') for end in ends)}"
    yield ""
    for driver, loads in design.nets:
        yield f"connect_bd_net {_end(driver)} [get_bd_pins {{{' '.join(loads)}}}]"
    yield ""
    for space, segment, offset, size in design.addresses:
        yield (
            f"assign_bd_address -offset {offset:#010x} -range {size >> 10}K "
            f"-target_address_space [get_bd_addr_spaces {space}] [get_bd_addr_segs {segment}]"
        )


def _end(name, kind=""):
    return f"[get_bd_{kind}{'pins' if '/' in name else 'ports'} {name}]"


def _word(value):
    text = str(value)
    return f"{{{text}}}" if " " in text or not text else text
