"""A choice among many words, and a comparison of two, in few LUTs."""

from collections.abc import Mapping
from itertools import combinations

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


FOUR = 4
"""Words of which one LUT of six inputs chooses a bit."""


def fours(address: Value, words: Mapping[int, Value]) -> list[tuple[tuple[int, ...], Value]]:
    """Words by address in groups of four, or of fewer, that two bits of the address tell apart.

    Words of one width come together, so that no group is wider than it must be.

    Parameters
    ----------
    address : Value
    words : dict from int to Value

    Returns
    -------
    list of tuple
        The addresses of a group, and the one of its words that is asked for, anything where there is none.
    """
    left, groups = sorted(words, key=lambda place: (-len(words[place]), place)), []
    pairs = list(combinations(range(len(address)), 2))
    while left:
        places, bits = next(
            (places, bits)
            for size in range(min(FOUR, len(left)), 0, -1)
            for places in ((left[0], *others) for others in combinations(left[1:], size - 1))
            for bits in pairs
            if len({_bits_of(place, bits) for place in places}) == size
        )
        by_bits = {_bits_of(place, bits): words[place] for place in places}
        groups.append((places, chosen(Cat(address[bit] for bit in bits), by_bits)))
        left = [place for place in left if place not in places]
    return groups


def _bits_of(place, bits):
    """Some bits of a number, side by side."""
    return sum((place >> bit & 1) << n for n, bit in enumerate(bits))


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
