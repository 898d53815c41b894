"""Configuration files: what is read, what is refused and how, and that the resolved file means the same."""

import json
import typing
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, FormatError, LstmHwError
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.formats import QFormat
from lstm_hw.plan.schedules import SCHEDULES
from lstm_hw.project import toml
from lstm_hw.project.api import convert
from lstm_hw.project.keys import SECTION_CLASSES
from lstm_hw.project.keys_page import to_markdown
from lstm_hw.project.settings import ProjectConfig
from lstm_hw.proof.load_timing import MemoryModel
from tests.projects import tensors, write_project

ROOT = Path(__file__).resolve().parents[2]
MODEL = "[model]\npath='m'\n"


def load(folder, text):
    (folder / "p.toml").write_text(text)
    return ProjectConfig.load(folder / "p.toml")


def resolve(original):
    """The project of the resolved file, which resolves to itself, and its text."""
    file = original.write_settings() / "resolved.toml"
    resolved, text = convert(file), file.read_text()
    resolved.write_settings()
    assert file.read_text() == text
    assert (resolved.plan.program, resolved.engine) == (original.plan.program, original.engine)
    return resolved, text


def test_defaults_and_types(tmp_path):
    config = load(
        tmp_path,
        """
        [model]
        path = "m.safetensors"
        [quantize]
        preact = "Q4.11"
        cell = "Q4.11"
        hidden = ["Q-2.17", "Q0.15"]
        matrix_bits = { "0.w_x" = 6, head = 16 }
        [engine]
        shifts = [3, 4]
        hidden = "Q0.15"
        [simulate]
        x_idle = 0
        [data]
        path = "d.npz"
        input_scale = 2
    """,
    )
    assert (config.name, config.model_path, config.build) == ("p", tmp_path / "m.safetensors", Path("build/p"))
    assert config.quantize.preact == QFormat(4, 11)
    assert config.quantize.hidden == (QFormat(-2, 17), QFormat(0, 15))
    assert config.quantize.matrix_bits == {"0.w_x": 6, "head": 16} and hash(config.quantize)
    assert dict(config.engine) == {"shifts": (3, 4), "hidden": QFormat(0, 15)}
    assert type(config.simulate.x_idle) is float and config.data.input_scale == 2.0 and config.data.labels is None
    assert config.simulate.stress.quiet


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("[model", ConfigError, r"p.toml: .*; must be TOML"),
        (
            MODEL + "size=3",
            ConfigError,
            r"p.toml: model.size: unknown key; must be one of path, gate_order, head",
        ),
        (
            MODEL + "head='last'",
            ConfigError,
            r"p.toml: model.head: 'last'; must be one of last_step, every_step, final_state",
        ),
        (
            "[modle]\npath='m'",
            ConfigError,
            r"p.toml: modle: unknown key; must be one of name, model, data, prune, quantize",
        ),
        ("model = 3", ConfigError, r"p.toml: model: 3; must be a section"),
        ("[quantize]", ConfigError, r"p.toml: model: missing; must be a section"),
        ("[model]", ConfigError, r"p.toml: model.path: missing; must be given"),
        (
            MODEL + "[plan]\nschedule='sac'",
            ConfigError,
            r"p.toml: plan.schedule: 'sac'; must be one of auto,",
        ),
        (MODEL + "[plan]\nbatch=0", ConfigError, r"p.toml: plan.batch: 0; must be at least 1"),
        (MODEL + "[plan]\nschedule='sbe'\npinned=[3, -1]", ConfigError, r"pinned: .*; must be at least 0"),
        (MODEL + "[plan]\npinned=[3, 1]", ConfigError, r"plan.pinned: \[3, 1\]; must be one number unless"),
        (MODEL + "[plan]\ncase=4", ConfigError, r"p.toml: plan.case: 4; must be 1, 2 or 3"),
        (
            MODEL + "[plan]\nschedule='sacc'\nwindow=2",
            ConfigError,
            r"p.toml: plan.window: 2; must be for row_window, not sacc",
        ),
        (MODEL + "[target]\npart='xc9'", ConfigError, r"p.toml: target.part: 'xc9'; must be one of xc7z010"),
        (MODEL + "[target]\nboard='b'", ConfigError, r"p.toml: target.board: 'b'; must be one of ulx3s"),
        (
            MODEL + "[target]\nboard='zc706'\npart='xc7z020'",
            ConfigError,
            r"target.part: 'xc7z020'; must not be given beside target.board",
        ),
        (MODEL + "[target]\nlanes=2", ConfigError, r"p.toml: target.lanes: 2; must be at least 4"),
        (MODEL + "[target]\nclock=0", ConfigError, r"p.toml: target.clock: 0.0; must be at least 0.001"),
        (MODEL + "[memory]\nlatency=0", ConfigError, r"p.toml: memory.latency: 0; must be at least 1"),
        (
            MODEL + "[memory]\ninterval=2\nbandwidth=1e9",
            ConfigError,
            r"p.toml: memory.bandwidth: 1000000000.0; must not be given beside memory.interval",
        ),
        (MODEL + "[data]\nx='y'", ConfigError, r"p.toml: data.path: missing; must be given: an npz file"),
        (MODEL + "[data]\npath='d'\nrandom=3", ConfigError, r"data.random: 3; must not be given beside"),
        ("[model]\npath=3", ConfigError, r"p.toml: model.path: 3; must be a string"),
        (MODEL + "[engine]\nrows='32'", ConfigError, r"p.toml: engine.rows: '32'; must be an integer"),
        (MODEL + "[engine]\nrows=true", ConfigError, r"p.toml: engine.rows: True; must be an integer"),
        (MODEL + "[engine]\nrow=3", ConfigError, r"p.toml: engine.row: unknown key; must be one of rows, "),
        (
            MODEL + "[engine]\nshifts=[1.5]",
            ConfigError,
            r"engine.shifts: \[1.5\]; must be a list of integers",
        ),
        (
            MODEL + "[quantize]\nweight_bits=1.0",
            ConfigError,
            r"quantize.weight_bits: 1.0; must be an integer",
        ),
        (MODEL + "[quantize]\nmatrix_bits=6", ConfigError, r"quantize.matrix_bits: 6; must be a table of integers"),
        (
            MODEL + "[quantize]\nmatrix_bits={head=6.5}",
            ConfigError,
            r"quantize.matrix_bits: {'head': 6.5}; must be a table of integers",
        ),
        (
            MODEL + "[quantize]\nweight_bits=8\nmatrix_bits={head=9}",
            ConfigError,
            r"p.toml: quantize.matrix_bits: head: 9; must be an integer from 2 to weight_bits = 8",
        ),
        (MODEL + "[quantize]\nweight_bits=99", ConfigError, r"p.toml: quantize.weight_bits: 99; must be"),
        (MODEL + "[quantize]\npreact='3.12'", FormatError, r"p.toml: quantize.preact: '3.12'; must look like"),
        (MODEL + "[quantize]\ncell=['Q3.12', 'Q3.x']", FormatError, r"p.toml: quantize.cell: 'Q3.x'; must look like"),
        (MODEL + "[engine]\nhidden='Q3'", FormatError, r"p.toml: engine.hidden: 'Q3'; must look like"),
        (MODEL + "[quantize]\npreact=3", ConfigError, r"quantize.preact: 3; must be a number format"),
        (MODEL + "[data]\npath='d'\nimages=0", ConfigError, r"p.toml: data.images: 0; must be at least 1"),
        (MODEL + "[data]\npath='d'\ninput_scale=nan", ConfigError, r"input_scale: nan; must be a number or"),
        (MODEL + "[simulate]\nx_idle=1.0", ConfigError, r"simulate.x_idle: 1.0; must be at"),
        (MODEL + "[simulate]\nsimulator='vcs'", ConfigError, r"'vcs'; must be verilator or icarus"),
        (MODEL + "[simulate]\nimages=0", ConfigError, r"simulate.images: 0; must be at least 1"),
        (MODEL + "[report]\nplots=1", ConfigError, r"report.plots: 1; must be true or false"),
        (MODEL + "[report]\nfamily='x'", ConfigError, r"report.family: 'x'; must be xc7 or ecp5"),
        ("name='../x'\n[model]\npath='m'", ConfigError, r"p.toml: name: '../x'; must be letters"),
        ("name='sim'\n[model]\npath='m'", ConfigError, r"p.toml: name: 'sim'; must be .* none of sim"),
        ("name=3\n[model]\npath='m'", ConfigError, r"p.toml: name: 3; must be a string"),
    ],
)
def test_errors_name_file_key_and_rule(tmp_path, text, error, message):
    with pytest.raises(error, match=message) as caught:
        load(tmp_path, text)
    assert isinstance(caught.value, LstmHwError) and str(tmp_path) in caught.value.subject


