"""The register map: its layout, its consistency and what is exported from it."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.machine.register_exports import main, to_c_header, to_json, to_markdown
from lstm_hw.machine.register_guide import RULES, STARTUP, STREAMS
from lstm_hw.machine.registers import (
    ACCESS_DOC,
    ADDRESS_BITS,
    CLIPPED_PLACES,
    CLIPPED_REGISTERS,
    CONFIG_WORDS,
    COUNTERS,
    ERROR_DOC,
    PROGRAM,
    REFUSAL_DOC,
    REGISTERS,
    VERSION,
    Access,
    ErrorCode,
    Refusal,
    clipped_register,
    lookup,
    port_registers,
    register_map,
    weights_registers,
)
from tests.host.c_driver import CC, needs_compiler

PAGE = Path(__file__).parents[2] / "docs" / "registers.md"

# The published layout, typed in a second time on purpose: moving a register breaks every driver.
ADDRESSES = {
    "CTRL": 0x000,
    "GIE": 0x004,
    "IER": 0x008,
    "ISR": 0x00C,
    "STEPS": 0x010,
    "FLAGS": 0x018,
    "ENTRY": 0x020,
    "WEIGHTS_LO": 0x028,
    "WEIGHTS_HI": 0x02C,
    "TIMEOUT": 0x034,
    "TIMEOUT_STREAMS": 0x038,
    "IMAGE_ID": 0x03C,
    "ID": 0x040,
    "VERSION": 0x044,
    "CONTENT_ID": 0x048,
    "ROWS": 0x04C,
    "CONTEXTS": 0x050,
    "WEIGHT_BITS": 0x054,
    "OPERAND_BITS": 0x058,
    "WEIGHT_WORDS": 0x05C,
    "H_ELEMENTS": 0x060,
    "X_ELEMENTS": 0x064,
    "ACCUMULATORS": 0x068,
    "STATES": 0x06C,
    "PROGRAM_LENGTH": 0x070,
    "CELLS": 0x074,
    "AXI_DATA_BITS": 0x078,
    "STATUS": 0x080,
    "ERROR_ADDRESS_LO": 0x084,
    "ERROR_ADDRESS_HI": 0x088,
    "REFUSED": 0x0B0,
    "CYCLES_LO": 0x100,
    "CYCLES_HI": 0x104,
    "BUSY_LO": 0x108,
    "BUSY_HI": 0x10C,
    "STALL_WEIGHTS_LO": 0x110,
    "STALL_WEIGHTS_HI": 0x114,
    "STALL_H_LO": 0x118,
    "STALL_H_HI": 0x11C,
    "STALL_X_LO": 0x120,
    "STALL_X_HI": 0x124,
    "STALL_OUTPUT_LO": 0x128,
    "STALL_OUTPUT_HI": 0x12C,
    "EMPTY_LO": 0x130,
    "EMPTY_HI": 0x134,
    "READ_BEATS_LO": 0x138,
    "READ_BEATS_HI": 0x13C,
}
BITS = {
    "CTRL": {
        "start": (0, 1),
        "done": (1, 1),
        "idle": (2, 1),
        "ready": (3, 1),
        "abort": (5, 1),
        "auto_restart": (7, 1),
        "interrupt": (9, 1),
    },
    "GIE": {"enable": (0, 1)},
    "IER": {"done": (0, 1), "ready": (1, 1), "error": (2, 1)},
    "ISR": {"done": (0, 1), "ready": (1, 1), "error": (2, 1)},
    "FLAGS": {"clear": (0, 1), "sequence": (1, 1), "ignore_tlast": (2, 1), "one_packet": (3, 1)},
    "ENTRY": {"address": (0, 9), "loads": (16, 1)},
    "STATUS": {"code": (0, 4), "busy": (8, 1), "loaded": (9, 1)},
    "REFUSED": {"write": (0, 1), "code": (4, 2), "address": (16, 15)},
    "VERSION": {"patch": (0, 8), "minor": (8, 8), "major": (16, 8)},
}


def test_layout():
    assert {r.name: r.address for r in REGISTERS} == ADDRESSES
    for name, fields in BITS.items():
        assert {f.name: (f.lsb, f.width) for f in lookup(name).fields} == fields
    assert (PROGRAM.address, PROGRAM.size, PROGRAM.stride, PROGRAM.words) == (0x4000, 0x4000, 32, 5)
    assert [code.value for code in ErrorCode] == [*range(16)]
    assert [code.value for code in Refusal] == [*range(4)]


def test_reset_values():
    assert lookup("TIMEOUT").reset == 65536
    assert lookup("ID").reset == 0x4C53544D
    major, minor, patch = VERSION
    assert lookup("VERSION").reset == major << 16 | minor << 8 | patch
    assert lookup("CTRL").reset == 4


def test_map_is_consistent():
    addresses = [r.address for r in REGISTERS]
    assert addresses == sorted(set(addresses))
    assert len({r.name for r in REGISTERS}) == len(REGISTERS)
    for register in REGISTERS:
        assert register.address % 4 == 0 and register.address < PROGRAM.address
        assert register.width <= 32
        assert sum(f.width for f in register.fields) == register.mask.bit_count(), "fields overlap"
        assert len({f.name for f in register.fields}) == len(register.fields)
        assert register.access in (Access.RW, Access.RO, Access.WO)
        writable = {Access.RW, Access.WO, Access.W1S, Access.W1C, Access.W1T} & {f.access for f in register.fields}
        assert bool(writable) == (register.access is not Access.RO)
        if register.cleared:
            assert register.stored and not register.reset
        if register.latched_by:
            assert register.latched_by == register.name.removesuffix("_HI") + "_LO"
            assert lookup(register.latched_by).address == register.address - 4
    assert PROGRAM.address % PROGRAM.size == 0
    assert PROGRAM.address + PROGRAM.size <= 1 << ADDRESS_BITS
    assert PROGRAM.words * 4 <= PROGRAM.stride


def test_locked_registers_are_the_arguments():
    assert [r.name for r in REGISTERS if r.locked] == [
        "STEPS",
        "FLAGS",
        "ENTRY",
        "WEIGHTS_LO",
        "WEIGHTS_HI",
        "TIMEOUT",
        "TIMEOUT_STREAMS",
        "IMAGE_ID",
    ]


def test_registers_of_further_weight_ports():
    assert register_map(1) == REGISTERS and port_registers(1) == ()
    names = ["ERROR_PORT", *(f"WEIGHTS{port}_{half}" for port in (1, 2, 3) for half in ("LO", "HI"))]
    for ports, count in ((2, 3), (4, 7)):
        further = port_registers(ports)
        assert [r.name for r in further] == names[:count]
        assert [r.address for r in further] == list(range(0x08C, 0x08C + 4 * count, 4))
        assert all(r.locked == r.stored == (r.name != "ERROR_PORT") for r in further)
        whole = register_map(ports)
        assert set(whole) == {*REGISTERS, *further}
        assert [r.address for r in whole] == sorted({r.address for r in whole})
        assert json.loads(to_json(ports))["registers"][-1]["name"] == REGISTERS[-1].name
        assert "WEIGHTS1_LO_OFFSET" in to_c_header(ports)
    assert weights_registers(0) == ("WEIGHTS_LO", "WEIGHTS_HI")
    assert weights_registers(3) == ("WEIGHTS3_LO", "WEIGHTS3_HI")
    assert "WEIGHTS1" not in to_json() + to_c_header()
    assert "Further weight ports" in to_markdown(2) and "Further" not in to_markdown(4)


def test_registers_of_clipped_values():
    names = {"CLIPPED": 0x140, "CLIPPED_PREACT": 0x144, "CLIPPED_C": 0x148, "CLIPPED_H": 0x14C, "CLIPPED_OUTPUT": 0x150}
    assert {r.name: r.address for r in CLIPPED_REGISTERS} == names
    assert [clipped_register(place) for place in CLIPPED_PLACES] == list(names)[1:]
    fields = {"preact": (0, 1), "c": (1, 1), "h": (2, 1), "output": (3, 1), "counted": (31, 1)}
    assert {f.name: (f.lsb, f.width) for f in lookup("CLIPPED").fields} == fields
    for ports in (1, 4):
        whole = register_map(ports, count_clipped=True)
        assert set(whole) == {*register_map(ports), *CLIPPED_REGISTERS}
        assert [r.address for r in whole] == sorted({r.address for r in whole})
    assert "CLIPPED" not in to_json() + to_c_header()
    assert json.loads(to_json(1, True))["registers"][-1]["name"] == "CLIPPED_OUTPUT"
    assert "CLIPPED_PREACT_OFFSET" in to_c_header(1, True)
    assert "## Clipped values" in to_markdown() and "## Clipped" not in to_markdown(1, True)


def test_fields():
    field = lookup("STATUS").field("code")
    assert field.mask == 15 and field.extract(0x1F5) == 5 and field.insert(5) == 5
    busy = lookup("STATUS").field("busy")
    assert busy.mask == 0x100 and busy.extract(0x1F5) == 1 and busy.extract(0x0F5) == 0 and busy.insert(1) == 0x100
    for value in (-1, 16):
        with pytest.raises(ConfigError, match=rf"field code: {value}; must be from 0 to 15"):
            field.insert(value)
    with pytest.raises(ConfigError, match=r"STATUS: field 'idle'; must be one of code, busy, loaded"):
        lookup("STATUS").field("idle")
    with pytest.raises(ConfigError, match=r"register map: register 'ctrl'; must be one of CTRL, GIE"):
        lookup("ctrl")


def test_window_addresses():
    assert PROGRAM.entries == 512
    assert PROGRAM.word_address(0, 0) == 0x4000
    assert PROGRAM.word_address(511, 4) == 0x4000 + 32 * 511 + 16
    for entry, word in ((512, 0), (0, 5), (-1, 0), (0, -1)):
        with pytest.raises(ConfigError, match=rf"PROGRAM: word {word} of entry {entry}; must be"):
            PROGRAM.word_address(entry, word)


def test_documented_page_is_current():
    command = "python -m lstm_hw.machine.register_exports markdown > docs/registers.md"
    assert PAGE.read_text() == to_markdown(), f"run: {command}"


def test_markdown_names_everything():
    page = to_markdown()
    for register in REGISTERS:
        assert f"| 0x{register.address:03X} | {register.name} | {register.access} " in page
        for field in register.fields:
            assert field.doc in page
    for text in (
        *ACCESS_DOC.values(),
        *ERROR_DOC.values(),
        *REFUSAL_DOC.values(),
        *RULES,
        *STARTUP,
        *STREAMS,
        PROGRAM.doc,
    ):
        assert text in page
    rows = re.findall(r"^\|.*\|$", page, re.M)
    assert all(row.count("|") >= 3 for row in rows) and len(rows) > len(REGISTERS)


def test_every_access_and_error_is_documented():
    assert set(ACCESS_DOC) == set(Access)
    assert set(ERROR_DOC) == set(ErrorCode)
    assert set(REFUSAL_DOC) == set(Refusal)


def test_json():
    exported = json.loads(to_json())
    assert exported["address_bits"] == 15 and exported["version"] == list(VERSION)
    assert {r["name"]: r["address"] for r in exported["registers"]} == ADDRESSES
    by_name = {r["name"]: r for r in exported["registers"]}
    for name, fields in BITS.items():
        assert {f["name"]: (f["lsb"], f["width"]) for f in by_name[name]["fields"]} == fields
    assert by_name["TIMEOUT"]["reset"] == 65536 and by_name["TIMEOUT"]["locked"]
    assert by_name["CYCLES_HI"]["latched_by"] == "CYCLES_LO"
    assert by_name["CTRL"]["fields"][1]["access"] == "w1c"
    assert exported["windows"] == [
        {
            "name": "PROGRAM",
            "address": 0x4000,
            "size": 0x4000,
            "stride": 32,
            "words": 5,
            "access": "wo",
            "doc": PROGRAM.doc,
        }
    ]
    assert {e["name"]: e["code"] for e in exported["error_codes"]} == {code.name: code.value for code in ErrorCode}
    assert {e["name"]: e["code"] for e in exported["refusals"]} == {code.name: code.value for code in Refusal}


def expected_defines():
    """What the C header must define, from the layout above."""
    expected = {f"{name}_OFFSET": address for name, address in ADDRESSES.items()}
    expected |= {f"{r.name}_RESET": r.reset for r in REGISTERS}
    for register in REGISTERS:
        for field in register.fields:
            expected[f"{register.name}_{field.name.upper()}_LSB"] = field.lsb
            expected[f"{register.name}_{field.name.upper()}_MASK"] = field.mask
    expected |= {f"ERROR_{code.name}": code.value for code in ErrorCode}
    expected |= {f"REFUSAL_{code.name}": code.value for code in Refusal}
    return expected | {"PROGRAM_OFFSET": 0x4000, "PROGRAM_SIZE": 0x4000, "PROGRAM_STRIDE": 32, "PROGRAM_WORDS": 5}


def test_c_header_text():
    defines = re.findall(r"^#define LSTM_HW_(\w+) (\w+?)u?(?: /\*.*\*/)?$", to_c_header(), re.M)
    assert len(defines) == len(dict(defines))
    assert {name: int(value, 0) for name, value in defines} == expected_defines()


@needs_compiler
def test_c_header_compiles(tmp_path):
    (tmp_path / "registers.h").write_text(to_c_header())
    checks = "\n".join(
        f'_Static_assert(LSTM_HW_{name} == {value}u, "{name}");' for name, value in expected_defines().items()
    )
    (tmp_path / "check.c").write_text(f'#include "registers.h"\n#include "registers.h"\n{checks}\n')
    command = [CC, "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "check.c"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "name, writer",
    [
        ("json", to_json),
        ("c", to_c_header),
        ("markdown", to_markdown),
    ],
)
def test_command(monkeypatch, capsys, name, writer):
    monkeypatch.setattr("sys.argv", ["registers", name])
    main()
    assert capsys.readouterr().out == writer()


def test_groups_are_complete():
    names = {r.name for r in REGISTERS}
    assert set(CONFIG_WORDS) <= names
    assert {f"{name}_{half}" for name in COUNTERS for half in ("LO", "HI")} <= names
    assert len(COUNTERS) == 8 and len(CONFIG_WORDS) == 12


def test_startup_names_registers_that_exist():
    """What software is told to write and read is in the map."""
    text = " ".join((*STARTUP, *STREAMS, *RULES))
    registered = {register.name for register in register_map(4)}
    known = registered | {name.removesuffix("_LO") for name in registered} | {code.name for code in ErrorCode}
    named = {
        name
        for name in re.findall(r"\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)*\b", text)
        if name not in {"K", "OKAY", "SLVERR", "DMA"}
    }
    assert named <= known and {"ENTRY", "STEPS", "WEIGHTS1_LO", "TIMEOUT"} <= named
