"""Other programs: what they see of this process's environment, how Python starts Python, and that none is left over.

What runs is decided by what is installed and asked for, not by the shell: a program sees the variables of ``KEPT``
only, and Python never imports from the current folder.
"""

import importlib.util
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from .errors import ToolError

ROOT = Path(__file__).resolve().parent.parent
"""Folder of the project's top-level packages."""
KEPT = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "XDG_CACHE_HOME", "YOWASP_CACHE_DIR"),
    "LD_LIBRARY_PATH",  # where this machine keeps the libraries of Python and the compiler
)
"""Variables that programs see, beside those that begin with one of ``KEPT_PREFIXES``."""
KEPT_PREFIXES = ("LC_", "CCACHE_")
_LIFELINE = "LSTM_HW_LIFELINE"
INTERRUPTED = 128 + signal.SIGINT
"""Exit status of a program that the keyboard has ended."""
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def environment(**more: str | os.PathLike) -> dict[str, str | os.PathLike]:
    """The variables that a program is started with.

    Parameters
    ----------
    **more : str or path-like
        What is added.

    Returns
    -------
    dict of str to str or path-like
    """
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    return kept | {"PYTHONSAFEPATH": "1"} | more


def python(target: str, *arguments: object) -> list[str]:
    """The command that starts this Python on a module or a function, for :func:`running` and :func:`run`.

    It finds what this process finds, but what is installed comes first, then the project's packages.

    Parameters
    ----------
    target : str
        ``"package.module"``, to be run as the main module, or ``"package.module:function"``, called without arguments;
        what it returns is the exit status.
    *arguments : str
        ``sys.argv[1:]``.

    Returns
    -------
    list of str
    """
    paths = [str(ROOT), *(path for path in sys.path if os.path.isabs(path))]
    code = (
        f"import sys; sys.path += [p for p in {paths!r} if p not in sys.path]; "
        f"from lstm_hw.process import _start; _start({target!r})"
    )
    return [sys.executable, "-P", "-c", code, *map(str, arguments)]


def _start(target):
    """What a process of :func:`python` does."""
    lifeline = os.environ.pop(_LIFELINE, None)
    if lifeline is not None:
        os.set_inheritable(int(lifeline), False)
        threading.Thread(target=_end_with, args=(int(lifeline),), daemon=True).start()
    module, _, function = target.partition(":")
    if function:
        sys.exit(getattr(import_module(module), function)())
    sibling(module.partition(".")[0])
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with(lifeline):
    os.read(lifeline, 1)  # nothing is ever written: this returns when the other process is gone, in whatever way
    os.killpg(0, signal.SIGKILL)


def sibling(package: str) -> None:
    """Import a top-level package of the project, whatever else of this name is on the path.

    Parameters
    ----------
    package : str
        For example ``"sim"``.

    Raises
    ------
    ToolError
        Another module of this name has been imported.
    """
    file = ROOT / package / "__init__.py"
    found = sys.modules.get(package)
    if found is None and file.is_file():
        spec = importlib.util.spec_from_file_location(package, file, submodule_search_locations=[str(file.parent)])
        sys.modules[package] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[package])
    elif found is not None and file.is_file() and Path(found.__file__ or "").resolve() != file:
        raise ToolError(package, f"imported from {found.__file__}", f"must be the package in {file.parent}: rename it")


@contextmanager
def running(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, grace: float = 5, **options: Any
) -> Iterator[subprocess.Popen]:
    """A program that does not outlive the body: when the body is left early, it ends with all that it has started.

    Parameters
    ----------
    command : list of str
    env : dict of str to str, optional
        Instead of :func:`environment`.
    grace : float
        Seconds to clean up, between SIGTERM and the end.
    **options
        As for :class:`subprocess.Popen`.

    Yields
    ------
    subprocess.Popen
        Leader of a session and process group of its own.
    """
    with ended_by_signals():
        lifeline, held = os.pipe()
        process = None
        try:
            with _undisturbed():  # or a process could start that nobody knows
                process = subprocess.Popen(
                    list(map(str, command)),
                    env={**(environment() if env is None else env), _LIFELINE: str(lifeline)},
                    pass_fds=(lifeline,),
                    start_new_session=True,
                    **options,
                )
            yield process
        finally:
            if process is not None and process.poll() is None:
                _end(process, grace)
            os.close(lifeline)
            os.close(held)


def _end(process, grace):
    try:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(command: Sequence[str], *, input: str | bytes | None = None, **options: Any) -> subprocess.CompletedProcess:
    """Run a program to its end; as :func:`running`, with its outputs as text.

    Parameters
    ----------
    command : list of str
    input : str, optional
        Its standard input; empty without it.
    **options
        As for :func:`running`.

    Returns
    -------
    subprocess.CompletedProcess
        With ``returncode``, ``stdout`` and ``stderr``.
    """
    pipe = subprocess.PIPE
    stdin = subprocess.DEVNULL if input is None else pipe
    with running(command, stdin=stdin, stdout=pipe, stderr=pipe, text=True, **options) as process:
        stdout, stderr = process.communicate(input)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def last_words(said: str, status: int) -> str:
    """The last line that a command which failed has written, or how it ended where it wrote none."""
    lines = said.strip().splitlines()
    if lines:
        return lines[-1]
    return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status} and no message"


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the body as an exception does, so that what it has begun is cleaned up.

    Nothing changes where they are ignored or handled already, or outside the main thread.
    """
    main = threading.current_thread() is threading.main_thread()
    taken = [number for number in _ENDING if main and signal.getsignal(number) == signal.SIG_DFL]
    try:
        for number in taken:
            signal.signal(number, _leave)
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def interrupted(error: KeyboardInterrupt) -> str:
    """What to tell in a line when the keyboard has ended something: its notes say what stays."""
    return "; ".join(["interrupted", *dict.fromkeys(getattr(error, "__notes__", ()))])


@contextmanager
def _undisturbed():
    """Hold signals back until the body is done."""
    main, held = threading.current_thread() is threading.main_thread(), []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDING) if main}
    before = {number: handler for number, handler in before.items() if callable(handler)}
    try:
        for number in before:
            signal.signal(number, lambda number, frame: held.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


def _leave(number, frame):
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)  # once is enough
    sys.exit(128 + number)
