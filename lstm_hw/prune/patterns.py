"""Sparsity patterns: which weights of a matrix stay.

A pattern cuts a matrix into groups and keeps the same number of weights in each, those of the largest magnitude; of
equal ones the first in the group's order. So masks have exact counts and follow from the weights alone. Block-circulant
matrices are no masks: the weights of a group are all equal, and become their mean.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from ..errors import ConfigError, ModelError

MOST = 1 << 16
"""Largest bank, part or block: as many as the rows or columns of the largest matrix."""


class Pattern(ABC):
    """What all patterns have; ``KEYS`` are the keys of ``[prune]`` that they take, which are their fields."""

    name: ClassVar[str]
    KEYS: ClassVar[tuple[str, ...]] = ()

    def check(self, shape: Sequence[int], matrix: str) -> None:
        """Refuse a matrix that the pattern does not divide.

        Parameters
        ----------
        shape : (rows, columns)
        matrix : str
            Its name, as ``0.w_h`` for W_h of the first layer.

        Raises
        ------
        ConfigError
            Names matrix, key, value, and the values that would do.
        """
        return  # any matrix, unless a pattern says otherwise

    @abstractmethod
    def groups(self, values: np.ndarray) -> np.ndarray:
        """The values of a matrix (rows, columns) by group: (groups, members), each value once."""

    @abstractmethod
    def place(self, group: int, shape: Sequence[int]) -> str:
        """Where a group is, in words."""

    @abstractmethod
    def project(self, weights: np.ndarray) -> np.ndarray:
        """The nearest matrix of this pattern, in the mean square."""

    @abstractmethod
    def check_weights(self, weights: np.ndarray, matrix: str, source: str = "model") -> None:
        """Refuse a matrix that is not of this pattern.

        Parameters
        ----------
        weights : array (rows, columns)
            Real or stored numbers. A weight that stays may be 0 too.
        matrix : str
        source : str
            Where it comes from, for messages.

        Raises
        ------
        ModelError
            Names matrix, group, what it holds and what it may hold.
        """

    @abstractmethod
    def asked(self, shape: Sequence[int]) -> float:
        """The share of a matrix that needs no storage, as asked for, before whole numbers of weights are kept."""

    @abstractmethod
    def saved(self, shape: Sequence[int]) -> float:
        """The share of a matrix that needs no storage, as it is."""


class MaskPattern(Pattern):
    """Weights stay or become 0."""

    @abstractmethod
    def kept(self, members: int) -> int:
        """Weights that stay in a group of so many."""

    def mask(self, weights: np.ndarray, matrix: str = "weights") -> np.ndarray:
        """Which weights stay.

        Parameters
        ----------
        weights : array (rows, columns)
        matrix : str
            Its name, for messages.

        Returns
        -------
        bool array (rows, columns)
        """
        weights = _matrix(weights, matrix)
        self.check(weights.shape, matrix)
        index = self.groups(np.arange(weights.size).reshape(weights.shape))
        size = np.abs(weights).reshape(-1)[index]
        order = np.argsort(-size, axis=1, kind="stable")[:, : self.kept(index.shape[1])]
        mask = np.zeros(weights.size, dtype=bool)
        mask[np.take_along_axis(index, order, axis=1)] = True
        return mask.reshape(weights.shape)

    def project(self, weights: np.ndarray) -> np.ndarray:
        return np.where(self.mask(weights), weights, 0.0)

    def check_mask(self, mask: np.ndarray, matrix: str, source: str = "mask") -> None:
        """Refuse a mask that does not keep exactly so many weights in every group.

        Parameters
        ----------
        mask : bool array (rows, columns)
        matrix, source : str

        Raises
        ------
        ModelError
        """
        self._check_counts(mask, matrix, source, exact=True)

    def check_weights(self, weights: np.ndarray, matrix: str, source: str = "model") -> None:
        self._check_counts(_matrix(weights, matrix) != 0, matrix, source, exact=False)

    def _check_counts(self, mask, matrix, source, exact):
        self.check(mask.shape, matrix)
        groups = self.groups(mask)
        found, kept = groups.sum(axis=1), self.kept(groups.shape[1])
        wrong = found != kept if exact else found > kept
        if wrong.any():
            group = int(np.flatnonzero(wrong)[0])
            more = f", and {np.count_nonzero(wrong) - 1:,} more" if np.count_nonzero(wrong) > 1 else ""
            least = "exactly" if exact else "at most"
            raise ModelError(
                f"{source}: {matrix}",
                f"{found[group]:,} of {groups.shape[1]:,} weights are kept in {self.place(group, mask.shape)}{more}",
                f"must be {least} {kept:,} for {self}: prune it so, or state a pattern that it has",
            )

    def asked(self, shape: Sequence[int]) -> float:
        return float(self.sparsity)

    def saved(self, shape: Sequence[int]) -> float:
        members = self._members(shape)
        return 1 - self.kept(members) / members

    @abstractmethod
    def _members(self, shape):
        """Of each group of a matrix."""


class _Share(MaskPattern):
    """A share of every group becomes 0: of m weights, m - floor(sparsity m) stay."""

    def kept(self, members: int) -> int:
        return members - math.floor(Fraction(str(self.sparsity)) * members)

    def __str__(self):
        return f"{self.name} of sparsity {self.sparsity:g}"


@dataclass(frozen=True)
class Unstructured(_Share):
    """The largest weights of the whole matrix stay.

    Parameters
    ----------
    sparsity : float
        Share of the weights that becomes 0; at least 0, below 1.
    """

    sparsity: float
    name: ClassVar[str] = "unstructured"
    KEYS: ClassVar[tuple[str, ...]] = ("sparsity",)

    def __post_init__(self):
        _check_share(self.sparsity)

    def groups(self, values: np.ndarray) -> np.ndarray:
        return values.reshape(1, -1)

    def place(self, group: int, shape: Sequence[int]) -> str:
        return "the matrix"

    def _members(self, shape):
        return shape[0] * shape[1]


@dataclass(frozen=True)
class RowBalanced(_Share):
    """Every row keeps as many weights; BRDS (arXiv 2101.02667) does so with different shares of W_x and W_h.

    Parameters
    ----------
    sparsity : float
    """

    sparsity: float
    name: ClassVar[str] = "row_balanced"
    KEYS: ClassVar[tuple[str, ...]] = ("sparsity",)

    def __post_init__(self):
        _check_share(self.sparsity)

    def groups(self, values: np.ndarray) -> np.ndarray:
        return values

    def place(self, group: int, shape: Sequence[int]) -> str:
        return f"row {group}"

    def _members(self, shape):
        return shape[1]


class _Parts(_Share):
    """Rows i mod ``parts`` are a part: those of a lane or a processing element."""

    KEYS: ClassVar[tuple[str, ...]] = ("parts", "sparsity")

    def __post_init__(self):
        _check_count("parts", self.parts)
        _check_share(self.sparsity)

    def check(self, shape: Sequence[int], matrix: str) -> None:
        _check_divides("parts", self.parts, shape[0], "rows", matrix)

    def __str__(self):
        return f"{self.name} of {self.parts} parts and sparsity {self.sparsity:g}"


@dataclass(frozen=True)
class ColumnBalanced(_Parts):
    """Every part keeps as many weights in each column (CBTD: Gao et al., Spartus, TNNLS 2022).

    Parameters
    ----------
    parts : int
        P: the rows i mod P of a column are a group.
    sparsity : float
    """

    parts: int
    sparsity: float
    name: ClassVar[str] = "column_balanced"

    def groups(self, values: np.ndarray) -> np.ndarray:
        slots = len(values) // self.parts
        return values.reshape(slots, self.parts, -1).transpose(1, 2, 0).reshape(-1, slots)

    def place(self, group: int, shape: Sequence[int]) -> str:
        part, column = divmod(group, shape[1])
        return f"column {column}, rows {part} mod {self.parts}"

    def _members(self, shape):
        return shape[0] // self.parts


@dataclass(frozen=True)
class LoadBalanced(_Parts):
    """Every part keeps as many weights in all its rows (ESE: Han et al., FPGA 2017).

    Parameters
    ----------
    parts : int
        Processing elements: the rows i mod P are a group.
    sparsity : float
    """

    parts: int
    sparsity: float
    name: ClassVar[str] = "load_balanced"

    def groups(self, values: np.ndarray) -> np.ndarray:
        slots = len(values) // self.parts
        return values.reshape(slots, self.parts, -1).transpose(1, 0, 2).reshape(self.parts, -1)

    def place(self, group: int, shape: Sequence[int]) -> str:
        return f"rows {group} mod {self.parts}"

    def _members(self, shape):
        return shape[0] * shape[1] // self.parts


class _Banks(MaskPattern):
    """Each row is cut into banks of ``bank`` columns side by side, and each keeps ``keep`` weights."""

    def check(self, shape: Sequence[int], matrix: str) -> None:
        _check_divides(self.KEYS[0], self.bank, shape[1], "columns", matrix)

    def groups(self, values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, self.bank)

    def kept(self, members: int) -> int:
        return self.keep

    @property
    def sparsity(self) -> float:
        return 1 - self.keep / self.bank

    def place(self, group: int, shape: Sequence[int]) -> str:
        row, bank = divmod(group, shape[1] // self.bank)
        return f"row {row}, columns {bank * self.bank} to {(bank + 1) * self.bank - 1}"

    def _members(self, shape):
        return self.bank


@dataclass(frozen=True)
class BankBalanced(_Banks):
    """Every bank of a row keeps as many weights (BBS: Cao et al., FPGA 2019).

    Parameters
    ----------
    bank : int
        L: columns of a bank.
    keep : int
        k: weights that stay in each, 1 to L.
    """

    bank: int
    keep: int
    name: ClassVar[str] = "bank_balanced"
    KEYS: ClassVar[tuple[str, ...]] = ("bank", "keep")

    def __post_init__(self):
        _check_count("bank", self.bank)
        _check_count("keep", self.keep, self.bank, f"prune.bank = {self.bank}")

    def __str__(self):
        return f"{self.name} with {self.keep} of {self.bank} kept"


@dataclass(frozen=True)
class NOfM(_Banks):
    """N of M weights side by side in a row stay; the pattern is written ``"N:M"``.

    Its masks are those of :class:`BankBalanced` with banks of M.

    Parameters
    ----------
    keep : int
        N.
    bank : int
        M.
    """

    keep: int
    bank: int
    name: ClassVar[str] = "N:M"
    KEYS: ClassVar[tuple[str, ...]] = ("pattern",)

    def __post_init__(self):
        if not 1 <= self.keep <= self.bank <= MOST:
            rule = f"must be N:M with N from 1 to M, and M up to {MOST:,}"
            raise ConfigError("prune.pattern", f"'{self.keep}:{self.bank}'", rule)

    @classmethod
    def parse(cls, text: str) -> "NOfM | None":
        """The pattern of ``"N:M"``; None of what is not written so."""
        found = re.fullmatch(r"(\d{1,6}):(\d{1,6})", text, re.ASCII)
        return cls(int(found[1]), int(found[2])) if found else None

    def __str__(self):
        return f"{self.keep}:{self.bank}"


@dataclass(frozen=True)
class BlockCirculant(Pattern):
    """Blocks of k x k in which every row is the one above, turned by one place (C-LSTM: Wang et al., FPGA 2018).

    Nothing becomes 0: of k weights on a diagonal of a block one is stored.

    Parameters
    ----------
    block : int
        k: rows and columns of a block.
    """

    block: int
    name: ClassVar[str] = "block_circulant"
    KEYS: ClassVar[tuple[str, ...]] = ("block",)

    def __post_init__(self):
        _check_count("block", self.block)

    def check(self, shape: Sequence[int], matrix: str) -> None:
        for size, what in zip(shape, ("rows", "columns"), strict=True):
            _check_divides("block", self.block, size, what, matrix, shape)

    def groups(self, values: np.ndarray) -> np.ndarray:
        k = self.block
        blocks = values.reshape(len(values) // k, k, -1, k)
        row, turn = np.arange(k), np.arange(k)[:, None]
        return blocks[:, row, :, (row - turn) % k].transpose(2, 3, 0, 1).reshape(-1, k)

    def place(self, group: int, shape: Sequence[int]) -> str:
        place, turn = divmod(group, self.block)
        row, column = (self.block * n for n in divmod(place, shape[1] // self.block))
        return f"diagonal {turn} of the block at row {row}, column {column}"

    def project(self, weights: np.ndarray) -> np.ndarray:
        weights = _matrix(weights, "weights")
        self.check(weights.shape, "weights")
        index = self.groups(np.arange(weights.size).reshape(weights.shape))
        values = weights.reshape(-1)[index]
        same = (values == values[:, :1]).all(axis=1)  # a mean may round: what is projected stays as it is
        found = np.empty(weights.size)
        found[index] = np.where(same, values[:, 0], values.mean(axis=1))[:, None]
        return found.reshape(weights.shape)

    def check_weights(self, weights: np.ndarray, matrix: str, source: str = "model") -> None:
        weights = _matrix(weights, matrix)
        self.check(weights.shape, matrix)
        groups = self.groups(weights)
        wrong = np.flatnonzero((groups != groups[:, :1]).any(axis=1))
        if len(wrong):
            low, high = groups[wrong[0]].min(), groups[wrong[0]].max()
            more = f", and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
            raise ModelError(
                f"{source}: {matrix}",
                f"weights from {low:g} to {high:g} on {self.place(int(wrong[0]), weights.shape)}{more}",
                f"must be equal for {self}: prune it so, or state a pattern that it has",
            )

    def asked(self, shape: Sequence[int]) -> float:
        return 1 - 1 / self.block

    saved = asked

    def __str__(self):
        return f"{self.name} of blocks of {self.block}"


PATTERNS = {
    kind.name: kind
    for kind in (Unstructured, NOfM, BankBalanced, RowBalanced, ColumnBalanced, LoadBalanced, BlockCirculant)
}
"""Patterns by name."""


def _matrix(weights, matrix):
    weights = np.asarray(weights)
    if weights.ndim != 2 or weights.size == 0 or weights.dtype.kind not in "iuf":
        raise ModelError(matrix, f"shape {weights.shape} of {weights.dtype}", "must be numbers (rows, columns)")
    if weights.dtype.kind == "f" and not np.isfinite(weights).all():
        raise ModelError(matrix, "NaN or infinity", "must be finite")
    return weights


def _check_share(sparsity):
    if type(sparsity) not in (int, float) or not 0 <= sparsity < 1:
        raise ConfigError("prune.sparsity", repr(sparsity), "must be a number, at least 0 and below 1")


def _check_count(key, value, most=MOST, what=None):
    if type(value) is not int or not 1 <= value <= most:
        raise ConfigError(f"prune.{key}", repr(value), f"must be an integer from 1 to {what or f'{most:,}'}")


def _check_divides(key, value, size, what, matrix, shape=()):
    if size % value:
        common = math.gcd(size, *shape)
        fit = [str(n) for n in range(1, common + 1) if common % n == 0]
        fit = ", ".join(fit if len(fit) <= 12 else [*fit[:6], "...", *fit[-5:]])
        raise ConfigError(
            f"prune.{key}: {matrix}",
            value,
            f"must divide its {size:,} {what}, as {fit} do; "
            f'or leave the matrix as it is, with prune.skip = ["{matrix}"]',
        )
