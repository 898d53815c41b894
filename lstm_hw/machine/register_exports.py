"""The register map as JSON, as a C header and as a page in Markdown.

``python -m lstm_hw.machine.register_exports markdown`` prints one of them.
"""

import argparse
import json
from collections.abc import Iterable, Sequence

from .register_guide import RULES, STARTUP, STREAMS
from .registers import (
    ACCESS_DOC,
    ADDRESS_BITS,
    CLIPPED_REGISTERS,
    ERROR_DOC,
    MAX_PORTS,
    PROGRAM,
    REFUSAL_DOC,
    VERSION,
    WORD_BYTES,
    ErrorCode,
    Field,
    Refusal,
    Register,
    port_registers,
    register_map,
)


def to_json(ports: int = 1, count_clipped: bool = False) -> str:
    """The map of :func:`register_map` as JSON text; addresses, masks and reset values are numbers."""
    content = {
        "address_bits": ADDRESS_BITS,
        "version": list(VERSION),
        "registers": [_register(register) for register in register_map(ports, count_clipped)],
        "windows": [{name: getattr(PROGRAM, name) for name in _WINDOW_KEYS}],
        "error_codes": [{"name": code.name, "code": code.value, "doc": ERROR_DOC[code]} for code in ErrorCode],
        "refusals": [{"name": code.name, "code": code.value, "doc": REFUSAL_DOC[code]} for code in Refusal],
    }
    return json.dumps(content, indent=2) + "\n"


_REGISTER_KEYS = ("name", "address", "access", "reset", "locked", "latched_by", "doc")
_FIELD_KEYS = ("name", "lsb", "width", "access", "reset", "doc")
_WINDOW_KEYS = ("name", "address", "size", "stride", "words", "access", "doc")


def _register(register: Register) -> dict[str, object]:
    fields = [{name: getattr(field, name) for name in _FIELD_KEYS} for field in register.fields]
    return {name: getattr(register, name) for name in _REGISTER_KEYS} | {"fields": fields}


def to_c_header(ports: int = 1, count_clipped: bool = False) -> str:
    """The map of :func:`register_map` as a C header.

    Offsets, field positions, masks, reset values, error codes and refusals.
    """
    lines = [
        "/* Register map of the lstm-hw control port; generated, do not edit. */",
        "#ifndef LSTM_HW_REGISTERS_H",
        "#define LSTM_HW_REGISTERS_H",
    ]

    def define(name, value, doc=""):
        lines.append(f"#define LSTM_HW_{name} {value}" + (f" /* {doc} */" if doc else ""))

    for register in register_map(ports, count_clipped):
        lines.append("")
        define(f"{register.name}_OFFSET", f"0x{register.address:03x}u", register.doc)
        define(f"{register.name}_RESET", f"0x{register.reset:08x}u")
        for field in register.fields:
            name = f"{register.name}_{field.name.upper()}"
            define(f"{name}_LSB", field.lsb, field.doc)
            define(f"{name}_MASK", f"0x{field.mask:08x}u")
    lines.append("")
    define(f"{PROGRAM.name}_OFFSET", f"0x{PROGRAM.address:03x}u", PROGRAM.doc)
    define(f"{PROGRAM.name}_SIZE", f"0x{PROGRAM.size:x}u")
    define(f"{PROGRAM.name}_STRIDE", f"{PROGRAM.stride}u")
    define(f"{PROGRAM.name}_WORDS", f"{PROGRAM.words}u")
    lines.append("")
    for code in ErrorCode:
        define(f"ERROR_{code.name}", f"{code.value}u", ERROR_DOC[code])
    lines.append("")
    for code in Refusal:
        define(f"REFUSAL_{code.name}", f"{code.value}u", REFUSAL_DOC[code])
    return "\n".join([*lines, "", "#endif", ""])