NUMERIC = [
    (section, f.name)
    for section, cls in SECTION_CLASSES.items()
    for f in fields(cls)
    if {int, float} & {f.type, *typing.get_args(f.type)}
]


PATTERN = {
    "sparsity": {"pattern": "unstructured"},
    "bank": {"pattern": "bank_balanced", "keep": 1},
    "keep": {"pattern": "bank_balanced", "bank": 4},
    "parts": {"pattern": "column_balanced", "sparsity": 0.5},
    "block": {"pattern": "block_circulant"},
}
"""What else [prune] needs for a key."""


@pytest.mark.parametrize("section, key", NUMERIC)
def test_no_number_is_without_bound(tmp_path, section, key):
    """What is beyond any use is refused at once, or harmless, whichever key it is for."""
    harmless = {("quantize", "max_error"), ("data", "threshold"), ("data", "input_scale"), ("memory", "bandwidth")}
    for value in (10**12, -(10**12), 1e300, -1e300):
        given = {"model": {"path": "m"}, "data": {"path": "d", "labels": "y"}}
        given[section] = given.get(section, {}) | {key: value} | (PATTERN.get(key, {}) if section == "prune" else {})
        if (section, key) in (("data", "random"), ("data", "steps"), ("data", "peak")):
            given["data"] = {"random": 1} | {key: value}
        (tmp_path / "p.toml").write_text(toml.dumps(given))
        try:
            config = ProjectConfig.load(tmp_path / "p.toml")
            EngineConfig(**config.engine)
        except (ConfigError, FormatError) as error:
            assert key in str(error)
        else:
            assert (section, key) in harmless


