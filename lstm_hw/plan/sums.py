"""Sums of loop indices: what a field, a count or a condition of a program may be while it is planned.

A sum is a constant, a stride for every turn of each of some loops, and possibly a modulus over some of these terms:
``4 + 12 * row + (step + 1) % 2 * 64``. It is a plain value: no register is chosen before the whole program is known
(:mod:`lstm_hw.plan.registers`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import ProgramError


@dataclass(frozen=True)
class Term:
    """What each turn of a loop adds to a sum, and whether the sum's modulus sees it."""

    stride: int
    modular: bool = False


@dataclass(frozen=True)
class Sum:
    """``constant + plain terms + (phase + modular terms) % modulus``.

    Parameters
    ----------
    constant : int
    terms : tuple of (loop, Term)
        No loop twice. The "loop" may be a variable, which then is the only term.
    modulus : int
        0 without modular terms.
    phase : int
        What is added inside the modulus.
    """

    constant: int = 0
    terms: tuple[tuple[Any, Term], ...] = field(default=())
    modulus: int = 0
    phase: int = 0

    @property
    def known(self) -> bool:
        """Whether it is a number."""
        return not self.terms

    @property
    def variable(self) -> Any | None:
        """The variable that it is, beside its constant; None if it is a sum of indices."""
        return next((loop for loop, _ in self.terms if loop.variable), None)

    def parity(self, zero: bool) -> dict[frozenset, int]:
        """What is known where this is zero, or where it is not: indices, and their sum modulo 2."""
        indices, unit = self._turns
        if not unit or len(indices) < len(self.terms) or self.constant or self.phase % unit:
            return {}
        return {indices: (self.phase // unit + (not zero)) % 2}

    def with_parities(self, known: dict[frozenset, int]) -> Sum:
        """This sum, where the sum of some indices modulo 2 is known."""
        indices, unit = self._turns
        if not unit or indices not in known:
            return self
        plain = {loop: term for loop, term in self.terms if not term.modular}
        return _sum(self.constant + (self.phase + known[indices] * unit) % self.modulus, plain, 0, 0)

    @property
    def _turns(self):
        """Indices that take turns between two values, and the distance of these; 0 if there are none."""
        modular = {loop: term.stride for loop, term in self.terms if term.modular}
        two = all(2 * stride == self.modulus for stride in modular.values())
        return frozenset(modular), self.modulus // 2 if two else 0

    def __add__(self, other: Value) -> Sum:
        other = as_sum(other)
        if self.modulus and other.modulus:
            raise ProgramError("sum of indices", "two moduli", "must have one at most")
        terms = dict(self.terms)
        for loop, term in other.terms:
            known = terms.get(loop, replace(term, stride=0))
            if known.modular != term.modular:
                raise ProgramError("sum of indices", "an index inside and outside of a modulus", "must be one of them")
            terms[loop] = replace(term, stride=known.stride + term.stride)
        return _sum(self.constant + other.constant, terms, self.modulus or other.modulus, self.phase + other.phase)

    def __mul__(self, factor: int) -> Sum:
        terms = {loop: replace(term, stride=term.stride * factor) for loop, term in self.terms}
        return _sum(self.constant * factor, terms, self.modulus * factor, self.phase * factor)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Sum:
        return self * -1

    def __sub__(self, other: Value) -> Sum:
        return self + -1 * as_sum(other)

    def __rsub__(self, other: Value) -> Sum:
        return as_sum(other) + -1 * self

    def __mod__(self, turns: int) -> Sum:
        """The whole sum modulo a number; a product of it takes the modulus along."""
        if self.modulus:
            raise ProgramError("sum of indices", "a modulus of a modulus", "must have one at most")
        terms = {loop: Term(term.stride % turns, True) for loop, term in self.terms}
        constant = self.constant % turns
        return _sum(0, terms, turns, constant) if any(t.stride for t in terms.values()) else Sum(constant)


Value = Sum | int
"""What a field, a count or a condition may be."""


def as_sum(value: Value) -> Sum:
    """A number as a sum."""
    return value if isinstance(value, Sum) else Sum(int(value))


def _sum(constant, terms, modulus, phase):
    """A sum in its only form: without terms that add nothing; a variable is itself, once."""
    terms = {loop: term for loop, term in terms.items() if term.stride}
    variables = [loop for loop in terms if loop.variable]
    if variables and (len(terms) > 1 or terms[variables[0]] != Term(1)):
        raise ProgramError("sum of indices", "a variable in a sum or product", "must stand alone beside a constant")
    if not any(term.modular for term in terms.values()):
        constant, modulus, phase = constant + (phase % modulus if modulus else 0), 0, 0
    return Sum(constant, tuple(terms.items()), modulus, phase)