def to_markdown(ports: int = 1, count_clipped: bool = False) -> str:
    """The map of :func:`register_map` as a Markdown page.

    Registers, their fields, the program window, error codes, refusals, what software does, the streams, rules, and what
    further ports and ``count_clipped`` would add.
    """
    intro = (
        "Generated from `lstm_hw/machine/registers.py` by `python -m lstm_hw.machine.register_exports markdown`; do "
        "not edit.",
        "",
        f"The control port is an AXI4-Lite slave of 32 data bits and {ADDRESS_BITS} address bits. CONTENT_ID and "
        "the words that follow it, up to AXI_DATA_BITS, hold the values of the configuration; the table says 0.",
        "",
        *_registers(register_map(ports, count_clipped)),
    )
    startup = (
        "`lstm_hw/host/device.py` does all of this with a firmware image, which holds `weights.bin`, `program.json` "
        "and the formats in one file (docs/host.md). `driver.py` beside it does all but the copy of the image, and "
        "checks before every start that the engine is the right one, idle and loaded, and before a load that "
        "memory holds the right image.",
        "",
        *(f"{number}. {step}" for number, step in enumerate(STARTUP, 1)),
    )
    errors = [(code.value, code.name, ERROR_DOC[code]) for code in ErrorCode]
    refusals = [(code.value, code.name, REFUSAL_DOC[code]) for code in Refusal]
    sections = {
        "# Registers of the control port": intro,
        **_of_other_engines(ports, count_clipped),
        "## Fields": _fields(ports),
        "## Program window": _window(),
        "## Error codes": _table(("STATUS.code", "name", "meaning"), errors),
        "## Refused writes": _table(("REFUSED.code", "name", "meaning"), refusals),
        "## Start-up order": startup,
        "## Streams": [f"- {fact}" for fact in STREAMS],
        "## Rules": [f"- {rule}" for rule in RULES],
    }
    return "\n".join(line for heading, lines in sections.items() for line in (heading, "", *lines, ""))


def _of_other_engines(ports: int, count_clipped: bool) -> dict[str, list[str]]:
    """Sections on registers that this engine does not have: heading -> lines."""
    sections = {}
    further = [register for register in port_registers(MAX_PORTS) if register not in port_registers(ports)]
    if further:
        has = "An engine with 2 or 4 weight ports has these as well, as far as it has the ports."
        sections["## Further weight ports"] = [has, "", *_registers(further)]
    if not count_clipped:
        has = "An engine with `count_clipped` has these as well."
        sections["## Clipped values"] = [has, "", *_registers(CLIPPED_REGISTERS)]
    return sections


def _registers(registers: Iterable[Register]) -> list[str]:
    rows = [
        (f"0x{r.address:03X}", r.name, r.access, f"0x{r.reset:X}", "locked" if r.locked else "", r.doc)
        for r in registers
    ]
    return _table(("address", "name", "access", "reset", "run", "meaning"), rows)


def _fields(ports: int) -> list[str]:
    rows = [
        (register.name, _bits(field), field.name, field.access, field.doc)
        for register in register_map(ports, True)
        if len(register.fields) > 1 or register.width < 32
        for field in register.fields
    ]
    return [
        "Registers that are not listed are one field of 32 bits.",
        "",
        *_table(("register", "bits", "field", "access", "meaning"), rows),
        "",
        *_table(("access", "meaning"), ACCESS_DOC.items()),
    ]


def _window() -> list[str]:
    row = (
        f"0x{PROGRAM.address:X} + {PROGRAM.stride} i + {WORD_BYTES} w",
        PROGRAM.name,
        PROGRAM.access,
        f"0 to {PROGRAM.entries - 1}, below PROGRAM_LENGTH",
        f"0 to {PROGRAM.words - 1}",
        PROGRAM.doc,
    )
    return _table(("address", "name", "access", "instruction i", "word w", "meaning"), [row])


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(map(str, row))} |" for row in (headings, ["---"] * len(headings), *rows)]


def _bits(field: Field) -> str:
    """Bit range of a field, as in a data sheet."""
    return str(field.lsb) if field.width == 1 else f"{field.lsb + field.width - 1}:{field.lsb}"


def main() -> None:
    """Print the map in the format named on the command line."""
    writers = {"json": to_json, "c": to_c_header, "markdown": to_markdown}
    parser = argparse.ArgumentParser(
        prog="python -m lstm_hw.machine.register_exports", description="Print the register map."
    )
    parser.add_argument("format", choices=writers)
    parser.add_argument("--ports", type=int, choices=(1, 2, MAX_PORTS), default=1, help="weight ports of the engine")
    parser.add_argument("--count-clipped", action="store_true", help="of an engine with count_clipped")
    arguments = parser.parse_args()
    print(writers[arguments.format](arguments.ports, arguments.count_clipped), end="")


if __name__ == "__main__":
    main()
