"""TOML: reading what nobody vouches for, in bounded time, and writing what configuration files here need."""

import json
import os
import tomllib
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError

MAX_BYTES = 1 << 16
"""Largest file."""
MAX_LINE = 1000
"""Longest line: the time for a key of many parts grows with their square."""
MAX_DEPTH = 4
"""Levels of tables and lists."""


def loads(content: bytes, subject: str | os.PathLike) -> dict[str, Any]:
    """The values of a document.

    Parameters
    ----------
    content : bytes
        UTF-8; a byte-order mark, as editors on Windows put it, is no error.
    subject : path-like
        What an error says that it is.

    Returns
    -------
    dict
        Integers of at most 64 bits, tables and lists of at most ``MAX_DEPTH`` levels.

    Raises
    ------
    ConfigError
        It is no TOML, larger than ``MAX_BYTES``, or has other values.
    """
    if len(content) > MAX_BYTES:
        raise ConfigError(subject, f"{len(content)} bytes", f"must not exceed {MAX_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
        number, line = max(enumerate(text.split("\n"), 1), key=lambda numbered: len(numbered[1]))
        if len(line) > MAX_LINE:
            raise ConfigError(f"{subject}: line {number}", f"{len(line)} characters", f"must have at most {MAX_LINE}")
        values = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(subject, "nested too deeply", f"must have at most {MAX_DEPTH} levels") from error
    except ValueError as error:  # of the language, of UTF-8, of an integer of thousands of digits
        raise ConfigError(subject, str(error), "must be TOML") from error
    level: list[tuple[str, Any]] = list(values.items())
    for _ in range(MAX_DEPTH):
        for key, value in level:
            if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
                raise ConfigError(f"{subject}: {key}", "an integer of more than 64 bits", "must fit 64 bits")
        level = [
            (key if isinstance(value, list) else f"{key}.{name}", item)
            for key, value in level
            if isinstance(value, dict | list)
            for name, item in (value.items() if isinstance(value, dict) else enumerate(value))
        ]
    if level:
        raise ConfigError(f"{subject}: {level[0][0]}", "nested too deeply", f"must have at most {MAX_DEPTH} levels")
    return values


def dumps(values: Mapping[str, Any]) -> str:
    """A document of top-level values and one level of tables.

    Parameters
    ----------
    values : dict
        Strings, booleans, integers, finite floats, lists and tables of these, and dicts of these; entries that are None
        are left out, since TOML has no null.

    Returns
    -------
    str

    Raises
    ------
    ConfigError
        A value that TOML, or this part of it, cannot hold.
    """
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    parts = ["".join(_line(key, value) for key, value in plain.items() if value is not None)]
    for name, table in tables.items():
        lines = (_line(f"{key}", value) for key, value in table.items() if value is not None)
        parts.append(f"[{name}]\n" + "".join(lines))
    return "\n".join(part for part in parts if part)


def _line(key, value):
    return f"{key} = {_value(key, value)}\n"


def _value(key, value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value - value == 0:
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(key, item) for item in value)}]"
    if isinstance(value, Mapping):
        items = (f"{_quoted(name)} = {_value(key, item)}" for name, item in value.items())
        return f"{{ {', '.join(items)} }}"
    raise ConfigError(key, repr(value), "must be a string, number, boolean, or list or table of these")


def _quoted(text):
    # A JSON string is a TOML basic string, except that TOML also wants DEL escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
