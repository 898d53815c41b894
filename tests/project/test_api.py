"""The API end to end on tiny random models: numbers, files, the Verilog in a simulator, and what stops it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import lstm_hw
from lstm_hw.errors import ConfigError, FormatError, InputError, ModelError, ProgramError, VerificationError
from lstm_hw.files import write_json
from lstm_hw.host.device import ClippedWarning
from lstm_hw.machine.pack import to_bytes
from lstm_hw.model.both_ways import Part, in_parts
from lstm_hw.model.float_model import DenseWeights
from lstm_hw.model.fold import folded
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.model.reference import float_reference
from lstm_hw.project.figures import figures_of
from lstm_hw.project.settings import ProjectConfig
from lstm_hw.provenance import read_stamped, stamped
from lstm_hw.verify.hardware import Hardware
from lstm_hw.verify.scenario import Stress
from tests.projects import float_model, tensors, write_project
from tests.simulators import QUICK

HARDWARE = {
    "provenance.json",
    "engine.json",
    "firmware.lstmfw",
    "lstm_engine.v",
    "program.json",
    "program.lst",
    "registers.h",
    "registers.json",
    "registers.md",
    "weights.bin",
    "weights.json",
}


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A project whose Verilog has been simulated, and its folder."""
    project = lstm_hw.convert(write_project(tmp_path_factory.mktemp("project")))
    project.simulate()
    return project


def listing(folder):
    return {path.name for path in Path(folder).iterdir()}


