"""The driver in C99 as files to build with: the sources in ``lstm_hw/host/c`` and what follows from this package."""

import os
from pathlib import Path

from ..files import write_file
from ..machine.arrangement import MOST_STEPS, READS, SENDS
from ..machine.formats import OVERFLOWS, ROUNDINGS
from ..machine.limits import VALUE_BITS
from ..machine.register_exports import to_c_header
from ..machine.registers import MAX_PORTS
from .fields import offset_of
from .image import (
    ALIGNMENT,
    DIGEST_BYTES,
    ENTRY,
    ENTRY_BYTES,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    NO_ENTRY,
    OPTIONAL,
    Kind,
)
from .image import VERSION as IMAGE_VERSION
from .protocol import (
    HELLO,
    HELLO_BYTES,
    REPLY,
    REQUEST,
    SILENCE_MS,
    X_LAST,
    Y_LAST,
    Capability,
    FlashState,
    Op,
    Reason,
    Status,
    TestState,
)
from .protocol import VERSION as LINE_VERSION

SOURCES = Path(__file__).parent / "c"
REGISTERS, LAYOUT = "lstm_hw_registers.h", "lstm_hw_layout.h"


def registers_header() -> str:
    """C header of the register map, with the registers of every engine."""
    return to_c_header(MAX_PORTS, count_clipped=True)


def layout_header() -> str:
    """C header of the layout of firmware images and of the frames of the host protocol."""
    at = {"version": "VERSION_AT"}
    image = {"VERSION": IMAGE_VERSION, "MAGIC_BYTES": len(MAGIC)}
    image |= {at.get(field.name, field.name.upper()): offset_of(HEADER, field.name) for field in HEADER[1:]}
    image |= {"HEADER_BYTES": HEADER_BYTES, "ENTRY_BYTES": ENTRY_BYTES, "DIGEST_BYTES": DIGEST_BYTES}
    image |= {f"ENTRY_{field.name.upper()}": offset_of(ENTRY, field.name) for field in ENTRY if field.name != "bytes"}
    image |= {"ENTRY_BYTES_AT": offset_of(ENTRY, "bytes"), "ALIGNMENT": ALIGNMENT, "NO_ENTRY": NO_ENTRY}
    image |= {f"KIND_{kind.name}": kind.value for kind in Kind} | {"KIND_LAST": max(Kind)}
    image |= {"KINDS_NEEDED": sum(1 << kind for kind in Kind if kind not in OPTIONAL)}
    image |= {"MOST_STEPS": MOST_STEPS}
    image |= {f"READS_{name.upper()}": number for number, name in enumerate(READS)}
    image |= {f"SENDS_{name.upper()}": number for number, name in enumerate(SENDS)}
    image |= {f"ROUNDING_{name.upper()}": number for number, name in enumerate(ROUNDINGS)}
    image |= {f"OVERFLOW_{name.upper()}": number for number, name in enumerate(OVERFLOWS)}
    line = {"VERSION": LINE_VERSION, "REQUEST": REQUEST, "REPLY": REPLY, "SILENCE_MS": SILENCE_MS}
    line |= {"HELLO_BYTES": HELLO_BYTES, "X_LAST": X_LAST, "Y_LAST": Y_LAST}
    line |= {f"HELLO_{field.name.upper()}": offset_of(HELLO, field.name) for field in HELLO}
    line |= {f"OP_{op.name}": op.value for op in Op} | {f"STATUS_{status.name}": status.value for status in Status}
    line |= {f"TEST_{state.name}": state.value for state in TestState}
    line |= {f"REASON_{reason.name}": reason.value for reason in Reason}
    line |= {f"FLASH_{state.name}": state.value for state in FlashState} | {"FLASH_LAST": max(FlashState)}
    line |= {f"HAS_{capability.name}": capability.value for capability in Capability}
    magic = "".join(f"\\{byte:03o}" if byte < 32 else chr(byte) for byte in MAGIC)
    lines = [
        "/* Firmware images and the host protocol of lstm-hw; generated, do not edit. */",
        "#ifndef LSTM_HW_LAYOUT_H",
        "#define LSTM_HW_LAYOUT_H",
        "",
        f'#define LSTM_HW_IMAGE_MAGIC "{magic}"',
        *(f"#define LSTM_HW_IMAGE_{name} {value}u" for name, value in image.items()),
        "",
        *(f"#define LSTM_HW_LINE_{name} {value}u" for name, value in line.items()),
        "",
        f"#define LSTM_HW_Y_BEAT_BYTES {VALUE_BITS // 8}u",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def c_driver() -> dict[str, str]:
    """Name of each file of the C driver -> its text."""
    sources = {path.name: path.read_text() for path in sorted(SOURCES.glob("*.[ch]"))}
    return sources | {REGISTERS: registers_header(), LAYOUT: layout_header()}


def write_c_driver(folder: str | os.PathLike) -> list[Path]:
    """Write the files of the C driver to a folder, which is made if need be; returns their paths.

    Raises
    ------
    ConfigError
        A file cannot be written.
    """
    return [write_file(Path(folder) / name, text) for name, text in sorted(c_driver().items())]
