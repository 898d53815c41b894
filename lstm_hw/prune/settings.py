"""What a pruning is told: a pattern for W_x and one for W_h, with the numbers of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import ConfigError
from .patterns import PATTERNS, NOfM, Pattern

DENSE = "dense"
MATRICES = ("w_x", "w_h")
"""Matrices of a layer, in the order of a list of two."""
NUMBERS = ("sparsity", "bank", "keep", "parts", "block")
"""Keys that patterns take."""
_NAMES = ", ".join((*(f'"{name}"' for name in PATTERNS if name != NOfM.name), '"2:4" (any N:M)', f'"{DENSE}"'))


def _option(default, doc, **more):
    return field(default=default, metadata={"doc": doc}, **more)


@dataclass(frozen=True)
class PruneConfig:
    """[prune]: weights that become 0 before the model is quantised; each number may be a list of two, for W_x and W_h.

    Raises
    ------
    ConfigError
        A value is out of range, or a key is missing or for another pattern; names key, value and rule.
    """

    pattern: str | tuple[str, ...] = _option(
        DENSE, f"which weights of the LSTM matrices stay: one of {_NAMES}, or a list of two; dense prunes nothing"
    )
    sparsity: float | tuple[float, ...] | None = _option(
        None,
        "share of the weights that become 0, of all (unstructured), of every row (row_balanced), of every part "
        "(load_balanced) or of every part in each column (column_balanced); of m weights m - floor(sparsity m) stay",
    )
    bank: int | tuple[int, ...] | None = _option(None, "columns of a bank (bank_balanced)")
    keep: int | tuple[int, ...] | None = _option(None, "weights that stay in each bank of a row (bank_balanced)")
    parts: int | tuple[int, ...] | None = _option(
        None, "P: rows i mod P are a part, as those of a lane (column_balanced, load_balanced)"
    )
    block: int | tuple[int, ...] | None = _option(
        None, "k: rows and columns of a block, whose diagonals become their mean (block_circulant)"
    )
    skip: tuple[str, ...] | None = _option(
        None, 'matrices that stay as they are, as ["0.w_x"], where 0 is the first layer'
    )
    done: bool = _option(
        False, "the model is pruned so already, and maybe fine-tuned: it is checked, and nothing is changed"
    )

    def __post_init__(self):
        for name in ("pattern", *NUMBERS, "skip"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("pattern", *NUMBERS):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(MATRICES):
                raise ConfigError(f"prune.{name}", list(value), "must be one value, or a list of two: W_x and W_h")
        if type(self.done) is not bool:
            raise ConfigError("prune.done", repr(self.done), "must be true or false")
        skip = () if self.skip is None else self.skip
        if not isinstance(skip, tuple) or not all(isinstance(name, str) for name in skip):
            raise ConfigError("prune.skip", repr(self.skip), 'must be a list of matrices, as ["0.w_x"]')
        self._check_keys()

    def _check_keys(self):
        taken = {key for place in range(len(MATRICES)) for key in self._keys(place)}
        for name in NUMBERS:
            if getattr(self, name) is not None and name not in taken:
                kinds = ", ".join(kind.name for kind in PATTERNS.values() if name in kind.KEYS)
                rule = f"must be for {kinds}, and prune.pattern is {self.pattern!r}"
                raise ConfigError(f"prune.{name}", repr(getattr(self, name)), rule)
        for place in range(len(MATRICES)):
            self._pattern(place)

    @property
    def prunes(self) -> bool:
        """Whether there is a pattern for W_x or W_h."""
        return any(self._pattern(place) for place in range(len(MATRICES)))

    def pattern_of(self, matrix: str) -> Pattern | None:
        """The pattern of a matrix, named as ``0.w_x``; None of one that stays as it is."""
        return None if matrix in (self.skip or ()) else self._pattern(MATRICES.index(matrix.split(".")[-1]))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values, in field order."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PruneConfig":
        """Inverse of :meth:`to_dict`; unknown keys are errors."""
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f"prune.{name}", "unknown key", f"must be one of {', '.join(known)}")
        return cls(**values)

    def _of(self, name, place):
        value = getattr(self, name)
        return value[place] if isinstance(value, tuple) else value

    def _keys(self, place):
        kind = PATTERNS.get(self._of("pattern", place))
        return kind.KEYS if kind else ()

    def _pattern(self, place):
        name = self._of("pattern", place)
        if name == DENSE:
            return None
        if isinstance(name, str) and (found := NOfM.parse(name)):
            return found
        kind = PATTERNS.get(name) if isinstance(name, str) and name != NOfM.name else None
        if kind is None:
            raise ConfigError("prune.pattern", repr(name), f"must be one of {_NAMES}")
        given = {key: self._of(key, place) for key in kind.KEYS}
        for key, value in given.items():
            if value is None:
                doc = self.__dataclass_fields__[key].metadata["doc"]
                raise ConfigError(f"prune.{key}", "missing", f"must be given for {name}: {doc}")
        return kind(**given)
