"""The numbers of a project: the quantised model, and how far its outputs are from those of the trained one."""

import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, VerificationError
from ..files import whole_folder, write_file, write_json
from ..host.device import ClippedWarning
from ..machine.limits import WEIGHT_WIDTHS
from ..model.budget import error_budget
from ..model.delta import activity, with_thresholds
from ..model.delta_search import Thresholds, search_thresholds
from ..model.error_report import quantization_report
from ..model.precision import Found, search
from ..model.quant_config import USUAL_LOST, QuantConfig
from ..model.quant_layer import LOOKED_UP
from ..model.quant_model import QuantModel
from ..model.quantize import bits_of, quantize
from ..model.reference import checked_sequences, float_reference, integer_reference
from ..model.sparse_h import kept_share, leaving_out, with_sparse_h
from ..plan.sizing import network_of
from ..prune.apply import check_quantized, quantizing
from .given import Given
from .goal import precision_goal, threshold_goal
from .keys import MAX_COUNT

SHOWN = 4
"""Inputs or outputs of small range that are named, at most."""
MOST_TRACED = 64
"""Sequences that the error budget is for, unless one says how many, at most ..."""
TRACED_MACS = 1 << 25
"""... and so many multiply-accumulates of them, each of which is done for every place that rounds."""


class Quantised(Given):
    """A trained model in the number formats of the hardware."""

    @property
    def quantizing(self) -> QuantConfig:
        """How the model is quantised: as configured, and so that pruned weights stay what pruning made of them."""
        return self.config.quantize if self.pruned is None else quantizing(self.config.quantize, self.pruned)

    @cached_property
    def _unpruned(self):
        return float_reference(self.trained, self.inputs)[0]

    @cached_property
    def qmodel(self) -> QuantModel:
        """The quantised model (QuantModel)."""
        _ = self.metric  # labels that say nothing are an error before the long work, not after it
        with self.progress("quantise") as progress:
            qmodel = quantize(self.model, self.data.calibration, self.quantizing, progress, self.format_choices.append)
        if self.pruned is not None:
            check_quantized(qmodel, self.pruned)
        self._note_coarse_inputs(qmodel)
        self._note_coarse_outputs(qmodel)
        if self.config.delta is not None:
            layers = len(qmodel.layers)
            qmodel = with_thresholds(qmodel, self.config.delta.x, self.config.delta.thresholds_of_h(layers))
        if self.config.sparse_h is not None:
            qmodel = self._with_sparse_h(qmodel, self.config.sparse_h)
        return qmodel

    def _with_sparse_h(self, qmodel, section):
        """The model whose layers leave out groups of h, by thresholds or by the share that the calibration set has."""
        if section.left_out is None:
            return with_sparse_h(qmodel, section.thresholds(len(qmodel.layers)))
        with self.progress("sparse h"):
            x = self.data.calibration[:MOST_TRACED]
            return leaving_out(qmodel, qmodel.quantize_input(x), section.left_out)

    @cached_property
    def activity(self) -> tuple[float, ...]:
        """Share of elements that change in a step, of x and of each layer's h, with ``[delta]``; with ``[sparse_h]`` of
        groups of each layer's h that are kept; else empty.

        As the section says, or as :attr:`inputs` have it, up to ``MOST_TRACED`` of them.
        """
        section, layers = self.config.delta or self.config.sparse_h, len(self.qmodel.layers)
        if section is None:
            return ()
        if section.activity is not None:
            return (section.activity,) * (layers + (self.config.delta is not None))
        with self.progress("activity"):
            measure = kept_share if self.config.sparse_h else activity
            return measure(self.qmodel, self.qmodel.quantize_input(self.inputs[:MOST_TRACED]))

    def _note_coarse_inputs(self, qmodel):
        calibration = self.data.calibration
        peaks, bits = (
            np.abs(calibration).max(axis=(0, 1)),
            bits_of(qmodel.scaled_input(calibration)[..., : calibration.shape[-1]], qmodel.input_format),
        )
        way = "scale them to like ranges before training, or in x and W_x"
        self._note_coarse("input", peaks, bits, qmodel.input_format, way)

    def _note_coarse_outputs(self, qmodel):
        head = self.model.head
        if head is None or head.activation in LOOKED_UP:
            return
        reach = np.abs(head.weight).sum(axis=1) * 2.0**qmodel.head.x_format.integer + np.abs(head.bias)
        if head.skip is not None:
            reach += np.abs(head.skip) @ np.abs(self.data.calibration).max(axis=(0, 1))
        way = "scale them to like ranges before training, or by a list in model.output_scale"
        self._note_coarse("output", reach, bits_of(reach[None, None], qmodel.output_format), qmodel.output_format, way)

    def _note_coarse(self, what, peaks, bits, number_format, way):
        """Tell of what is left less than half of the bits of the format that all share."""
        coarse = [
            f"{what} {number} reaches {peaks[number]:g} and has {count}"
            for number, count in enumerate(bits)
            if count is not None and count < number_format.width / 2
        ]
        if coarse:
            more = f", and {len(coarse) - SHOWN} more" if len(coarse) > SHOWN else ""
            self.note(
                f"{what}s of unlike range share {number_format}, {number_format.width} bits: "
                f"{', '.join(coarse[:SHOWN])}{more}; {way}"
            )

    def quantize(self) -> QuantModel:
        """Choose number formats and round the weights.

        Returns
        -------
        QuantModel

        Raises
        ------
        FormatError
            A given format cannot hold the values.
        """
        return self.qmodel

    def predict(self, x: np.ndarray, stored: bool = False) -> np.ndarray:
        """Outputs with the bits of the hardware, by the integer reference.

        Parameters
        ----------
        x : float array (N, T, Lx)
        stored : bool
            Return stored integers of ``qmodel.output_format`` instead of real numbers.

        Returns
        -------
        array
            (N, O), (N, T, O) or (N, T, H), as the model has its head on the last step, on every step or not at all; in
            front of a softmax that ends the model's file, behind which ``model.as_framework`` gives them.

        Warns
        -----
        ClippedWarning
            Inputs are beyond their format.
        """
        x = checked_sequences("x", x, self.model.input_size)
        if beyond := self.qmodel.input_code.beyond(self.qmodel.arrangement.x(x), self.model.input_size):
            warnings.warn(beyond, ClippedWarning, stacklevel=2)
        outputs, _ = integer_reference(self.qmodel, self.qmodel.quantize_input(x))
        return self.qmodel.outputs_of(outputs) if stored else self.qmodel.dequantize_output(outputs)

    def trace(self, x: np.ndarray) -> list[dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Every layer's values in the float model and in the hardware's numbers.

        Parameters
        ----------
        x : float array (N, T, Lx)

        Returns
        -------
        list of dict
            One a layer: ``pre`` (N, T, 4H), ``c`` and ``h`` (N, T, H), each a pair (float, quantised), in real numbers;
            of a plain layer ``h`` alone.
        """
        x = checked_sequences("x", x, self.model.input_size)
        exact, rounded = {}, {}
        float_reference(self.model, x, trace=exact)
        integer_reference(self.qmodel, self.qmodel.quantize_input(x), trace=rounded)
        return [
            {
                name: (exact[number][name], getattr(layer, number_format).to_float(rounded[number][name]))
                for name, number_format in (("pre", "preact"), ("c", "cell"), ("h", "hidden"))
                if name in rounded[number]
            }
            for number, layer in enumerate(self.qmodel.layers)
        ]

    def accuracy(self) -> dict[str, Any] | None:
        """What the labels say of the outputs for the test inputs.

        Returns
        -------
        dict or None
            ``metric``, its name; ``float`` and ``integer``, a share or, by the metric ``error``, a mean distance;
            ``unpruned``, that of the float model before it was pruned, None without pruning; ``sequences``, their
            number. None without labels.
        """
        if self.metric is None:
            return None
        exact, stored = self.outputs
        return {
            "metric": self.metric.name,
            "unpruned": None if self.pruned is None else self.metric.score(self._unpruned),
            "float": self.metric.score(exact),
            "integer": self.metric.score(self.qmodel.dequantize_output(stored)),
            "sequences": len(exact),
        }

    @cached_property
    def _compared(self):
        curves = {}
        with self.progress("evaluate") as progress:
            return *quantization_report(self.model, self.qmodel, self.inputs, progress, curves), curves

    @property
    def outputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Outputs for :attr:`inputs`: those of the float model, and the hardware's as stored integers."""
        return self._compared[1]

    @property
    def numbers(self) -> dict:
        """What became of the numbers for :attr:`inputs`, as :func:`.quantization_report` says."""
        return self._compared[0]

    @property
    def error_curves(self) -> dict[str, dict[int, tuple[np.ndarray, np.ndarray]]]:
        """Errors of every step for :attr:`inputs`: ``pre``, ``c``, ``h`` -> number of a layer -> (largest, RMS)."""
        return self._compared[2]

    def budget(self, images: int | None = None) -> dict[str, Any]:
        """How far the outputs are off when one place alone is rounded; see :func:`~lstm_hw.model.budget.error_budget`.

        Parameters
        ----------
        images : int, optional
            Sequences of :attr:`inputs`, from the first; without it so many that it takes seconds.
        """
        if images is None:
            macs = network_of(self.qmodel, 16).macs(self.inputs.shape[1])
            images = min(MOST_TRACED, max(1, TRACED_MACS // macs))
        elif not 1 <= images <= MAX_COUNT:
            raise ConfigError("images", images, f"must be between 1 and {MAX_COUNT:,}")
        with self.progress("trace") as progress:
            return error_budget(self.model, self.qmodel, self.inputs[:images], progress)

    def write_trace(self, images: int | None = None) -> tuple[Path, dict[str, Any]]:
        """Write ``accuracy/``: where accuracy goes, as ``accuracy.json`` and drawings.

        Returns
        -------
        folder : pathlib.Path
        budget : dict
            Of :meth:`budget`.
        """
        from .plots import draw_budget, draw_histogram

        folder, budget = self.folder / "accuracy", self.budget(images)
        drawings = [draw_budget(budget), draw_histogram(self.numbers["output"]["histogram"])]
        with self.locked(), whole_folder(folder) as new:
            write_json(new / "accuracy.json", {"numbers": self.numbers, "budget": budget})
            for drawing in drawings:
                write_file(new / f"{drawing.name}.svg", drawing.file)
        return folder, budget

    def precision(
        self,
        accuracy: float | None = None,
        max_error: float | None = None,
        samples: int | None = None,
        wider: int = 0,
    ) -> Found:
        """Few weight bits, by matrix, that meet an accuracy or an error; see :func:`~lstm_hw.model.precision.search`.

        Widths go from 4 to ``quantize.weight_bits``; ``quantize.matrix_bits`` is not looked at.

        Parameters
        ----------
        accuracy : float, optional
            Least share of the labels of the test inputs that the outputs agree with, by :attr:`metric`. The choice has
            then seen these labels.
        max_error : float, optional
            Largest error of an output for the calibration set, as a share of the float model's largest one; without
            both ``quantize.max_error``.
        samples : int, optional
            Sequences to measure, from the first; all without it.
        wider : int
            Bits by which matrices may be wider than the narrowest engine's.

        Returns
        -------
        Found

        Raises
        ------
        ConfigError
            Both bounds are given, one is out of range, or no width meets it.
        InputError
            An accuracy without labels, or with labels whose metric gives none.
        """
        if wider not in range(WEIGHT_WIDTHS[-1]):
            raise ConfigError("wider", wider, f"must be between 0 and {WEIGHT_WIDTHS[-1] - 1}")
        goal = precision_goal(self, accuracy, max_error, samples)
        with self.progress("precision") as progress:
            return search(self.model, self.data.calibration, self.quantizing, **goal, wider=wider, progress=progress)

    def thresholds(
        self, loss: float | None = None, max_error: float | None = None, samples: int | None = None
    ) -> Thresholds:
        """Thresholds for ``[delta]``; see :func:`~lstm_hw.model.delta_search.search_thresholds`.

        Those of the configuration are not looked at.

        Parameters
        ----------
        loss : float, optional
            Share of the labels of the test inputs that may be lost against thresholds of 0, by :attr:`metric`. The
            choice has then seen these labels.
        max_error : float, optional
            Instead, the largest error of an output for the calibration set, as a share of the float model's largest.
        samples : int, optional
            Sequences to measure, from the first; all without it.

        Returns
        -------
        Thresholds

        Raises
        ------
        ConfigError
            Neither or both are given, one is out of range, or nothing meets it.
        InputError
            A loss without labels, or with labels whose metric gives no accuracy.
        """
        goal = threshold_goal(self, loss, max_error, samples)
        x = self.x if loss is not None else self.data.calibration
        with self.progress("thresholds") as progress:
            return search_thresholds(self.qmodel, self.qmodel.quantize_input(x[:samples]), **goal, progress=progress)

    def verdict(self) -> dict[str, Any]:
        """Whether the outputs for :attr:`inputs` are near enough to the float model's.

        Returns
        -------
        dict
            ``bound``, the largest share of the float model's largest output that an error may be; ``lost``, the share
            of labels that the float model is right about beyond what the hardware is, where it decides: there are such
            labels and ``quantize.max_error`` is not given; else None; ``within_bound``.
        """
        config, output = self.config.quantize, self.numbers["output"]
        within, lost = output["max"] <= config.error_bound * output["peak"], None
        if config.max_error is None and self.metric is not None and self.metric.is_share:
            found = self.accuracy()
            lost = max(0.0, found["float"] - found["integer"])
            within |= lost <= USUAL_LOST
        return {"bound": config.error_bound, "lost": lost, "within_bound": within}

    def check_error(self) -> None:
        """Refuse numbers whose outputs are too far from the float model's.

        Raises
        ------
        VerificationError
            The largest error is beyond ``quantize.max_error``, or what stands for it; see :meth:`verdict`.
        """
        verdict, output = self.verdict(), self.numbers["output"]
        if not verdict["within_bound"]:
            lost = verdict["lost"]
            raise VerificationError(
                f"{self.config.name}: outputs",
                f"error of {output['max']:.3g} in sequence {output['sequence']}, step {output['step']}, "
                f"where the float model's reach {output['peak']:.3g}"
                + ("" if lost is None else f", and {lost:.1%} of the labels lost"),
                f"must be at most quantize.max_error = {verdict['bound']:g} of that"
                + ("" if lost is None else f", or at most {USUAL_LOST:.0%} of the labels be lost")
                + ": give more bits or other formats, or allow it (a larger max_error, --allow-error)",
            )
