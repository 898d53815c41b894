"""Prune a float model, check one that is pruned, and see that quantisation kept what pruning made."""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConfigError, VerificationError
from ..model.float_model import FloatModel, refuse_arranged, refuse_plain
from ..model.quant_config import QuantConfig
from ..model.quant_model import QuantModel
from ..model.sources import refuse_sources
from .patterns import BlockCirculant, MaskPattern, Pattern
from .settings import MATRICES, PruneConfig


@dataclass(frozen=True, eq=False)
class PrunedMatrix:
    """What became of a matrix.

    Parameters
    ----------
    name : str
        As ``0.w_h``: W_h of the first layer.
    weights : float64 array (rows, columns)
    pattern : Pattern or None
        None of a matrix that stays as it is.
    mask : bool array (rows, columns) or None
        Which weights stay; None unless the pattern is a mask.
    """

    name: str
    weights: np.ndarray
    pattern: Pattern | None
    mask: np.ndarray | None

    @property
    def asked(self) -> float:
        """The share of the weights that need not be stored, as asked for."""
        return self.pattern.asked(self.weights.shape) if self.pattern else 0.0

    @property
    def saved(self) -> float:
        """The share of the weights that need not be stored: where a mask has none, or but one of equal ones."""
        if self.mask is not None:
            return 1 - float(self.mask.mean())
        return self.pattern.saved(self.weights.shape) if self.pattern else 0.0

    @property
    def zeros(self) -> float:
        """The share of the weights that are 0."""
        return float((self.weights == 0).mean())


@dataclass(frozen=True, eq=False)
class Pruned:
    """A pruned model.

    Parameters
    ----------
    model : FloatModel
    matrices : tuple of PrunedMatrix
        W_x and W_h of every layer, the first layer first.
    """

    model: FloatModel
    matrices: tuple[PrunedMatrix, ...]

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Masks by matrix, of those that have one."""
        return {matrix.name: matrix.mask for matrix in self.matrices if matrix.mask is not None}


def prune(model: FloatModel, config: PruneConfig) -> Pruned:
    """Prune the LSTM matrices of a model by magnitude; biases and head stay as they are.

    Pruning what is pruned already changes nothing.

    Parameters
    ----------
    model : FloatModel
    config : PruneConfig
        With ``done`` the model is checked and stays as it is.

    Returns
    -------
    Pruned

    Raises
    ------
    ConfigError
        A pattern does not divide a matrix, or ``skip`` names none.
    ModelError
        With ``done``: a matrix is not of its pattern.
    """
    refuse_plain(model, "prune")
    refuse_arranged(model, "prune")
    refuse_sources(model, "prune")
    patterns = _patterns(model, config)
    matrices, layers = [], []
    for number, layer in enumerate(model.layers):
        changed = {}
        for kind in MATRICES:
            name, weights = f"{number}.{kind}", getattr(layer, kind)
            pattern, mask = patterns[name], None
            if pattern is not None:
                pattern.check(weights.shape, name)
                if config.done:
                    pattern.check_weights(weights, name, model.source)
                if isinstance(pattern, MaskPattern):
                    mask = pattern.mask(weights, name)
                changed[kind] = weights = pattern.project(weights)
            matrices.append(PrunedMatrix(name, weights, pattern, mask))
        layers.append(replace(layer, **changed))
    return Pruned(replace(model, layers=tuple(layers)), tuple(matrices))


def check_pruned(model: FloatModel, config: PruneConfig) -> None:
    """Refuse a model that is not pruned as a configuration says, whoever pruned it.

    Parameters
    ----------
    model : FloatModel
    config : PruneConfig

    Raises
    ------
    ConfigError
        A pattern does not divide a matrix, or ``skip`` names none.
    ModelError
        Names the first matrix and group that hold more weights than the pattern keeps, or unequal ones.
    """
    refuse_plain(model, "prune")
    refuse_arranged(model, "prune")
    refuse_sources(model, "prune")
    for name, pattern in _patterns(model, config).items():
        if pattern is not None:
            number, kind = name.split(".")
            pattern.check_weights(getattr(model.layers[int(number)], kind), name, model.source)


def quantizing(config: QuantConfig, pruned: Pruned) -> QuantConfig:
    """A quantisation that keeps a pruned model's pattern.

    Weights of 0 stay 0 however they are rounded. Equal weights of a block-circulant matrix stay equal only where all
    rows have the same fraction bits, each weight is rounded by itself, and no input has a scale of its own.

    Raises
    ------
    ConfigError
        The configuration asks for something else.
    """
    circulant = [matrix.name for matrix in pruned.matrices if isinstance(matrix.pattern, BlockCirculant)]
    if not circulant:
        return config
    rule = f"must be {{}} with prune.pattern = 'block_circulant' ({circulant[0]}), whose equal weights must stay equal"
    if config.rounding == "compensated":
        raise ConfigError("quantize.rounding", repr(config.rounding), rule.format("nearest or auto"))
    if config.fractions == "row":
        raise ConfigError("quantize.fractions", repr(config.fractions), rule.format("shared, matrix or auto"))
    fractions = "matrix" if config.fractions == "auto" else config.fractions
    return replace(config, rounding="nearest", fractions=fractions, scale_inputs=False)


def check_quantized(qmodel: QuantModel, pruned: Pruned) -> None:
    """Refuse a quantised model whose stored weights are not of the pattern that the float model has.

    Raises
    ------
    VerificationError
        Names the matrix.
    """
    for matrix in pruned.matrices:
        number, kind = matrix.name.split(".")
        stored = getattr(qmodel.layers[int(number)], kind)
        if matrix.mask is not None and stored[~matrix.mask].any():
            found = f"{np.count_nonzero(stored[~matrix.mask]):,} pruned weights are not 0"
            raise VerificationError(f"{matrix.name} as quantised", found, "must be 0, as in the pruned model")
        if isinstance(matrix.pattern, BlockCirculant):
            matrix.pattern.check_weights(stored, matrix.name, "quantised model")


def _patterns(model, config):
    """The pattern of every matrix, by its name."""
    names = [f"{number}.{kind}" for number in range(len(model.layers)) for kind in MATRICES]
    for name in config.skip or ():
        if name not in names:
            raise ConfigError("prune.skip", repr(name), f"must be of {', '.join(names)}")
    return {name: config.pattern_of(name) for name in names}
