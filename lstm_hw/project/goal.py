"""What a search of weight bits is to meet: an accuracy by labels, or an error for the calibration set."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError, InputError
from ..machine.limits import WEIGHT_WIDTHS
from ..model.reference import checked_sequences, float_reference, integer_reference
from .keys import MAX_COUNT

if TYPE_CHECKING:
    from .api import Project


def precision_goal(
    project: "Project", accuracy: float | None = None, max_error: float | None = None, samples: int | None = None
) -> dict[str, Any]:
    """What a search of widths is to meet: arguments of :class:`~lstm_hw.model.precision.Trials`.

    Other parameters are those of :meth:`.Project.precision`; so are the errors.

    Returns
    -------
    dict
        ``measure``, ``bound``, ``higher`` and ``widths``.
    """
    widest = project.config.quantize.weight_bits
    if accuracy is not None and max_error is not None:
        raise ConfigError("accuracy", accuracy, f"must not be given beside max_error = {max_error}")
    if samples is not None and not 1 <= samples <= MAX_COUNT:
        raise ConfigError("samples", samples, f"must be between 1 and {MAX_COUNT:,}")
    widths = [width for width in WEIGHT_WIDTHS if width <= widest]
    if not widths:
        rule = f"must be at least {WEIGHT_WIDTHS[0]}, the least of a search"
        raise ConfigError("quantize.weight_bits", widest, rule)
    if accuracy is not None:
        measure, bound = _accuracy_of(project, accuracy, samples), accuracy
    else:
        bound = project.config.quantize.error_bound if max_error is None else max_error
        measure = _error_of(project, bound, samples)
    return {"measure": measure, "bound": bound, "higher": accuracy is not None, "widths": widths}


def threshold_goal(
    project: "Project", loss: float | None = None, max_error: float | None = None, samples: int | None = None
) -> dict[str, Any]:
    """What a search of thresholds is to meet: arguments of :func:`~lstm_hw.model.delta_search.search_thresholds`.

    Other parameters are those of :meth:`.Project.thresholds`; so are the errors.

    Returns
    -------
    dict
        ``measure``, ``bound`` and ``higher``.
    """
    if (loss is None) == (max_error is None):
        raise ConfigError("loss", loss, "must be given, or else max_error")
    if samples is not None and not 1 <= samples <= MAX_COUNT:
        raise ConfigError("samples", samples, f"must be between 1 and {MAX_COUNT:,}")
    if loss is None:
        return {"measure": _error_of(project, max_error, samples), "bound": max_error, "higher": False}
    if not 0 <= loss < 1:
        raise ConfigError("loss", loss, "must be a share from 0 to below 1")
    measure = _accuracy_of(project, 1.0, samples)
    return {"measure": measure, "bound": measure(replace(project.qmodel, thresholds=())) - loss, "higher": True}


def _accuracy_of(project, bound, samples):
    """What measures the accuracy of a quantised model."""
    if not 0 < bound <= 1:
        raise ConfigError("accuracy", bound, "must be a share above 0 and at most 1")
    metric = project.metric
    if metric is None or not metric.is_share:
        found = "no labels" if metric is None else f"labels of the metric {metric.name}"
        raise InputError("accuracy", found, "must have labels that are right or wrong, or a max_error instead")
    x = project.x[:samples]

    def accuracy(qmodel):
        stored, _ = integer_reference(qmodel, qmodel.quantize_input(x))
        return metric.score(qmodel.dequantize_output(stored))

    return accuracy


def _error_of(project, bound, samples):
    """What measures the largest error of a quantised model, as a share of the float model's largest output."""
    if not 0 < bound < np.inf:
        raise ConfigError("max_error", bound, "must be a number above 0")
    x = checked_sequences("calibration", project.data.calibration, project.model.input_size)[:samples]
    exact, _ = float_reference(project.model, x)
    peak = float(np.abs(exact).max())
    if peak == 0:
        raise InputError("calibration", "outputs that are all 0", "must give outputs that an error is a share of")

    def error(qmodel):
        stored, _ = integer_reference(qmodel, qmodel.quantize_input(x))
        return float(np.abs(qmodel.dequantize_output(stored) - exact).max()) / peak

    return error