@pytest.mark.parametrize(
    "text, message",
    [
        ('name="a\\u0000b"', "name: .*; must be printable"),
        (f"name='{'a' * 101}'", "100 at most"),
        ("[quantize]\npreact='Q9999999999.1'", "must look like"),
        ("[memory]\nbandwidth=1e-300", "memory.bandwidth: 1e-300; must be at least"),
    ],
)
def test_odd_values(tmp_path, text, message):
    with pytest.raises((ConfigError, FormatError), match=message):
        load(tmp_path, text + "\n" + MODEL).memory.model(EngineConfig(), 100)


def test_unreadable_files(tmp_path):
    with pytest.raises(ConfigError, match="no.toml: No such file"):
        ProjectConfig.load(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match="a directory; must be a file"):
        ProjectConfig.load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match="must be TOML"):
        ProjectConfig.load(tmp_path / "latin.toml")


def test_a_byte_order_mark_is_no_error(tmp_path):
    (tmp_path / "p.toml").write_bytes(b"\xef\xbb\xbf[model]\r\npath = 'm'\r\n")
    assert ProjectConfig.load(tmp_path / "p.toml").model.path == "m"


def test_what_the_head_reads_is_told_once_and_kept(tmp_path):
    notes = []
    project = convert(write_project(tmp_path, data={"metric": "argmax"}), note=notes.append)
    folder = project.write_settings()
    project.report()
    assert len(notes) == 1 and "taken as 'last_step'" in notes[0]
    assert json.loads((folder / "report" / "report.json").read_text())["model"]["assumptions"] == notes
    assert "Assumed: model.head" in (folder / "report" / "report.md").read_text()
    resolved = convert(folder / "resolved.toml", note=notes.append)
    assert resolved.config.model.head == "last_step" and not resolved.model.assumptions and len(notes) == 1
    every = convert(write_project(tmp_path, sections={"model": {"head": "every_step"}, "data": {"labels": None}}))
    assert every.model.head_every_step and every.predict(every.x).shape == (5, 3, 3)


def test_an_option_that_the_choice_does_not_take_is_told(tmp_path):
    """It was written beside the schedule that auto took, which refuses it."""
    original = convert(write_project(tmp_path, plan={"batch": 2, "window": 1}))
    assert "plan.batch, plan.window not used: not for resident" in original.choice.reason
    resolved, _ = resolve(original)
    assert resolved.config.plan.schedule == "resident" and not resolved.config.plan.options


