"""What a project starts from: its configuration, the trained model, inputs and labels."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

import numpy as np

from ..errors import ConfigError, InputError
from ..files import locked
from ..model.float_model import FloatModel
from ..model.load import load as load_model
from ..model.reference import checked_sequences
from ..prune.apply import Pruned, prune
from .dataset import Dataset
from .inputs import inputs_of
from .keys import MAX_STEPS
from .score import Metric
from .settings import ProjectConfig

COARSE = 0.01
"""A matrix that is less sparse than asked for by more than this is told of."""
Stages = Callable[[str], AbstractContextManager[Callable[[int, int], None] | None]]
"""What shows how far long work is: called with the name of a stage, and its value with (done, total)."""


class Given:
    """Configuration, model and data of a project, read when somebody asks for them."""

    def __init__(
        self,
        config: ProjectConfig,
        model: FloatModel | None = None,
        data: Dataset | None = None,
        progress: Stages | None = None,
        note: Callable[[str], None] | None = None,
    ):
        self.config, self.folder = config, config.build
        self._model, self._data = model, data
        self.format_choices: list[str] = []
        self.progress = progress or (lambda label: nullcontext(None))
        self.note = note or (lambda text: None)

    @property
    def is_of_files(self) -> bool:
        """Whether model and data are those that the configuration names."""
        return self._model is None and self._data is None

    @cached_property
    def trained(self) -> FloatModel:
        """The trained model as it was given (FloatModel)."""
        if self._model is not None:
            return self._model
        section = self.config.model
        model = load_model(self.config.model_path, section.options)
        for assumption in model.assumptions:
            self.note(assumption)
        return model

    @cached_property
    def pruned(self) -> Pruned | None:
        """What ``[prune]`` makes of the trained model; None where that has no pattern.

        Raises
        ------
        ConfigError
            A pattern does not divide a matrix.
        ModelError
            The model is said to be pruned so already, and is not.
        """
        if not self.config.prune.prunes:
            return None
        with self.progress("prune"):
            pruned = prune(self.trained, self.config.prune)
        for matrix in pruned.matrices:
            if matrix.asked - matrix.saved > COARSE:
                self.note(
                    f"prune: {matrix.name}: sparsity {matrix.asked:.2%} asked for, {matrix.saved:.2%} reached: groups "
                    f"of {matrix.pattern} have few weights"
                )
        return pruned

    @property
    def model(self) -> FloatModel:
        """The model that goes to hardware (FloatModel): the trained one, pruned if ``[prune]`` says so."""
        return self.trained if self.pruned is None else self.pruned.model

    @cached_property
    def data(self) -> Dataset:
        """Calibration and test inputs (Dataset)."""
        section, refuses = self.config.data, self.model.arrangement.refuses
        data, named = self._data, {"calibration": "calibration", "x": "x"}
        if data is None and section is None:
            rule = "must be given, by a [data] section (path, or random = 8 for random inputs) or to convert()"
            raise InputError("calibration", "not given", rule)
        if data is None:
            if section.random is not None and (rule := refuses(section.steps)):
                raise ConfigError("data.steps", section.steps, rule)
            for assumption in self._assumed_data:
                self.note(assumption)
            data = inputs_of(section, self.config.data_path, self.model.input_size)
            named = {name: f"{self.config.data_path}: {getattr(section, name)}" for name in named}
        for name, subject in named.items():
            values = getattr(data, name)
            if values is not None and (rule := refuses(values.shape[1])):
                raise InputError(subject, f"shape {values.shape}", rule)
        return data

    @property
    def _assumed_data(self):
        section = self.config.data
        if self._data is not None or section is None:
            return ()
        if section.features is not None:
            return (
                f"data.features: {', '.join(section.features)} are computed by the host: x of the engine, of predict "
                "and of a device are these",
            )
        if section.random is None:
            return ()
        return (
            f"data.random: inputs are random, within {section.peak:g}; formats and errors say nothing of real data",
        )

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What nobody said and was assumed, a sentence each."""
        metric = self.metric
        judged = (metric.assumption,) if metric is not None and metric.assumption else ()
        return (*self.model.assumptions, *self._assumed_data, *judged)

    @property
    def x(self) -> np.ndarray:
        """Test inputs (N, T, Lx) in real numbers.

        Raises
        ------
        InputError
            There are none.
        """
        if self.data.x is None:
            raise InputError("x", "no test inputs", "must be given, by a [data] section or to convert()")
        return checked_sequences("x", self.data.x, self.model.input_size)

    @property
    def inputs(self) -> np.ndarray:
        """What the numbers are judged by: the test inputs, or without them those of the calibration (N, T, Lx)."""
        if self.data.x is not None:
            return self.x
        return checked_sequences("calibration", self.data.calibration, self.model.input_size)

    @cached_property
    def metric(self) -> Metric | None:
        """What the outputs for the test inputs are judged by; None without labels.

        Raises
        ------
        InputError, ConfigError
            Labels that do not fit the model or the metric that is given, or that leave open which it is.
        """
        data = self.data
        if data.labels is None:
            return None
        given = self._data is None
        subject = f"{self.config.data_path}: {self.config.data.labels}" if given else "labels"
        steps = self.model.arrangement.repeats or data.x.shape[1]
        metric = Metric.of(self.model, data.labels, steps, data.metric, data.threshold, subject)
        if metric.assumption:
            self.note(metric.assumption)
        return metric

    def _steps(self, steps=None, subject="steps"):
        if steps is None:
            return (self.data.x if self.data.x is not None else self.data.calibration).shape[1]
        if not 1 <= steps <= MAX_STEPS:
            raise ConfigError(subject, steps, f"must be between 1 and {MAX_STEPS:,}")
        if rule := self.trained.arrangement.refuses(steps):
            raise ConfigError(subject, steps, rule)
        return steps

    def locked(self) -> AbstractContextManager[None]:
        """In the body of a ``with`` no other process works in the project's folder; the second waits, and says so."""
        waiting = f"{self.folder}: another run is at work here; waiting until it is done"
        return locked(self.folder.with_name(f".{self.folder.name}.lock"), lambda: self.note(waiting))
