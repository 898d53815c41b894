"""The engine on a board without a processor: block RAM for weights and vectors, and a bridge from JTAG to AXI.

The host is Vivado's hardware manager with ``jtag_host.tcl``, which knows the registers, the memory and the DMA.
"""

from lstm_hw.machine.ports import CONTROL, X, Y, weight_prefixes
from lstm_hw.machine.registers import lookup

from . import block_design as bd

MEMORY_BASE, MEMORY_BYTES = 0x00000000, 1 << 20
"""Block RAM for weights and vectors: 256 blocks of 36 kbit."""
LONGEST_BURST = 256
"""Words of 32 bits in one transfer of the bridge."""


def files(engine_config, board, clock_pins, reset_pin, level):
    """The files of the block design, and a host for it.

    Parameters
    ----------
    engine_config : EngineConfig
    board : lstm_hw.machine.parts.Board
    clock_pins : (str, str, str, float)
        Positive and negative pin of the differential clock, its level, and MHz.
    reset_pin, level : str
        Button that resets the design while it is high.

    Returns
    -------
    dict of str to str
        File name -> text.

    Raises
    ------
    ConfigError
        A beat of x is wider than the DMA has beats.
    """
    positive, negative, clock_level, input_mhz = clock_pins
    found = design(engine_config, board.clock_mhz, input_mhz)
    found.constraints = [
        f"set_property -dict {{PACKAGE_PIN {positive} IOSTANDARD {clock_level}}} [get_ports sysclk_clk_p]",
        f"set_property -dict {{PACKAGE_PIN {negative} IOSTANDARD {clock_level}}} [get_ports sysclk_clk_n]",
        f"set_property -dict {{PACKAGE_PIN {reset_pin} IOSTANDARD {level}}} [get_ports cpu_reset]",
        "set_property CFGBVS GND [current_design]",
        "set_property CONFIG_VOLTAGE 1.8 [current_design]",
    ]
    notes = [
        f"registers  {CONTROL} at {bd.CONTROL_BASE:#010x}, of the DMA at {bd.DMA_BASE:#010x}",
        f"memory     {MEMORY_BYTES >> 10} KiB of block RAM at {MEMORY_BASE:#010x}, for weights and vectors",
        f"x, outputs {X} <- AXI DMA -> {Y}, in simple mode and with realignment engines",
        "host       JTAG to AXI bridge: see jtag_host.tcl",
    ]
    title = f"The engine on the {board.name}, whose host is a bridge from JTAG: a block design for Vivado."
    made = bd.script(found, board.name, board.part, title, notes, uart=True)
    return made | {"jtag_host.tcl": host(engine_config)}


def design(engine_config, clock_mhz, input_mhz):
    """The block design (Design); parameters and errors as of :func:`files`."""
    ports = weight_prefixes(engine_config)
    found = bd.Design()
    found.cells = {
        "clock": bd.Cell(
            "clk_wiz:6.0",
            {
                "PRIM_SOURCE": "Differential_clock_capable_pin",
                "PRIM_IN_FREQ": input_mhz,
                "CLKOUT1_REQUESTED_OUT_FREQ": clock_mhz,
                "USE_LOCKED": "true",
                "USE_RESET": "false",
            },
        ),
        "reset": bd.Cell("proc_sys_reset:5.0", {"C_EXT_RESET_HIGH": 1}),
        "jtag": bd.Cell("jtag_axi:1.2", {"PROTOCOL": 0, "M_AXI_DATA_WIDTH": 32, "M_AXI_ADDR_WIDTH": 32}),
        **bd.engine_cells(engine_config),
        "host": bd.Cell("smartconnect:1.0", {"NUM_SI": 1, "NUM_MI": 3}),
        "memory": bd.Cell("smartconnect:1.0", {"NUM_SI": 3 + len(ports), "NUM_MI": 1}),
        "controller": bd.Cell(
            "axi_bram_ctrl:4.1",
            {"PROTOCOL": "AXI4", "DATA_WIDTH": engine_config.axi_data_bits, "SINGLE_PORT_BRAM": 1},
        ),
        "bram": bd.Cell("blk_mem_gen:8.4", {"use_bram_block": "BRAM_Controller", "Memory_Type": "Single_Port_RAM"}),
    }
    frequency = {"FREQ_HZ": round(input_mhz * 1_000_000)}
    found.ports = {"sysclk": ("Slave", "xilinx.com:interface:diff_clock_rtl:1.0", frequency)}
    found.pins = {"cpu_reset": "rst"}
    masters = [
        *(f"{bd.ENGINE}/{port}" for port in ports),
        f"{bd.DMA}/M_AXI_MM2S",
        f"{bd.DMA}/M_AXI_S2MM",
    ]
    found.interfaces = [
        ("sysclk", "clock/CLK_IN1_D"),
        ("jtag/M_AXI", "host/S00_AXI"),
        *bd.registers_behind("host"),
        ("host/M02_AXI", "memory/S00_AXI"),
        *((master, f"memory/S{number:02}_AXI") for number, master in enumerate(masters, 1)),
        ("memory/M00_AXI", "controller/S_AXI"),
        ("controller/BRAM_PORTA", "bram/BRAM_PORTA"),
        *bd.STREAMS,
    ]
    found.nets = [
        (
            "clock/clk_out1",
            [
                *bd.CLOCKED,
                *("jtag/aclk", "host/aclk", "memory/aclk", "controller/s_axi_aclk", "reset/slowest_sync_clk"),
            ],
        ),
        ("clock/locked", ["reset/dcm_locked"]),
        ("cpu_reset", ["reset/ext_reset_in"]),
        (
            "reset/peripheral_aresetn",
            [
                *bd.RESET,
                *("jtag/aresetn", "host/aresetn", "memory/aresetn", "controller/s_axi_aresetn"),
            ],
        ),
    ]
    memory = ("controller/S_AXI/Mem0", MEMORY_BASE, MEMORY_BYTES)
    found.addresses = [
        *bd.registers_in("jtag/Data"),
        ("jtag/Data", *memory),
        *((f"{bd.ENGINE}/{port}", *memory) for port in ports),
        *bd.vectors_at(*memory),
    ]
    return found


