"""Values of a TOML file as the types that the fields of a section are annotated with."""

import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from ..errors import ConfigError, FormatError
from ..machine.formats import QFormat


def refuse_unknown(section: str, values: Iterable[str], known: tuple[str, ...]) -> None:
    """ConfigError for a key that is none of the known ones."""
    for name in values:
        if name not in known:
            subject = f"{section}.{name}" if section else name
            raise ConfigError(subject, "unknown key", f"must be one of {', '.join(known)}")


_LISTED = {QFormat: "them", int: "integers", float: "numbers", str: "strings"}


def typed(subject: str, value: Any, wanted: Any) -> Any:
    """``value`` as the type that a field is annotated with."""
    choices = typing.get_args(wanted) if typing.get_origin(wanted) in (types.UnionType, typing.Union) else (wanted,)
    items = next((typing.get_args(choice)[:1] for choice in choices if typing.get_origin(choice) is tuple), ())
    values = next((typing.get_args(choice)[1] for choice in choices if typing.get_origin(choice) is Mapping), int)
    choices = tuple(typing.get_origin(choice) or choice for choice in choices)  # tuple[int, ...] is a tuple
    kind = items[0] if items else int
    if type(value) is int and float in choices and int not in choices:
        value = float(value)
    if isinstance(value, str) and QFormat in choices:
        return _format_of(subject, value)
    if isinstance(value, list) and tuple in choices and value:
        if kind is float:
            value = [float(item) if type(item) is int else item for item in value]
        if all(type(item) is (str if kind is QFormat else kind) for item in value):
            return tuple(_format_of(subject, item) for item in value) if kind is QFormat else tuple(value)
    if isinstance(value, dict) and Mapping in choices:
        if all(type(item) in ((int, float) if values is float else (values,)) for item in value.values()):
            return value
    if isinstance(value, str) and not value.isprintable():
        raise ConfigError(subject, repr(value), "must be printable characters")
    if type(value) in choices and not (isinstance(value, float) and value - value != 0):
        return value
    names = {
        QFormat: "a number format such as 'Q3.12'",
        tuple: f"a list of {_LISTED[kind]}",
        Mapping: f"a table of {_LISTED[values]}",
        str: "a string",
        int: "an integer",
        float: "a number",
        bool: "true or false",
    }
    raise ConfigError(subject, repr(value), f"must be {' or '.join(names[c] for c in choices if c in names)}")


def _format_of(subject, text):
    try:
        return QFormat.parse(text)
    except FormatError as error:
        raise FormatError(subject, error.found, error.rule) from error


def values_of(cls: type, section: str, table: dict[str, Any]) -> dict[str, Any]:
    """The keys of a table, each as the type of its field."""
    types_of = {f.name: f.type for f in fields(cls)}
    refuse_unknown(section, table, tuple(types_of))
    return {name: typed(f"{section}.{name}", value, types_of[name]) for name, value in table.items()}


def reader_of(cls: type) -> Callable[[str, dict[str, Any]], Any]:
    """A function of section and table that returns ``cls``."""

    def read(section, table):
        values = values_of(cls, section, table)
        for f in fields(cls):
            if f.default is MISSING and f.name not in values:
                raise ConfigError(f"{section}.{f.name}", "missing", f"must be given: {f.metadata['doc']}")
        return cls(**values)

    return read
