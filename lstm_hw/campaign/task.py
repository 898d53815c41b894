"""One task: what is sent to a worker, what it answers, and what an answer means.

Both are JSON texts, so that a result is the same wherever it was computed, and whether it was kept or not. A worker
that has other sources than the one that asks refuses: its results would be those of another package.
"""

import json
import sys
import traceback
from collections.abc import Callable
from functools import cache
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import ConfigError, InputError, LstmHwError, TaskError
from ..provenance import code, file_digest

ROOMS = ("lstm_hw", "sim", "boards", "bench")
"""Packages that a function of the project may look into."""
_SHOWN = 200
"""Characters of a task in a message."""


def name_of(function: Callable) -> str:
    """``package.module:function``, as a worker imports it.

    Raises
    ------
    ConfigError
        It is not the function of that name in a module that can be imported.
    """
    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    main = module == "__main__"
    if main and sys.modules[module].__spec__:  # python -m package.module: workers know it by that name
        module = sys.modules[module].__spec__.name
    try:
        found = attrgetter(path)(import_module(module))
    except (ImportError, AttributeError, TypeError):
        found = None
    if module == "__main__" or not (found is function or main and callable(found)):
        raise ConfigError(
            f"{module}:{path or function!r}", "a function that workers cannot import", "must be one of a module's own"
        )
    return f"{module}:{path}"


@cache
def sources(name: str) -> str:
    """What stands for the sources of a function, by :func:`name_of`, as they are now."""
    module = name.partition(":")[0]
    own = module.partition(".")[0] in ROOMS
    state = code() if module.startswith("lstm_hw.") else code(ROOMS)
    file = getattr(import_module(module), "__file__", None)
    return state if own or not file else f"{state}, {Path(file).name} {file_digest(file)}"


def to_text(value: Any, subject: str, what: str) -> str:
    """A value as JSON text.

    Raises
    ------
    InputError
        It is none: says what of.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(subject, f"{what} that is not JSON ({error})", "must be of JSON's types") from error


def shown(task: Any) -> str:
    """A task in a message; of long values in it only that they are there."""
    if isinstance(task, dict):
        task = {name: "..." if len(json.dumps(value)) > _SHOWN // 2 else value for name, value in task.items()}
    text = json.dumps(task)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def perform(name: str, wanted: str, task: str) -> str:
    """Call a function on a task.

    Parameters
    ----------
    name : str
        See :func:`name_of`.
    wanted : str
        :func:`sources` where the task comes from.
    task : str
        JSON.

    Returns
    -------
    str
        JSON: ``{"result": JSON text}``, ``{"error": ...}`` or ``{"other": sources here}``.
    """
    module, _, path = name.partition(":")
    function = attrgetter(path)(import_module(module))
    if sources(name) != wanted:
        return json.dumps({"other": sources(name)})
    try:
        result = function(json.loads(task))
        return json.dumps({"result": to_text(result, "result", "a value")})
    except Exception as error:
        return failure(error)


def failure(error: BaseException) -> str:
    """The answer where a task, or the way to it, raised something."""
    kind, parts = "TaskError", ["", f"{type(error).__name__}: {error}", "must end with a result"]
    if isinstance(error, LstmHwError):
        kind, parts = type(error).__name__, [error.subject, error.found, error.rule]
    trace = "".join(traceback.format_exception(error))
    return json.dumps({"error": {"kind": kind, "parts": parts, "trace": trace}})


def raised(error: dict[str, Any], subject: str) -> LstmHwError:
    """The exception of an answer, which names the task."""
    kind, (inner, found, rule) = getattr(errors, error["kind"], TaskError), error["parts"]
    made = kind(f"{subject}: {inner}" if inner else subject, found, rule)
    made.add_note(error["trace"])
    return made
