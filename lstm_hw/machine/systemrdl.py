"""The register map in SystemRDL 2.0, for tools that make documents, headers or verification models of it."""

import json
from collections.abc import Mapping

from .registers import ADDRESS_BITS, PROGRAM, WORD_BYTES, Access, register_map

NAME = "lstm_hw_registers"
"""Name of the address map."""

_PROPERTIES = {
    Access.RW: "sw = rw; hw = r;",
    Access.RO: "sw = r; hw = w;",
    Access.WO: "sw = w; hw = r;",
    Access.W1S: "sw = rw; hw = rw; onwrite = woset;",
    Access.W1C: "sw = rw; hw = rw; onwrite = woclr;",
    Access.W1T: "sw = rw; hw = rw; onwrite = wot;",
}


def to_systemrdl(ports: int = 1, count_clipped: bool = False, values: Mapping[str, int] | None = None) -> str:
    """The map of :func:`lstm_hw.machine.registers.register_map` as SystemRDL text.

    Parameters
    ----------
    ports : int
        Weight ports of the engine.
    count_clipped : bool
        Of an engine with ``count_clipped``.
    values : dict of str to int, optional
        Values of read-only registers that a configuration decides, by name.

    Returns
    -------
    str
    """
    lines = [
        f"addrmap {NAME} {{",
        '    name = "Control port";',
        f"    addressing = compact; default regwidth = {8 * WORD_BYTES}; default accesswidth = {8 * WORD_BYTES};",
        "    littleendian; lsb0;",
    ]
    for register in register_map(ports, count_clipped):
        reset = (values or {}).get(register.name, register.reset)
        lines += ["", "    reg {", f"        desc = {json.dumps(register.doc)};"]
        clears = " hwclr;" if register.cleared else ""
        for field in register.fields:
            lines.append(
                f"        field {{ desc = {json.dumps(field.doc)}; {_PROPERTIES[field.access]}{clears} }} "
                f"{field.name}[{field.lsb + field.width - 1}:{field.lsb}] = {field.extract(reset):#x};"
            )
        lines.append(f"    }} {register.name} @ {register.address:#05x};")
    lines += [
        "",
        "    external mem {",
        f"        desc = {json.dumps(PROGRAM.doc)};",
        f"        mementries = {PROGRAM.size // WORD_BYTES}; memwidth = {8 * WORD_BYTES}; sw = w;",
        f"    }} {PROGRAM.name} @ {PROGRAM.address:#x};",
        "};",
        "",
    ]
    assert PROGRAM.address + PROGRAM.size <= 1 << ADDRESS_BITS
    return "\n".join(lines)