def test_exports():
    assert lstm_hw.load is lstm_hw.convert
    assert {"convert", "load_model", "Project", "EngineConfig", "QuantConfig"} <= set(dir(lstm_hw))
    assert all(getattr(lstm_hw, name) for name in lstm_hw.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = lstm_hw.nothing


def test_predict_and_trace_follow_the_float_model(rng):
    model = float_model(rng, hidden=(5, 4))
    x = rng.uniform(-1, 1, (6, 7, 3))
    project = lstm_hw.convert(model, calibration=x)
    exact, _ = float_reference(model, x)
    np.testing.assert_allclose(project.predict(x), exact, atol=2e-3)
    stored = project.predict(x, stored=True)
    assert stored.dtype == np.int64
    np.testing.assert_array_equal(project.qmodel.dequantize_output(stored), project.predict(x))
    with pytest.warns(ClippedWarning, match="^6 of 6 inputs are beyond Q0.15, the format of x: outputs may be wrong"):
        project.predict(np.full((1, 2, 3), 9.0))
    layers = project.trace(x)
    assert [layer["pre"][0].shape for layer in layers] == [(6, 7, 20), (6, 7, 16)]
    for layer in layers:
        for name in ("pre", "c", "h"):
            np.testing.assert_allclose(*layer[name], atol=4e-3)


def test_estimate_needs_no_folder(rng, tmp_path):
    x = rng.uniform(-1, 1, (2, 4, 3))
    project = lstm_hw.convert(float_model(rng), calibration=x, engine={"rows": 8}, output=tmp_path)
    cycles = project.estimate()
    assert cycles.steps == 4 and project.estimate(9).run["cycles"] > cycles.run["cycles"] and not listing(tmp_path)
    assert cycles.products_per_lane_cycle == pytest.approx(cycles.macs / (8 * cycles.run["cycles"]))
    assert cycles.macs == 4 * 16 * (3 + 4) + 3 * 4
    with pytest.raises(ConfigError, match="steps: 0"):
        project.estimate(0)


def test_plan_target_and_memory_as_in_a_file(rng, tmp_path):
    x = rng.uniform(-1, 1, (2, 4, 3))
    given = {"model": float_model(rng), "calibration": x, "output": tmp_path}
    asked = {"plan": {"schedule": "sacc", "batch": 2}, "target": {"lanes": 8, "clock": 50}, "memory": {"latency": 90}}
    config = ProjectConfig.from_dict({"model": {"path": "none"}, **asked}, tmp_path / "tiny.toml")
    project = lstm_hw.convert(given["model"], calibration=x, output=tmp_path, **asked)
    assert (project.plan.schedule, project.plan.batch, project.engine.lanes) == ("sacc", 2, 8)
    cycles = project.estimate()
    assert cycles == lstm_hw.convert(config, **given).estimate()
    quick = lstm_hw.convert(config, memory={}, **given)
    assert quick.estimate().run["cycles"] < cycles.run["cycles"]
    # A section that is given stands for the whole of the other.
    assert quick.config.plan == config.plan and quick.config.memory != config.memory
    assert lstm_hw.convert(config, plan={"schedule": "auto"}, **given).config.plan.batch is None
    assert lstm_hw.convert(config, memory=quick.config.memory, **given).config == quick.config
    for section, wrong in (("plan", {"schedules": "sbe"}), ("plan", {"batch": 0}), ("memory", {"latency": "long"})):
        with pytest.raises(ConfigError, match=f"^{section}.{next(iter(wrong))}: "):
            lstm_hw.convert(config, **given, **{section: wrong})


def test_estimates_of_long_runs(rng, tmp_path):
    """Registers count the test inputs' steps, and a simulation's longer run; an estimate may ask for more of one."""
    x = rng.uniform(-1, 1, (1, 40_000, 3))
    model = float_model(rng, hidden=(64,))
    project = lstm_hw.convert(model, calibration=x[:, :50], engine={"rows": 32}, output=tmp_path)
    assert project.engine.register_bits == 16
    assert project.estimate(40_000).long["cycles"] > 1.9 * project.estimate(40_000).run["cycles"]
    with pytest.raises(ProgramError, match="run: 70000 steps; must be at most 65535; engine.register_bits = 32 counts"):
        project.estimate(70_000)
    project = lstm_hw.convert(model, calibration=x[:, :50], x=x, engine={"rows": 32}, output=tmp_path)
    assert project.engine.register_bits == 32 and project.estimate().steps == 40_000


@pytest.mark.parametrize("file", ["weights.bin", "program.json", "engine.json", "weights.json"])
def test_generated_files_that_were_changed_are_refused(simulated, tmp_path, file):
    folder = shutil.copytree(simulated.folder / "hardware", tmp_path / "hardware")
    assert lstm_hw.load_hardware(folder).config == simulated.engine
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(InputError, match=file):
        lstm_hw.load_hardware(folder)
    with pytest.raises(InputError, match=file):
        Hardware.load(folder)


def test_generated_files(simulated):
    folder = simulated.folder / "hardware"
    assert listing(folder) == HARDWARE
    assert (folder / "weights.bin").read_bytes() == to_bytes(simulated.words, simulated.engine)
    hardware = Hardware.load(folder)
    assert hardware.config == simulated.engine and hardware.image == to_bytes(simulated.words, simulated.engine)
    assert hardware.program.encoded() == simulated.plan.program.encoded() and hardware.layout == simulated.plan.image
    layout = json.loads((folder / "weights.json").read_text())
    assert [tile["word"] for tile in layout["tiles"]] == list(simulated.plan.image.offsets)
    assert json.loads((folder / "registers.json").read_text())["registers"]
    assert QuantModel.load(simulated.folder / "quantized.safetensors").digest() == simulated.qmodel.digest()
    for path in folder.iterdir():
        assert str(folder.parents[2]).encode() not in path.read_bytes(), f"{path.name} holds a path"


@pytest.mark.parametrize("name", ["split", "blocks", "word"])
def test_tiles_that_none_can_be_are_refused(simulated, tmp_path, name):
    folder = shutil.copytree(simulated.folder / "hardware", tmp_path / "hardware")
    layout = read_stamped(folder / "weights.json")
    layout["tiles"][1][name] = 0 if name == "split" else -1
    write_json(folder / "weights.json", stamped(layout))
    with pytest.raises(InputError, match="weights.json: tiles: 1"):
        Hardware.load(folder)


def test_simulation_measures_what_was_estimated(simulated):
    measured = simulated.measured
    np.testing.assert_array_equal(measured.outputs, simulated.predict(simulated.x[:3], stored=True))
    assert measured.cycles_equal and measured.steps == 3
    estimated, found = simulated.estimate(), simulated.cycles_measured(measured)
    assert (found.run, found.long) == (estimated.run, estimated.long)
    assert found.load["read_beats"] == estimated.load["read_beats"] == simulated.plan.image.beats(simulated.engine)


def test_a_new_project_finds_the_last_simulation(simulated):
    again = lstm_hw.convert(simulated.folder / "resolved.toml")
    assert again.measured.to_dict() == simulated.measured.to_dict() and again.unmeasured is None


def test_a_streamed_project_in_verilog(rng, tmp_path):
    """Bits and cycles of a schedule that reads weights from a slow memory in every run, with two activation units."""
    model, memory = tensors(rng, 20, (14, 9), 3), {"latency": 30, "interval": 2}
    plan, units = {"schedule": "sacc", "batch": 1, "pinned": 1}, "plan/taylor(segments=64, order=3)"
    sections = {"plan": plan, "memory": memory, "data": {"labels": None}, "quantize": {"activation": units}}
    project = lstm_hw.convert(write_project(tmp_path, model=model, steps=8, sections=sections))
    assert project.engine.activation == project.qmodel.activation == units
    measured = project.simulate(images=2, simulator=QUICK)
    np.testing.assert_array_equal(measured.outputs, project.predict(project.x[:2], stored=True))
    assert measured.cycles_equal and measured.run == project.estimate().run and measured.run["read_beats"] > 0
    assert measured.load == project.estimate().load
    figures = project.report().figures
    assert figures["schedule"]["choice"]["memory"] == memory and figures["agreement"]["cycles"]


def test_simulation_under_stress(simulated):
    measured = simulated.simulate(images=2, stress=Stress(0.5, 0.5, 0.5, 3, 20))
    assert measured.cycles_equal is None and len(measured.outputs) == 2
    assert measured.load["cycles"] > simulated.estimate().load["cycles"] + 20


def test_wrong_verilog_is_found_and_leaves_nothing(tmp_path):
    project = lstm_hw.convert(write_project(tmp_path))
    project.generate()
    text = project.verilog.read_text()
    # A sum becomes a difference in the lanes.
    wrong, count = re.subn(
        r"(module lstm_engine_engine_lanes_group0\(.*?assign \w+ = \S+) \+ (?=\S+;)",
        r"\1 - ",
        text,
        count=1,
        flags=re.DOTALL,
    )
    assert count == 1
    project.verilog.write_text(wrong)
    with pytest.raises(VerificationError, match="run 1, packet 0, element 0: Verilog gives"):
        project.simulate(simulator=QUICK)
    assert listing(project.folder) == {"hardware", "quantized.safetensors", "resolved.toml"}
    assert project.measured is None


@pytest.mark.icarus
def test_waves(tmp_path):
    project = lstm_hw.convert(write_project(tmp_path))
    measured = project.simulate(images=1, simulator="icarus", waves=True)
    assert measured.waves.parent == project.folder / "simulation" and measured.waves.stat().st_size > 1000
    assert lstm_hw.convert(project.config).simulate(images=1, simulator="icarus").waves == measured.waves


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"accuracy": 0.9, "max_error": 0.1}, ConfigError, "accuracy: 0.9; must not be given beside max_error"),
        ({"accuracy": float("nan")}, ConfigError, "accuracy: nan; must be a share"),
        ({"max_error": float("inf")}, ConfigError, "max_error: inf; must be a number above 0"),
        ({"samples": 0}, ConfigError, "samples: 0; must be between 1"),
        ({"wider": -1}, ConfigError, "wider: -1; must be between 0"),
        (
            {"accuracy": 0.9},
            InputError,
            "accuracy: labels of the metric error; must have labels that are right or wrong",
        ),
    ],
)
def test_precision_refuses(rng, asked, error, message):
    x, labels = rng.uniform(-1, 1, (4, 3, 3)), rng.uniform(-1, 1, (4, 3))
    project = lstm_hw.convert(float_model(rng), calibration=x, x=x, labels=labels, metric="error")
    with pytest.raises(error, match=message):
        project.precision(**asked)


