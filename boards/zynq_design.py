"""A Vivado script that puts the engine beside the processor of a Zynq-7000.

It is an integration template: written from the documentation of the cores and not tried on a Vivado, which the
script's header says too.
"""

from lstm_hw.errors import ConfigError
from lstm_hw.machine.config import VALUE_BITS
from lstm_hw.machine.ports import CONTROL, WEIGHTS, X, Y
from lstm_hw.machine.registers import ADDRESS_BITS

CONTROL_BASE, DMA_BASE = 0x43C00000, 0x40400000
"""Addresses of the engine's registers and of those of the stream DMA, as the processor sees them."""
CLOCK_MHZ = 100

_TEMPLATE = """\
# The engine beside the processor of a Zynq-7000: a block design for Vivado.
#
#   vivado -mode batch -source block_design.tcl
#
# TEMPLATE, NOT TRIED: no Vivado was at hand when this was written. Versions of the cores may have to follow yours
# (ps7 5.5, axi_dma 7.1, smartconnect 1.0), and without the board's files the DDR timing of the processor has to be
# set by hand.
#
#   registers  {control}   M_AXI_GP0 -> smartconnect -> {control_base:#010x}
#   weights    {weights}   -> smartconnect -> S_AXI_HP0
#   x          {x}   <- AXI DMA, MM2S, {x_bits} bits
#   outputs    {y}   -> AXI DMA, S2MM, {y_bits} bits
#
# tlast ends every x vector: give the DMA a chain of descriptors, one a time step, each with start and end of frame.

set part {part}
create_project -force lstm_hw_{name} lstm_hw_{name} -part $part
set boards [get_board_parts -quiet *:{name}:*]
if {{[llength $boards]}} {{
    set_property board_part [lindex $boards end] [current_project]
}}
add_files lstm_engine.v
update_compile_order -fileset sources_1

create_bd_design system

# The processor: one master port for registers, two slave ports for memory, a clock, an interrupt input.
set ps7 [create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7:5.5 ps7]
apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 \\
    -config [list make_external "FIXED_IO, DDR" apply_board_preset [expr {{[llength $boards] > 0}}]] $ps7
set_property -dict [list \\
    CONFIG.PCW_USE_M_AXI_GP0 1 \\
    CONFIG.PCW_USE_S_AXI_HP0 1 CONFIG.PCW_S_AXI_HP0_DATA_WIDTH 64 \\
    CONFIG.PCW_USE_S_AXI_HP1 1 CONFIG.PCW_S_AXI_HP1_DATA_WIDTH 64 \\
    CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ {clock} \\
    CONFIG.PCW_USE_FABRIC_INTERRUPT 1 CONFIG.PCW_IRQ_F2P_INTR 1 \\
] $ps7

set engine [create_bd_cell -type module -reference lstm_engine engine]
set_property CONFIG.ASSOCIATED_BUSIF {{{control}:{weights}:{x}:{y}}} [get_bd_pins engine/aclk]

set dma [create_bd_cell -type ip -vlnv xilinx.com:ip:axi_dma:7.1 dma]
set_property -dict [list \\
    CONFIG.c_include_sg 1 CONFIG.c_sg_include_stscntrl_strm 0 CONFIG.c_sg_length_width 23 \\
    CONFIG.c_include_mm2s 1 CONFIG.c_m_axis_mm2s_tdata_width {x_bits} CONFIG.c_m_axi_mm2s_data_width {memory_bits} \\
    CONFIG.c_include_s2mm 1 CONFIG.c_s_axis_s2mm_tdata_width {y_bits} CONFIG.c_m_axi_s2mm_data_width 32 \\
] $dma

set reset [create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset:5.0 reset]
foreach {{cell masters slaves}} {{registers 1 2 weights 1 1 vectors 3 1}} {{
    create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect:1.0 $cell
    set_property -dict [list CONFIG.NUM_SI $masters CONFIG.NUM_MI $slaves] [get_bd_cells $cell]
}}
set interrupts [create_bd_cell -type ip -vlnv xilinx.com:ip:xlconcat:2.1 interrupts]
set_property CONFIG.NUM_PORTS 3 $interrupts

foreach {{from to}} {{
    ps7/M_AXI_GP0       registers/S00_AXI
    registers/M00_AXI   engine/{control}
    registers/M01_AXI   dma/S_AXI_LITE
    engine/{weights}  weights/S00_AXI
    weights/M00_AXI     ps7/S_AXI_HP0
    dma/M_AXI_MM2S      vectors/S00_AXI
    dma/M_AXI_S2MM      vectors/S01_AXI
    dma/M_AXI_SG        vectors/S02_AXI
    vectors/M00_AXI     ps7/S_AXI_HP1
    dma/M_AXIS_MM2S     engine/{x}
    engine/{y}     dma/S_AXIS_S2MM
}} {{
    connect_bd_intf_net [get_bd_intf_pins $from] [get_bd_intf_pins $to]
}}

foreach {{number pin}} {{0 engine/interrupt 1 dma/mm2s_introut 2 dma/s2mm_introut}} {{
    connect_bd_net [get_bd_pins $pin] [get_bd_pins interrupts/In$number]
}}
connect_bd_net [get_bd_pins interrupts/dout] [get_bd_pins ps7/IRQ_F2P]

connect_bd_net [get_bd_pins ps7/FCLK_CLK0] [get_bd_pins {{
    ps7/M_AXI_GP0_ACLK ps7/S_AXI_HP0_ACLK ps7/S_AXI_HP1_ACLK
    engine/aclk dma/s_axi_lite_aclk dma/m_axi_mm2s_aclk dma/m_axi_s2mm_aclk dma/m_axi_sg_aclk
    registers/aclk weights/aclk vectors/aclk reset/slowest_sync_clk
}}]
connect_bd_net [get_bd_pins ps7/FCLK_RESET0_N] [get_bd_pins reset/ext_reset_in]
connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins {{
    engine/aresetn dma/axi_resetn registers/aresetn weights/aresetn vectors/aresetn
}}]

assign_bd_address -offset {control_base:#010x} -range {control_range} [get_bd_addr_segs engine/{control}/reg0]
assign_bd_address -offset {dma_base:#010x} -range 64K [get_bd_addr_segs dma/S_AXI_LITE/Reg]
assign_bd_address
validate_bd_design
save_bd_design

set wrapper [make_wrapper -files [get_files system.bd] -top]
add_files -norecurse $wrapper
set_property top system_wrapper [current_fileset]
update_compile_order -fileset sources_1
launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
open_run impl_1
report_timing_summary -file lstm_hw_{name}_timing.rpt
report_utilization -hierarchical -file lstm_hw_{name}_utilization.rpt
write_hw_platform -fixed -include_bit -force lstm_hw_{name}.xsa
"""


def script(engine_config, name="zc706", part="xc7z045ffg900-2"):
    """The script's text.

    Parameters
    ----------
    engine_config : EngineConfig
        Decides the widths of the stream DMA.
    name : str
        The board, as Xilinx's board files call it.
    part : str

    Raises
    ------
    ConfigError
        The engine has several weight ports: the design has one memory port for weights.
    """
    if engine_config.axi_ports != 1:
        raise ConfigError("engine.axi_ports", engine_config.axi_ports, "must be 1 for the block design of this board")
    x_bits = engine_config.operand_bits * engine_config.x_per_beat
    return _TEMPLATE.format(
        name=name,
        part=part,
        control=CONTROL,
        weights=WEIGHTS,
        x=X,
        y=Y,
        x_bits=x_bits,
        clock=CLOCK_MHZ,
        memory_bits=max(32, x_bits),
        y_bits=VALUE_BITS,
        control_base=CONTROL_BASE,
        dma_base=DMA_BASE,
        control_range=f"{(1 << ADDRESS_BITS) >> 10}K",
    )
