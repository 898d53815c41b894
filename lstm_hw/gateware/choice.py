"""A choice among many words, and a comparison of two, in few LUTs."""

from collections.abc import Mapping

from amaranth import *


def chosen(address: Value, words: Mapping[int, Value]) -> Value:
    """Of the words by address the one that is asked for, anything where there is none.

    A tree of multiplexers has fewer LUTs in a row, and fewer of them, than an index.

    Parameters
    ----------
    address : Value
        As wide as the largest of them at least.
    words : dict of int to Value
        One at least, all of one width.

    Returns
    -------
    Value
    """
    if len(words) == 1:
        return next(iter(words.values()))
    half = 1 << (len(address) - 1)
    low = {place: word for place, word in words.items() if place < half}
    high = {place - half: word for place, word in words.items() if place >= half}
    below, above = (chosen(address[:-1], part) if part else None for part in (low, high))
    if below is None or above is None:
        return above if below is None else below
    return Mux(address[-1], above, below)


GROUP = 3
"""Bits of each of two words that one LUT of six inputs compares."""


def equal(a: Value, b: Value) -> Value:
    """Whether two unsigned words of one width are equal.

    A carry runs through the LUTs that compare a few bits each, if all of them are equal; a tree behind them takes more.

    Parameters
    ----------
    a, b : Value

    Returns
    -------
    Value
        One bit.
    """
    groups = Cat(a[n : n + GROUP] == b[n : n + GROUP] for n in range(0, len(a), GROUP))
    return (groups + 1)[-1]
