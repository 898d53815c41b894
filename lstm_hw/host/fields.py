"""Fixed fields one behind the other, little-endian: a table that Python packs by, and that C's offsets follow from."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """A field.

    Parameters
    ----------
    name : str
    code : str
        Of :mod:`struct`: ``H`` u16, ``I`` u32, ``i`` i32, ``Q`` u64, ``8s`` and ``32s`` bytes.
    doc : str
    """

    name: str
    code: str
    doc: str


def struct_of(fields: Iterable[Field]) -> struct.Struct:
    """What packs and unpacks all of them."""
    return struct.Struct("<" + "".join(part.code for part in fields))


def offset_of(fields: Iterable[Field], name: str) -> int:
    """Where a field begins.

    Raises
    ------
    KeyError
        There is no such field.
    """
    offset = 0
    for part in fields:
        if part.name == name:
            return offset
        offset += struct.calcsize(f"<{part.code}")
    raise KeyError(name)
