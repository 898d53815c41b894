"""A choice among many words as a tree of multiplexers: fewer LUTs in a row, and fewer of them, than an index."""

from collections.abc import Mapping

from amaranth import *


def chosen(address: Value, words: Mapping[int, Value]) -> Value:
    """Of the words by address the one that is asked for, anything where there is none.

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