_HOST = """\
# A host for the engine behind a bridge from JTAG, for Vivado's hardware manager:
#
#   vivado -mode tcl -source jtag_host.tcl
#   connect; configure overlay/{overlay}.bit; check_identity
#   load_file 0 weights.bin
#
# Addresses are bytes, values and words have 32 bits. NOT TRIED: no Vivado and no board were at hand.

proc connect {{}} {{
    open_hw_manager
    connect_hw_server
    open_hw_target
    current_hw_device [lindex [get_hw_devices] 0]
}}
proc configure {{bitstream}} {{
    set_property PROGRAM.FILE $bitstream [current_hw_device]
    program_hw_devices [current_hw_device]
    refresh_hw_device [current_hw_device]
}}

# One transfer of up to {burst} words; a list of words in the order of their addresses. The data of a transaction has
# the word of the highest address first.
proc read_words {{address count}} {{
    set name [create_hw_axi_txn -force read [lindex [get_hw_axis] 0] -type read \\
        -address [format %08x $address] -len $count]
    run_hw_axi -quiet $name
    set data [get_property DATA $name]
    set words {{}}
    for {{set n [expr {{$count - 1}}]}} {{$n >= 0}} {{incr n -1}} {{
        lappend words [expr "0x[string range $data [expr {{8 * $n}}] [expr {{8 * $n + 7}}]]"]
    }}
    return $words
}}
proc write_words {{address words}} {{
    set data ""
    foreach word $words {{ set data "[format %08x $word]$data" }}
    run_hw_axi -quiet [create_hw_axi_txn -force write [lindex [get_hw_axis] 0] -type write \\
        -address [format %08x $address] -len [llength $words] -data $data]
}}
proc read_register {{offset}} {{ lindex [read_words [expr {{{control:#010x} + $offset}}] 1] 0 }}
proc write_register {{offset value}} {{ write_words [expr {{{control:#010x} + $offset}}] [list $value] }}

proc check_identity {{}} {{
    foreach {{name offset wanted}} {{
        ID {id_offset:#05x} {identity:#010x}
        CONTENT_ID {content_offset:#05x} {content_id:#010x}
    }} {{
        set found [read_register $offset]
        if {{$found != $wanted}} {{ error [format "%s: 0x%08x; must be 0x%08x" $name $found $wanted] }}
    }}
}}

# Bytes of a file to memory, filled up with zeros to a word, and back.
proc load_file {{offset name}} {{
    set file [open $name rb]
    set data [read $file]
    close $file
    append data [string repeat \\0 [expr {{-[string length $data] % 4}}]]
    if {{$offset % 4 || $offset + [string length $data] > {memory_bytes}}} {{
        error "$name: [string length $data] bytes at $offset; must be whole words in {memory_bytes} bytes of memory"
    }}
    binary scan $data iu* words
    for {{set n 0}} {{$n < [llength $words]}} {{incr n {burst}}} {{
        write_words [expr {{{memory:#010x} + $offset + 4 * $n}}] [lrange $words $n [expr {{$n + {burst} - 1}}]]
    }}
}}
proc save_file {{offset bytes name}} {{
    set data ""
    for {{set n 0}} {{4 * $n < $bytes}} {{incr n {burst}}} {{
        set left [expr {{($bytes + 3) / 4 - $n}}]
        set words [read_words [expr {{{memory:#010x} + $offset + 4 * $n}}] [expr {{min($left, {burst})}}]]
        append data [binary format i* $words]
    }}
    set file [open $name wb]
    puts -nonewline $file [string range $data 0 [expr {{$bytes - 1}}]]
    close $file
}}

# One transfer of the DMA in simple mode (PG021): run, address, length; of x out of memory, of outputs into it.
proc send_x {{offset bytes}} {{ transfer 0x00 $offset $bytes }}
proc take_y {{offset bytes}} {{ transfer 0x30 $offset $bytes }}
proc transfer {{channel offset bytes}} {{
    if {{$bytes < 1 || $offset + $bytes > {memory_bytes}}} {{
        error "$bytes bytes at $offset; must be within {memory_bytes} bytes of memory"
    }}
    write_words [expr {{{dma:#010x} + $channel}}] 1
    write_words [expr {{{dma:#010x} + $channel + 0x18}}] [expr {{{memory:#010x} + $offset}}]
    write_words [expr {{{dma:#010x} + $channel + 0x28}}] $bytes
}}
"""


def host(engine_config):
    """The Tcl of the host."""
    return _HOST.format(
        overlay=bd.OVERLAY,
        content_id=engine_config.content_id,
        burst=LONGEST_BURST,
        control=bd.CONTROL_BASE,
        dma=bd.DMA_BASE,
        memory=MEMORY_BASE,
        memory_bytes=MEMORY_BYTES,
        id_offset=lookup("ID").address,
        identity=lookup("ID").reset,
        content_offset=lookup("CONTENT_ID").address,
    )