@pytest.mark.icarus
def test_matrices_of_their_own_width_in_verilog(tmp_path):
    """Narrow weights in the words of the widest; the settings that are written give the same model."""
    bits = {"0.w_x": 5, "head": 3}
    project = lstm_hw.convert(write_project(tmp_path, quantize={"weight_bits": 7, "matrix_bits": bits}))
    layer, head = project.qmodel.layers[0], project.qmodel.head
    assert [layer.w_x_format.width, layer.w_h_format.width, head.w_format.width] == [5, 7, 3]
    assert project.engine.weight_bits == 7
    assert project.simulate(images=1, simulator="icarus").cycles_equal
    again = lstm_hw.convert(project.folder / "resolved.toml")
    assert again.qmodel.digest() == project.qmodel.digest()
    loaded = QuantModel.load(project.folder / "quantized.safetensors")
    assert loaded.digest() == project.qmodel.digest()


@pytest.mark.icarus
def test_icarus(simulated):
    measured = simulated.simulate(images=1, simulator="icarus")
    assert measured.simulator == "icarus" and measured.cycles_equal


def test_contexts_without_head(rng, tmp_path):
    x = rng.uniform(-1, 1, (3, 2, 3))
    project = lstm_hw.convert(
        float_model(rng, hidden=(4, 3), outputs=0),
        calibration=x,
        x=x,
        output=tmp_path,
        engine={"rows": 8, "contexts": 2, "cells": 2},
        quantize={"weight_bits": 8},
        name="pair",
    )
    assert project.engine.weight_bits == 8 and project.engine.x_per_beat == 2
    measured = project.simulate(simulator=QUICK)
    assert measured.outputs.shape == (3, 2, 3) and measured.cycles_equal


