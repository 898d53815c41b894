"""How good outputs are: what labels say of them, by a stated metric."""

from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError, InputError
from ..model.float_model import FloatModel
from ..model.functions import LEFT_OUT

METRICS = {
    "argmax": "the largest output is at the label, a class from 0",
    "threshold": "an output is above data.threshold where the label is 1, and not where it is 0",
    "error": "mean distance of the outputs from the labels",
}
"""Name of a metric -> what it says."""


@dataclass(frozen=True, eq=False)
class Metric:
    """What outputs are judged by.

    Parameters
    ----------
    name : str
        One of ``METRICS``.
    labels : array
        ``argmax``: classes (N,) or (N, T). The others: what each output should be, (N, O) or (N, T, O).
    last_step : bool
        The model has outputs in every step, and the labels are of the last one.
    threshold : float
        Of the metric of that name.
    assumption : str or None
        What was assumed, a sentence, where nobody stated the metric.
    left_out : str
        What the model's file has behind its outputs, whose results the labels are of; see :class:`.FloatModel`.
    """

    name: str
    labels: np.ndarray
    last_step: bool = False
    threshold: float = 0.0
    assumption: str | None = None
    left_out: str = ""

    @classmethod
    def of(
        cls,
        model: FloatModel,
        labels: np.ndarray,
        steps: int,
        name: str | None = None,
        threshold: float | None = None,
        subject: str = "labels",
    ) -> "Metric":
        """The metric that is stated, or the only one that model and labels leave.

        Parameters
        ----------
        model : FloatModel
        labels : array
            int64 or float64, one entry a sequence.
        steps : int
            T, of the outputs for a sequence.
        name : str, optional
            Of the metric.
        threshold : float, optional
            0, where a logit says as much for as against, without it; of a model whose file ends in a softmax it must
            be given.
        subject : str
            What errors say that the labels are.

        Raises
        ------
        InputError
            The labels do not fit the model and the metric, or leave no metric or several.
        ConfigError
            A threshold for another metric, or none for a model whose file ends in a softmax.
        """
        every_step, assumption = model.gives_every_step, None
        if name is None:
            name = _only_metric(model, labels, subject)
            assumption = f"data.metric: {name}: {METRICS[name]}"
        if threshold is not None and name != "threshold":
            raise ConfigError("data.threshold", threshold, f"must be for the metric threshold, not {name}")
        if name == "threshold" and model.left_out and threshold is None:
            rule = f"must be given: the outputs that are judged are those of the {model.left_out} that ends the file"
            raise ConfigError("data.threshold", "not given", rule)
        placed, last_step = _placed(name, labels, steps if every_step else None, model.output_size, subject)
        if last_step and steps > 1 and assumption:
            raise InputError(
                subject,
                f"one label a sequence, and outputs in each of {steps} steps",
                f"must be labels of every step, or data.metric must be given: {name} then judges the last step",
            )
        _check_values(name, placed, model.output_size, subject)
        if name == "threshold" and assumption:
            assumption += f", which is {threshold or 0:g}"
        return cls(name, placed, last_step, threshold or 0.0, assumption, model.left_out)

    @property
    def is_share(self) -> bool:
        """Whether scores are shares of what is right, or else errors."""
        return self.name != "error"

    def score(self, outputs: np.ndarray) -> float:
        """Share of the labels that the outputs agree with, or mean distance from them.

        Parameters
        ----------
        outputs : float array (N, O) or (N, T, O)
            In real numbers, of the first N sequences.
        """
        labels = self.labels[: len(outputs)]
        if self.last_step:
            outputs = outputs[:, -1]
        if self.name == "argmax":
            return float((outputs.argmax(axis=-1) == labels).mean())
        outputs = LEFT_OUT[self.left_out](outputs)
        if self.name == "threshold":
            return float(((outputs > self.threshold) == (labels == 1)).mean())
        return float(np.abs(outputs - labels).mean())


def _only_metric(model, labels, subject):
    """Name of the metric that the kinds of the labels and of the model leave."""
    if labels.dtype.kind == "f" and not (model.output_size == 1 and _is_binary(labels)):
        return "error"
    if model.head is None:
        raise InputError(
            subject,
            "labels for a model without head, whose outputs are hidden units",
            "must be left out, or data.metric must be given: argmax, threshold or error, of the hidden units",
        )
    if model.output_size == 1:
        if not _is_binary(labels):
            raise InputError(
                subject,
                f"{labels.min()} to {labels.max()} for one output",
                "must be 0 or 1 (the metric threshold), or data.metric must be given: error takes any numbers",
            )
        return "threshold"
    if labels.ndim > (2 if model.gives_every_step else 1):
        raise InputError(
            subject,
            f"integers of shape {labels.shape}",
            "must be classes, or data.metric must be given: threshold for a 0 or 1 of every output, error for numbers",
        )
    return "argmax"


def _is_binary(labels):
    return bool(np.all((labels == 0) | (labels == 1)))


def _placed(name, labels, steps, outputs, subject):
    """Labels in the shape of what is judged, and whether that is the last of many steps; ``steps`` None: only one."""
    count = len(labels)
    last, every = (count,), (count, steps)
    if name != "argmax":
        if outputs == 1 and labels.shape in (last, *([every] if steps else [])):
            labels = labels[..., np.newaxis]
        last, every = (*last, outputs), (*every, outputs)
    if steps and labels.shape == every:
        return labels, False
    if labels.shape == last:
        return labels, steps is not None
    wanted = f"{last} or {every}" if steps else f"{last}"
    raise InputError(subject, f"shape {labels.shape}", f"must be {wanted} for the metric {name} of {outputs} outputs")


def _check_values(name, labels, outputs, subject):
    if name == "error":
        return
    if name == "threshold":
        wrong, rule = (labels != 0) & (labels != 1), "must be 0 or 1 for the metric threshold"
    else:
        if labels.dtype.kind == "f":
            raise InputError(subject, "real numbers", "must be integers for the metric argmax")
        wrong = (labels < 0) | (labels >= outputs)
        rule = f"must be 0 to {outputs - 1}, a class for each of {outputs} outputs: classes count from 0"
    if wrong.any():
        where = np.argwhere(wrong)[0]
        value, at = labels[tuple(where)], ", ".join(map(str, where))
        more = f", and {others} more" if (others := np.count_nonzero(wrong) - 1) else ""
        raise InputError(subject, f"{value:g} at [{at}]{more}", rule)
