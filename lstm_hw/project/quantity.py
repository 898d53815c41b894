"""Quantities as users write them: a number, a prefix and a unit."""

import math
import re

from ..errors import ConfigError

PREFIXES = {"n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
OTHERS = {"s": {"min": 60.0, "h": 3600.0}}
"""Units that are no multiple by a prefix."""
UNITS = {"s": "a time, as 1ms, 200us or 2min", "W": "a power, as 500mW or 0.5W", "Hz": "a rate, as 48000 or 48kHz"}
"""Unit -> what is asked for, with examples. A number alone is in the unit."""


def quantity(subject: str, text: str, unit: str) -> float:
    """The value of a text in a unit.

    Parameters
    ----------
    subject : str
        What an error says that it is.
    text : str
    unit : str
        One of ``UNITS``.

    Raises
    ------
    ConfigError
        It is no such quantity, or not above 0.
    """
    scales = {f"{prefix}{unit}": scale for prefix, scale in PREFIXES.items()} | OTHERS.get(unit, {}) | {"": 1.0}
    found = re.fullmatch(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)(\D*)", "".join(text.split()))
    try:
        value = float(found[1]) * scales[found[2]]
    except (TypeError, ValueError, KeyError):
        value = math.nan
    if not 0 < value < math.inf:
        raise ConfigError(subject, repr(text), f"must be {UNITS[unit]}")
    return value