@pytest.mark.parametrize("scale", [0.5, 3.0], ids=["shift to the right", "shift to the left"])
def test_pairs_of_lanes(rng, tmp_path, scale):
    """8-bit weights and vectors; large weights leave sums with fewer fraction bits than pre-activations have."""
    x = rng.uniform(-1, 1, (4, 3, 5))
    project = lstm_hw.convert(
        float_model(rng, inputs=5, hidden=(7,), scale=scale),
        calibration=x,
        x=x,
        output=tmp_path,
        engine={"rows": 8, "contexts": 2, "cells": 2},
        quantize={"weight_bits": 8, "operand_bits": 8},
        name="pairs",
    )
    assert project.engine.lanes_per_dsp == 2 and project.engine.hidden.width == 8
    assert (project.engine.shifts[0] < 0) == (scale > 1)
    measured = project.simulate(simulator=QUICK)
    assert measured.cycles_equal
    np.testing.assert_array_equal(measured.outputs, project.predict(x, stored=True))


@pytest.mark.parametrize("shape, rule", [((2, 3, 4), "must be"), ((2, 3), "must be"), ((0, 3, 3), "must be")])
def test_inputs_that_do_not_fit(rng, shape, rule):
    project = lstm_hw.convert(float_model(rng), calibration=rng.uniform(-1, 1, (2, 4, 3)))
    with pytest.raises(InputError, match=rule):
        project.predict(np.zeros(shape))


def test_missing_inputs(rng):
    project = lstm_hw.convert(float_model(rng))
    with pytest.raises(InputError, match="calibration: not given"):
        project.quantize()
    project = lstm_hw.convert(float_model(rng), calibration=np.ones((1, 2, 3)))
    with pytest.raises(InputError, match="x: no test inputs"):
        project.simulate()
    assert project.accuracy() is None


@pytest.mark.parametrize(
    "engine, message",
    [
        ({"weight_bits": 8}, "engine.weight_bits: 8; must be 16"),
        ({"weight_bits": 12}, "engine.weight_bits: 12; must be 16"),
        ({"preact": lstm_hw.QFormat(4, 11)}, "engine.preact: Q4.11; must be Q.*, as the model was quantised"),
        ({"weight_words": 2}, "engine.weight_words: 2; must be at least"),
        ({"nothing": 1}, "engine.nothing: unknown key"),
    ],
)
def test_engines_that_do_not_fit(rng, engine, message):
    project = lstm_hw.convert(float_model(rng), calibration=rng.uniform(-1, 1, (2, 4, 3)), engine={"rows": 4, **engine})
    with pytest.raises(ConfigError, match=message):
        project.estimate()


def test_formats_that_cannot_hold(rng):
    project = lstm_hw.convert(float_model(rng), calibration=np.full((1, 2, 3), 3.0), quantize={"input_format": "Q0.15"})
    with pytest.raises(FormatError, match="quantize.input_format: Q0.15; must hold the calibration"):
        project.quantize()


