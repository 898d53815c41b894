"""Writing TOML: the part of the language that configuration files here need (``tomllib`` only reads)."""

import json
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError


def dumps(values: Mapping[str, Any]) -> str:
    """A document of top-level values and one level of tables.

    Parameters
    ----------
    values : dict
        Strings, booleans, integers, finite floats, lists of these, and dicts of these; entries that are None are left
        out, since TOML has no null.

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
        # A JSON string is a TOML basic string, except that TOML also wants DEL escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(key, item) for item in value)}]"
    raise ConfigError(key, repr(value), "must be a string, number, boolean or list of these")