def test_resolved_file_gives_the_same_project(tmp_path):
    original = convert(write_project(tmp_path, engine={"cells": 2, "outstanding": 3}, quantize={"weight_bits": 8}))
    resolved, text = resolve(original)
    assert resolved.engine.outstanding == 3 and resolved.qmodel.digest() == original.qmodel.digest()
    assert resolved.config.simulate == original.config.simulate and resolved.folder == original.folder
    assert str(tmp_path) not in text.split("[output]")[0]


def test_bandwidth_is_rounded_down_to_whole_cycles_a_beat(tmp_path):
    def memory(text, **engine):
        config = load(tmp_path, MODEL + text)
        return config.memory.model(EngineConfig(**engine), config.target.clock_mhz)

    assert memory("") == MemoryModel(40, 1)
    assert memory("[memory]\nlatency=7\ninterval=3") == MemoryModel(7, 3)
    bandwidth = "[memory]\nbandwidth=8e8\n[target]\nclock="
    assert memory(f"{bandwidth}100", axi_data_bits=64).interval == 1
    assert memory(f"{bandwidth}101", axi_data_bits=64).interval == 2
    assert memory(f"{bandwidth}100", axi_data_bits=128).interval == 2
    assert memory(f"{bandwidth}100", rows=64, axi_data_bits=64, axi_ports=4).interval == 4
    assert memory("[memory]\nbandwidth=1e5\n[target]\nboard='ulx3s'", axi_data_bits=64).interval == 4000


@pytest.mark.parametrize("hidden, outputs", [((14,), 0), ((14, 9), 5)], ids=["layer", "stack with head"])
@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "resident"])
def test_every_schedule_from_a_file_resolves_to_itself(tmp_path, schedule, hidden, outputs):
    rng = np.random.default_rng(3)
    sections = {"plan": {"schedule": schedule}, "data": {"labels": None}, "memory": {"latency": 7}}
    if schedule == "rowblock":
        sections["plan"]["sequences"] = 4
    if SCHEDULES[schedule].planner.asks:
        sections["delta"] = {"x": 0.1, "h": 0.05}
    if schedule == "compressed":
        sections["engine"] = {"decoder": "bitmap", "rows": 8, "axi_data_bits": 64}
    if schedule == "delta_columns":
        hidden = hidden[:1]
    if SCHEDULES[schedule].pruned:
        sections |= {"prune": {"pattern": "bank_balanced", "bank": 8, "keep": 1}, "engine": {"rows": 8}}
        hidden = (16, 16)[: len(hidden)]
    original = convert(write_project(tmp_path, model=tensors(rng, 40, hidden, outputs), steps=8, sections=sections))
    assert original.choice.outcome.name == schedule and original.write_estimate(8).run["cycles"] > 0
    resolved, _ = resolve(original)
    assert resolved.config.plan.schedule == schedule and resolved.config.plan.steps == 8


def test_page_of_keys_is_up_to_date():
    page = ROOT / "docs" / "configuration.md"
    assert page.read_text() == to_markdown(), "run: python -m lstm_hw.project.keys_page > docs/configuration.md"


def test_what_happens_around_the_model(tmp_path):
    """Read, written back and bounded; docs/models.md says what it means."""
    path = tmp_path / "p.toml"
    path.write_text(
        '[model]\npath = "m"\ninput_scale = [1, 0.5]\noutput_offset = 2\nheld = { "1" = 0.25 }\n[data]\npath = "d"\n'
    )
    options = ProjectConfig.load(path).model.options
    assert options.around == {"input_scale": (1.0, 0.5), "output_offset": 2.0, "held": {"1": 0.25}}
    path.write_text(ProjectConfig.load(path).to_toml(tmp_path))
    assert ProjectConfig.load(path).model.options == options
    for held, error in (
        ("3", "must be a table of numbers"),
        ('{ "1" = "a" }', "a table of numbers"),
        ('{ "1" = 1e12 }', "model.held.1"),
    ):
        path.write_text(f'[model]\npath = "m"\nheld = {held}\n[data]\npath = "d"\n')
        with pytest.raises(ConfigError, match=error):
            ProjectConfig.load(path)