def test_steps_of_models_that_need_so_many(rng):
    """Of RepeatVector(40): test vectors have them, and what has others is refused with its name."""
    (lstm, again), head = float_model(rng, 3, (4, 4), 2).layers, DenseWeights(np.ones((2, 4)), np.zeros(2))
    model = in_parts([Part([lstm]), Part([again], repeats=True)], [head], "every_step", 40, 40)
    arrays = {"calibration": rng.uniform(-1, 1, (2, 40, 3)), "x": rng.uniform(-1, 1, (2, 40, 3))}
    project = lstm_hw.convert(model, **arrays)
    assert project.firmware.vectors.x.shape == (2, 40, 3)
    for name, values in arrays.items():
        with pytest.raises(InputError, match=rf"^{name}: shape \(2, 8, 3\); must have 40 steps, as the model repeats"):
            _ = lstm_hw.convert(model, **arrays | {name: values[:, :8]}).data
    with pytest.raises(ConfigError, match="^steps: 41; must have 40 steps"):
        project.estimate(41)
    with pytest.raises(ConfigError, match="^plan.steps: 8; must have 40 steps"):
        _ = lstm_hw.convert(model, **arrays, plan={"steps": 8}).plan


def test_labels_of_other_steps_than_those_of_x(rng):
    """Of RepeatVector(3): a label for each step of the outputs, however many x has."""
    (lstm, again), head = float_model(rng, 3, (4, 4), 2).layers, DenseWeights(rng.normal(size=(2, 4)), np.zeros(2))
    model, x = (
        in_parts([Part([lstm]), Part([again], repeats=True)], [head], "every_step", repeats=3),
        np.ones((4, 6, 3)),
    )
    x = x * rng.uniform(-1, 1, x.shape)
    labels = float_reference(model, x)[0].argmax(axis=2)
    project = lstm_hw.convert(model, calibration=x, x=x, labels=labels, engine={"rows": 4})
    assert labels.shape == (4, 3) and project.accuracy()["float"] == 1.0
    assert project.outputs[1].shape == (4, 3, 2) and project.numbers["output"]["step"] < 3
    assert [layer["vectors"] for layer in figures_of(project)[0]["layers"]] == [6, 3, 3]
    last = in_parts([Part([lstm]), Part([again], repeats=True)], [head], "last_step", repeats=3)
    project = lstm_hw.convert(last, calibration=x, x=x, labels=labels[:, 2], engine={"rows": 4})
    assert project.accuracy()["float"] == 1.0 and project.numbers["output"]["step"] == 2
    with pytest.raises(InputError, match=r"labels: shape \(4, 6\); must be \(4,\) or \(4, 3\)"):
        _ = lstm_hw.convert(model, calibration=x, x=x, labels=np.zeros((4, 6), int)).metric


def test_unknown_schedule(tmp_path):
    with pytest.raises(ConfigError, match="plan.schedule: 'magic'; must be one of auto, resident"):
        lstm_hw.convert(write_project(tmp_path, plan={"schedule": "magic"})).estimate()


def test_gate_order(rng, tmp_path):
    """A file with its gates in another order gives the same model, if the configuration says so."""
    model = tensors(rng)
    shuffled = {
        name: values.reshape(4, -1)[[2, 0, 3, 1]].reshape(values.shape) if "lstm" in name else values
        for name, values in model.items()
    }
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    one = lstm_hw.convert(write_project(tmp_path / "a", model=model))
    other = lstm_hw.convert(write_project(tmp_path / "b", model=shuffled))
    assert one.qmodel.digest() != other.qmodel.digest()
    path = write_project(tmp_path / "c", model=shuffled)
    path.write_text(path.read_text().replace("[model]\n", '[model]\ngate_order = "giof"\n'))
    assert lstm_hw.convert(path).qmodel.digest() == one.qmodel.digest()
    path = write_project(tmp_path / "c", model=shuffled, metadata={"gate_order": "ifgo"})
    path.write_text(path.read_text().replace("[model]\n", '[model]\ngate_order = "giof"\n'))
    with pytest.raises(ModelError, match="metadata gate_order: 'ifgo'; must be 'giof', as was given"):
        lstm_hw.convert(path).quantize()


