"""The engine between Verilog models of memories and streams (``sim/models``), in which no cycle needs Python.

Only the register port, the clock and the reset are driven from outside.
"""

from collections.abc import Sequence
from pathlib import Path

from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.limits import VALUE_BITS
from lstm_hw.machine.ports import CONTROL, TOPLEVEL, WEIGHTS, X, Y, weight_prefixes
from lstm_hw.machine.registers import ADDRESS_BITS

NAME = "harness"
MODELS = tuple(sorted((Path(__file__).parent / "models").glob("*.v")))
PARTS = 4
"""Kinds of beats that the memory models count apart."""
LAST_BEATS = ("x_last_at", "y_last_at")
"""Outputs that say the cycles of the last beats of x and of y."""
_LEAST_BEATS = 1024  # so that one design plays all small images of an engine
_CONTROL = {
    **{f"aw{name}": (width, True) for name, width in (("addr", ADDRESS_BITS), ("prot", 3), ("valid", 1))},
    **{"awready": (1, False), "wdata": (32, True), "wstrb": (4, True), "wvalid": (1, True), "wready": (1, False)},
    **{"bresp": (2, False), "bvalid": (1, False), "bready": (1, True)},
    **{f"ar{name}": (width, True) for name, width in (("addr", ADDRESS_BITS), ("prot", 3), ("valid", 1))},
    **{"arready": (1, False), "rdata": (32, False), "rresp": (2, False), "rvalid": (1, False), "rready": (1, True)},
}
"""Signals of the register port: width, and whether it is an input of the engine."""
_READ = ("araddr", "arlen", "arsize", "arburst", "arvalid", "arready", "rdata", "rresp", "rlast", "rvalid", "rready")


def harness(config: EngineConfig, addresses: Sequence[int], beats: int) -> str:
    """Verilog of the module ``NAME``: an engine, a memory for each weight port, a source of x and a sink of outputs.

    Parameters
    ----------
    config : EngineConfig
    addresses : list of int
        Where the image of each port begins.
    beats : int
        Beats of each image; rounded up, so that designs differ less.

    Returns
    -------
    str
    """
    x_bits = config.operand_bits * config.x_per_beat
    widths = {"araddr": config.axi_address_bits, "arlen": 8, "arsize": 3, "arburst": 2, "rresp": 2}
    widths["rdata"] = config.axi_data_bits
    ports = ["input aclk", "input aresetn", "input [31:0] allowed", "output interrupt", "output [31:0] outputs"]
    ports += [f"output [31:0] taken_{part}" for part in range(PARTS)]
    ports += [f"output [31:0] {name}" for name in LAST_BEATS]
    pins = [(name, name) for name in ("aclk", "aresetn", "interrupt")]
    for name, (width, inward) in _CONTROL.items():
        ports.append(f"{'input' if inward else 'output'} {_range(width)}{CONTROL}_{name}")
        pins.append((f"{CONTROL}_{name}", f"{CONTROL}_{name}"))
    body = []
    for port, (prefix, address) in enumerate(zip(weight_prefixes(config), addresses, strict=True)):
        body += [f"wire {_range(widths.get(name, 1))}{WEIGHTS}_{port}_{name};" for name in _READ]
        body += [f"wire [31:0] taken_{part}_{port};" for part in range(PARTS)]
        pins += [(f"{prefix}_{name}", f"{WEIGHTS}_{port}_{name}") for name in _READ]
        pins += [(f"{prefix}_{name}", "") for name in ("arid", "arlock", "arcache", "arprot", "arqos")]
        pins.append((f"{prefix}_rid", "1'b0"))
        parameters = {
            "DATA_BITS": config.axi_data_bits,
            "ADDRESS_BITS": config.axi_address_bits,
            "BEATS": 1 << (max(beats, _LEAST_BEATS) - 1).bit_length(),
            "BASE": f"64'd{address}",
            "PORT": port,
        }
        of_memory = [("clk", "aclk"), ("rst", "~aresetn"), *((name, f"{WEIGHTS}_{port}_{name}") for name in _READ)]
        of_memory += [(f"taken_{part}", f"taken_{part}_{port}") for part in range(PARTS)]
        body.append(f"axi_memory {_pins(parameters.items(), '#')} memory_{port} {_pins(of_memory)};")
    for part in range(PARTS):
        body.append(f"assign taken_{part} = {' + '.join(f'taken_{part}_{n}' for n in range(len(addresses)))};")
    for prefix, bits, model, more in (
        (X, x_bits, "stream_source", [("allowed", "allowed"), ("last_at", LAST_BEATS[0])]),
        (Y, VALUE_BITS, "stream_sink", [("count", "outputs"), ("last_at", LAST_BEATS[1])]),
    ):
        signals = ("tdata", "tvalid", "tready", "tlast")
        body += [f"wire {_range(bits if name == 'tdata' else 1)}{prefix}_{name};" for name in signals]
        pins += [(f"{prefix}_{name}", f"{prefix}_{name}") for name in signals]
        of_stream = [("clk", "aclk"), ("rst", "~aresetn"), *((name, f"{prefix}_{name}") for name in signals), *more]
        body.append(f"{model} {_pins([('DATA_BITS', bits)], '#')} {model} {_pins(of_stream)};")
    body.append(f"{TOPLEVEL} engine {_pins(pins)};")
    lines = ",\n    ".join(ports)
    return f"module {NAME} (\n    {lines}\n);\n" + "".join(f"    {line}\n" for line in body) + "endmodule\n"


def _range(width):
    return f"[{width - 1}:0] " if width > 1 else ""


def _pins(pairs, kind=""):
    return f"{kind}({', '.join(f'.{name}({value})' for name, value in pairs)})"