def test_input_scale(rng, tmp_path):
    x = rng.integers(0, 17, (4, 3, 3)).astype(np.uint8)
    arrays = {"x": x, "calibration": x, "scale": np.float64(1 / 16)}
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    by_name = lstm_hw.convert(write_project(tmp_path / "a", arrays=arrays, sequences=4, data={"input_scale": "scale"}))
    by_number = lstm_hw.convert(
        write_project(tmp_path / "b", arrays=arrays, sequences=4, data={"input_scale": 0.0625, "images": 3})
    )
    np.testing.assert_array_equal(by_name.x, x / 16)
    np.testing.assert_array_equal(by_number.x, x[:3] / 16)
    with pytest.raises(InputError, match="data.npz: x: shape .*; must be one finite number"):
        _ = lstm_hw.convert(write_project(tmp_path / "a", arrays=arrays, sequences=4, data={"input_scale": "x"})).data


INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@pytest.mark.parametrize("stored", [*INTEGERS, "float16", "float32", ">i2"])
@pytest.mark.parametrize("scale", [np.int8(3), np.uint8(200), np.int16(-7), np.uint64(90), np.float16(0.3), 5.0])
def test_products_of_inputs_and_scale_are_real_numbers(tmp_path, stored, scale):
    """Whatever types x and its scale are stored in, the inputs are those of float64."""
    x = np.random.default_rng(2).integers(0, 121, (4, 3, 3)).astype(stored)
    arrays, factor = {"x": x, "calibration": x, "scale": np.asarray(scale)}, float(scale)
    given = factor if isinstance(scale, float) else "scale"
    project = lstm_hw.convert(write_project(tmp_path, arrays=arrays, sequences=4, data={"input_scale": given}))
    expected = x.astype(np.float64) * factor
    np.testing.assert_array_equal(project.x, expected)
    np.testing.assert_array_equal(project.data.calibration, expected)


@pytest.mark.parametrize("stored", INTEGERS)
def test_integer_arrays_are_numbers(rng, stored):
    """Arrays given to the API: what the formats, the predictions and the traces are does not depend on their type."""
    x, model = rng.integers(0, 121, (4, 3, 3)).astype(stored), float_model(rng)
    one, other = (lstm_hw.convert(model, calibration=a, x=a) for a in (x, x.astype(np.float64)))
    assert one.qmodel.digest() == other.qmodel.digest()
    np.testing.assert_array_equal(one.outputs, other.outputs)
    np.testing.assert_array_equal(one.predict(x), other.predict(x.astype(np.float64)))
    np.testing.assert_array_equal(one.trace(x)[0]["c"], other.trace(x.astype(np.float64))[0]["c"])


def test_inputs_of_unlike_range_are_told(rng):
    """10,000 : 1 leaves the small one 3 of 16 bits; inputs that are always 0, and like ranges, are no matter."""
    small = {"scale_inputs": False}
    scales, notes = np.array([10000.0, 1.0, 0.0]), []
    x = np.where(rng.random((4, 3, 3)) < 0.5, 1.0, -1.0) * scales
    lstm_hw.convert(float_model(rng), calibration=x, quantize=small, note=notes.append).quantize()
    (note,) = notes
    assert note.startswith("inputs of unlike range share Q14.1, 16 bits: input 1 reaches 1 and has 3; scale them")
    lstm_hw.convert(float_model(rng), calibration=x / [100, 1, 1], note=notes.append).quantize()
    assert len(notes) == 1


def test_outputs_of_unlike_range_are_told(rng):
    """What no h can bring to more than a few bits of the format that the outputs share."""
    model, notes, x = float_model(rng), [], rng.uniform(-1, 1, (4, 3, 3))
    scaled = folded(model, output_scale=(1e-6, *[1000.0] * (model.output_size - 1)))
    lstm_hw.convert(scaled, calibration=x, note=notes.append).quantize()
    (note,) = notes
    assert re.match(
        r"outputs of unlike range share Q\d+\.\d+, 16 bits: output 0 reaches \S+e-06 and has 1; scale", note
    )
    lstm_hw.convert(model, calibration=x, note=notes.append).quantize()
    assert len(notes) == 1


def test_register_map_of_an_engine_that_counts(tmp_path):
    """The files beside the Verilog list the registers that the engine has."""
    for counts in (False, True):
        files = lstm_hw.load(write_project(tmp_path), engine={"count_clipped": counts}).files
        assert ("CLIPPED_PREACT_OFFSET" in files["registers.h"]) == counts
        assert ('"CLIPPED_PREACT"' in files["registers.json"]) == counts
