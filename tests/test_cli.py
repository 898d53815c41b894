"""The command line: what it prints, what it writes, and one line for whatever a user can get wrong."""

import json
import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from click.testing import CliRunner

import lstm_hw
from lstm_hw import progress
from lstm_hw.cli import main, steps
from lstm_hw.errors import LstmHwError
from lstm_hw.model.reference import float_reference
from lstm_hw.model.store import write_tensors
from lstm_hw.project import flow
from lstm_hw.project.api import convert
from lstm_hw.project.board import read_inputs
from lstm_hw.project.keys import SECTION_CLASSES
from tests.projects import both_ways, tensors, write_project
from tests.simulators import QUICK


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No lines of progress, however slow the machine is."""
    monkeypatch.setattr(progress, "EVERY", 3600)


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def fails(result):
    """The one line of a refusal."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def test_help_lists_the_verbs_in_the_order_of_the_flow():
    shown = call("--help")
    verbs = re.findall(r"^  (\w+) ", shown.output.split("Commands:")[1], re.MULTILINE)
    assert shown.exit_code == 0
    assert verbs == [
        "quantize",
        "estimate",
        "generate",
        "simulate",
        "report",
        "trace",
        "precision",
        "thresholds",
        "explore",
        "lint",
        "firmware",
        "package",
        "check",
        "driver",
        "run",
        "plan",
        "init",
        "device",
        "selftest",
    ]
    assert [step.name for step in flow.STEPS] == verbs[:5]


@pytest.mark.parametrize("verb", main.commands)
def test_help_has_examples_that_parse(verb):
    shown = call(verb, "--help")
    assert shown.exit_code == 0
    examples = re.findall(r"^    lstm-hw (.*)$", shown.output, re.MULTILINE)
    assert examples
    for example in examples:
        name, *arguments = example.split()
        assert name == verb
        main.commands[name].make_context(name, arguments)


def test_help_of_the_whole_has_examples_that_parse():
    for example in re.findall(r"^    lstm-hw (.*)$|^  lstm-hw (.*)$", call("--help").output, re.MULTILINE):
        name, *arguments = "".join(example).split()
        main.commands[name].make_context(name, arguments)


def test_version():
    assert re.fullmatch(r"lstm-hw \d+\.\d+\.\d+\n", call("--version").output)


def test_driver(tmp_path):
    shown = call("driver", tmp_path / "c")
    assert shown.exit_code == 0
    assert sorted(shown.output.splitlines()) == [f"wrote {path}" for path in sorted((tmp_path / "c").iterdir())]
    assert {"lstm_hw.c", "lstm_hw_registers.h"} < {path.name for path in (tmp_path / "c").iterdir()}
    (tmp_path / "file").touch()
    assert "must be a writable place" in fails(call("driver", tmp_path / "file" / "c"))


def test_no_configuration():
    assert call("run").exit_code == 2


def test_quantize_and_estimate(tmp_path):
    path = write_project(tmp_path, engine={"rows": 8})
    shown = call("quantize", path)
    assert shown.exit_code == 0, shown.output
    assert "layer 0: LSTM 3 -> 4, W_x Q" in shown.output and "accuracy of 5 sequences: float" in shown.output
    assert shown.output.endswith(f"next: lstm-hw estimate {path}\n")
    shown = call("estimate", path, "--steps", 7)
    assert shown.exit_code == 0 and "8 rows x 1 contexts = 8 lanes" in shown.output
    estimate = json.loads((tmp_path / "build" / "tiny" / "estimate.json").read_text())
    assert estimate["steps"] == 7 and f"run of 7 steps: {estimate['run']['cycles']} cycles" in shown.output
    assert listing(tmp_path / "build" / "tiny") == ["estimate.json", "quantized.safetensors", "resolved.toml"]


def test_trace(tmp_path):
    path = write_project(tmp_path, quantize={"weight_bits": 4})
    shown = call("trace", path, "--images", 2)
    assert shown.exit_code == 0, shown.output
    for words in ("layer 0 pre of g", "errors of the outputs, in units of their last bit:", "of 2 sequences when only"):
        assert words in shown.output
    assert re.search(r"^layer 0: W_h  .*-\d+\.\d$", shown.output, re.MULTILINE)
    assert re.search(r"^most is lost in (layer 0: W_[xh]|head: weights)$", shown.output, re.MULTILINE)
    folder = tmp_path / "build" / "tiny" / "accuracy"
    assert listing(folder) == ["accuracy.json", "budget.svg", "histogram.svg"]
    assert f"wrote {folder / 'budget.svg'}" in shown.output


def test_precision(tmp_path):
    path = write_project(tmp_path)
    shown = call("precision", path, "--max-error", 0.01)
    assert shown.exit_code == 0, shown.output
    rows = dict(re.findall(r"^(layer 0  +W_[xh]|head  +W) +\d+ +(\d+)$", shown.output, re.MULTILINE))
    bits = dict(zip(("0.w_x", "0.w_h", "head"), map(int, rows.values()), strict=True))
    assert f"engine: {max(bits.values())}-bit weights. It stores all of them at the widest width" in shown.output
    figure, bound = re.search(r"largest: (\S+)% where (\S+)% is the bound", shown.output).groups()
    assert float(figure) <= float(bound) == 1
    # The section that is printed, put into the project file, gives a model of that error.
    section = tomllib.loads(shown.output[shown.output.index("[quantize]") :])["quantize"]
    assert section["weight_bits"] == max(bits.values()) and section.get("matrix_bits", bits) == bits
    again = convert(write_project(tmp_path, quantize=section))
    assert again.precision(max_error=0.01).uniform == section["weight_bits"]
    x = again.data.calibration
    exact, _ = float_reference(again.model, x)
    error = np.abs(again.predict(x) - exact).max() / np.abs(exact).max()
    assert f"{error:.3%}" == f"{figure}%"


def test_thresholds(tmp_path):
    """The section that is printed is one that a file may have; --loss and --max-error are not for both."""
    path = write_project(tmp_path)
    shown = call("thresholds", path, "--loss", 0.2)
    assert shown.exit_code == 0 and "of the products are left" in shown.output
    section = tomllib.loads("[delta]" + shown.output.partition("[delta]")[2])
    assert set(section["delta"]) == {"x", "h"}
    assert call("thresholds", path).exit_code == 2
    assert "bound of the thresholds: 1e-09; must be at least" in fails(call("thresholds", path, "--max-error", 1e-9))


def test_precision_by_accuracy(tmp_path):
    path = write_project(tmp_path)
    accuracy = convert(path).accuracy()["float"]
    shown = call("precision", path, "--accuracy", accuracy, "--samples", 5)
    assert shown.exit_code == 0, shown.output
    assert f"whose labels this choice has seen: {accuracy:.2%} where {accuracy:.2%} is the bound" in shown.output
    assert call("precision", path, "--accuracy", 0.5, "--max-error", 0.1).exit_code == 2
    assert "bound of the precision: 1e-09; must be at least " in fails(call("precision", path, "--max-error", 1e-9))
    assert "bound of the precision: 1; must be at most " in fails(call("precision", path, "--accuracy", 1))
    unlabelled = write_project(tmp_path, data={"labels": None})
    assert "accuracy: no labels; must have labels" in fails(call("precision", unlabelled, "--accuracy", 0.9))
    narrow = write_project(tmp_path, quantize={"weight_bits": 3})
    assert "quantize.weight_bits: 3; must be at least 4" in fails(call("precision", narrow))


def test_package(tmp_path):
    path, folder = write_project(tmp_path), tmp_path / "ip"
    shown = call("package", path, "-o", folder)
    assert shown.exit_code == 0 and f"wrote {folder / 'component.xml'}" in shown.output
    wanted = {"lstm_engine.v", "component.xml", "package_ip.tcl", "registers.rdl", "registers.h", "tiny.core"}
    assert wanted <= {file.name for file in folder.iterdir()}
    assert call("package", path, "-o", folder).exit_code == 0, "its own folder is replaced"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "work.txt").write_text("mine")
    assert "other: is there and holds something else; must be new" in fails(
        call("package", path, "-o", tmp_path / "other")
    )
    assert (tmp_path / "other" / "work.txt").read_text() == "mine"


def test_check(tmp_path):
    assert "nothing/provenance.json: No such file" in fails(call("check", tmp_path / "nothing"))
    path = write_project(tmp_path)
    assert call("generate", path).exit_code == 0
    folder = tmp_path / "build" / "tiny" / "hardware"
    shown = call("check", folder)
    assert shown.exit_code == 0 and "as it was written: engine 0x" in shown.output
    (folder / "lstm_engine.v").write_text("// another\n")
    assert "lstm_engine.v: another content" in fails(call("check", folder))
    (folder / "lstm_engine.v").unlink()
    assert "lstm_engine.v" in fails(call("check", folder))


def test_run(tmp_path):
    path = write_project(tmp_path)
    shown = call("run", path, "--images", 2)
    assert shown.exit_code == 0, shown.output
    folder = tmp_path / "build" / "tiny"
    assert {step.name for step in flow.STEPS} == set(re.findall(r"^\[\d/5\] (\w+):", shown.output, re.MULTILINE))
    for step in flow.STEPS:
        for artefact in step.artefacts:
            assert (folder / artefact).exists(), artefact
    for wrote in re.findall(r"^wrote (.*)$", shown.output, re.MULTILINE):
        assert (tmp_path / wrote).exists(), wrote
    assert "agree in every output bit of 2 sequences, and estimated and measured counters in every run" in shown.output
    assert re.search(r"^accuracy, Verilog \(2 sequences", shown.output, re.MULTILINE)
    assert re.search(r"^schedule: resident: \d+ cycles a step", shown.output, re.MULTILINE)
    shown = call("report", path)
    assert shown.exit_code == 0 and "agree in every output bit of 2 sequences" in shown.output
    shown = call("simulate", path, "--images", 1, "--stress", 0.3)
    assert shown.exit_code == 0 and "counters not compared" in shown.output
    shown = call("report", path)
    assert "cycles were not compared" in shown.output


def test_lint(tmp_path, monkeypatch):
    path = write_project(tmp_path)
    monkeypatch.setattr("lstm_hw.project.api.lint", lambda files, top: [])
    assert call("lint", path).output.endswith("lstm_engine.v: no warnings\n")
    monkeypatch.setattr("lstm_hw.project.api.lint", lambda files, top: ["%Warning-WIDTH: one", "%Warning-WIDTH: two"])
    shown = call("lint", path)
    assert "%Warning-WIDTH: two" in shown.output
    assert fails(shown).endswith("lstm_engine.v: 2 warnings; must have none")


def broken_project(folder, case):
    """A project with one thing wrong, and what its error line must say."""

    def model_file(change):
        path = write_project(folder)
        file = folder / "model.safetensors"
        change(file)
        return path

    rng = np.random.default_rng(2)
    cases = {
        "no configuration": lambda: (folder / "no.toml", r"no.toml: No such file or directory; must be"),
        "no model": lambda: (model_file(lambda f: f.unlink()), r"model.safetensors: No such file or directory;"),
        "truncated model": lambda: (
            model_file(lambda f: f.write_bytes(f.read_bytes()[:-40])),
            r"model.safetensors: not readable as safetensors .*; must be a whole",
        ),
        "no data": lambda: (write_project(folder, data={"path": "no.npz"}), r"no.npz: No such file or directory; must"),
        "truncated data": lambda: (truncated_data(), r"data.npz: .*; must be a readable npz file"),
        "width of a tensor": lambda: (
            write_project(folder, model=tensors(rng) | {"lstm.weight_hh_l0": np.zeros((16, 5), np.float32)}),
            r"model.safetensors: lstm.weight_hh_l0: shape \(16, 5\); must be \(4H, H\)",
        ),
        "width of the data": lambda: (
            write_project(folder, arrays={"x": np.zeros((5, 3, 4)), "calibration": np.zeros((8, 3, 4)) + 0.5}),
            r"calibration: shape \(8, 3, 4\); must be \(sequences, steps, 3\)",
        ),
        "not finite": lambda: (
            write_project(folder, model=tensors(rng) | {"head.bias": np.full(3, np.nan, np.float32)}),
            r"model.safetensors: head.bias: 3 values NaN or infinite; must be finite",
        ),
        "input format": lambda: (
            write_project(folder, quantize={"input_format": "Q-1.16"}),
            r"quantize.input_format: Q-1.16; must hold the calibration",
        ),
        "output format": lambda: (
            write_project(folder, quantize={"output": "Q-6.21"}),
            r"quantize.output: Q-6.21; must hold",
        ),
        "weight memory": lambda: (
            write_project(folder, engine={"weight_words": 16}, plan={"schedule": "resident"}),
            r"engine.weight_words: 16; must be at least \d+ for this schedule",
        ),
        "h memory": lambda: (
            write_project(folder, engine={"h_elements": 7}, plan={"schedule": "resident"}),
            r"engine.h_elements: 7; must be at least 8 for this schedule",
        ),
        "program memory": lambda: (
            write_project(folder, engine={"program_length": 8}, plan={"schedule": "resident"}),
            r"program: \d+ instructions; must fit the program memory of 8",
        ),
        "unknown key": lambda: (
            write_project(folder, engine={"colour": 1}),
            r"tiny.toml: engine.colour: unknown key; must be one of rows, ",
        ),
    }

    def truncated_data():
        path = write_project(folder)
        (folder / "data.npz").write_bytes((folder / "data.npz").read_bytes()[:-60])
        return path

    return cases[case]()


CASES = (
    "no configuration",
    "no model",
    "truncated model",
    "no data",
    "truncated data",
    "width of a tensor",
    "width of the data",
    "not finite",
    "input format",
    "output format",
    "weight memory",
    "h memory",
    "program memory",
    "unknown key",
)


@pytest.mark.parametrize("case", CASES)
def test_bad_inputs(tmp_path, case):
    path, wanted = broken_project(tmp_path, case)
    before = listing(tmp_path)
    for verb in ("quantize", "estimate", "generate", "run"):
        if verb == "quantize" and case == "program memory":
            continue  # numbers do not depend on it
        line = fails(call(verb, path))
        assert re.search(wanted, line), line
        left = [name for name in listing(tmp_path) if name not in before]
        if case != "program memory":  # what quantize writes is whole then
            assert left == [], verb


def test_unwritable_output(tmp_path):
    (tmp_path / "file").write_text("")
    path = write_project(tmp_path, output={"dir": str(tmp_path / "file")})
    assert re.search(r"file/.*: .*; must be a writable place", fails(call("generate", path)))


def test_errors_stay_on_one_line(tmp_path, monkeypatch):
    def refuse(config):
        raise LstmHwError("a\nb", "c", "d")

    monkeypatch.setattr(steps, "project_of", refuse)
    assert fails(call("quantize", tmp_path)) == "a b: c; d"


def test_plan_of_sizes_leaves_a_project_that_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = ("--inputs", 24, "--hidden", 32, "--steps", 4, "--rows", 16, "--buffer", 96, "--port-bits", 64)
    shown = call("plan", *sizes, "--output", "sketch")
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    table = [line for line in lines if re.search(r" us +\d+ +\d\.\d{3} +\d+\.\d KiB +\d+\.\d% +\d+\.\d$", line)]
    best = table[0].split("  ")[0]
    assert any(line.startswith(f"{best}: ") and "cycles a step" in line for line in lines)
    assert "resident: engine.weight_words: 96; must be at least" in shown.output
    assert "\nnot for a model without thresholds: delta, delta_columns\n" in shown.output
    left_out = re.findall(r"^  (.*?): ", shown.output, re.MULTILINE)
    assert len(left_out) > 2 and len(set(left_out)) == len(left_out)
    assert f"{best.split(',')[0]}: " in shown.output.split("\n\n")[1]  # what it does
    path = tmp_path / "sketch" / "lstm_24_32.toml"
    assert shown.stdout.endswith("wrote sketch/lstm_24_32.toml\nnext: lstm-hw run sketch/lstm_24_32.toml\n")
    again = call("estimate", path)
    assert again.exit_code == 0, again.output
    assert f"\nschedule: {best}: " in again.output
    engine = json.loads((tmp_path / "build" / "lstm_24_32" / "estimate.json").read_text())["plan"]
    assert [tried["schedule"] for tried in engine["tried"]] == [best]


def test_plan_of_a_project_file(tmp_path):
    path = write_project(tmp_path)
    shown = call("plan", path, "--lanes", 16, "--clock", 200)
    assert shown.exit_code == 0, shown.output
    assert re.search(r"^resident +4 +\d+\.\d +0\.\d+ us +0 ", shown.output, re.MULTILINE), shown.output
    assert "must be one of auto, resident" in fails(call("plan", path, "--schedule", "none"))
    assert call("plan").exit_code == 2 and call("plan", path, "--inputs", 3, "--hidden", 4).exit_code == 2
    assert call("plan", "--inputs", 3).exit_code == 2


def test_errors_beyond_the_bound_are_told(tmp_path):
    """Everything is written, the table is marked and the status is 1, unless that is allowed."""
    coarse = {"weight_bits": 3, "fractions": "shared", "rounding": "nearest"}
    path = write_project(tmp_path, quantize={**coarse, "max_error": 0.1})
    shown = call("quantize", path)
    line = fails(shown)
    assert re.match(r"tiny: outputs: error of \S+ in sequence \d, step 2, where .*quantize.max_error = 0.1", line)
    assert re.search(r"layer 0 pre of f +\S+ +\S+ +\d, \d +\d+\.\d{3}%", shown.output)
    assert "weights rounded to zero: " in shown.output
    assert (tmp_path / "build" / "tiny" / "quantized.safetensors").exists()
    assert call("quantize", path, "--allow-error").exit_code == 0
    shown = call("report", path)
    fails(shown)
    assert re.search(r"largest output error \(bound 10 %\) .* TOO LARGE$", shown.output, re.MULTILINE)
    figures = json.loads((tmp_path / "build" / "tiny" / "report" / "report.json").read_text())["numbers"]
    assert not figures["within_bound"] and figures["relative_error"] > 0.1
    assert sum(figures["layers"][0]["zeroed"].values()) > 0
    path = write_project(tmp_path, quantize={**coarse, "max_error": 2.5})
    assert call("quantize", path).exit_code == 0
    assert "TOO LARGE" not in call("report", path).output


@pytest.mark.parametrize("head", ["every_step", "last_step", "final_state"])
def test_init_says_the_outputs_of_a_bidirectional_model(tmp_path, head):
    """Those of the network, where the engine sends two parts that software adds."""
    path = tmp_path / "model.safetensors"
    write_tensors(path, both_ways(np.random.default_rng(1)), {})
    shown = call("init", path, "--head", head, "--output", tmp_path / "model.toml")
    assert f"bidirectional LSTM 3 -> 8, linear head 3 ({head})" in shown.output


def test_init_takes_the_names_of_a_state(tmp_path):
    """That the error about their tensors asks for."""
    path, state = tmp_path / "model.safetensors", {name: np.full((1, 1, 4), 0.5, np.float32) for name in ("h0", "c0")}
    write_tensors(path, tensors(np.random.default_rng(1)) | state, {})
    written = tmp_path / "model.toml"
    assert "model.initial_state names h and c" in fails(call("init", path, "--output", written))
    asked = ("--head", "last_step", "--initial-state", "h0", "--initial-state", "c0")
    assert call("init", path, *asked, "--output", written).exit_code == 0
    assert convert(written).trained.layers[0].initial[1].tolist() == [0.5] * 4
    assert "must be 'zero', or a list of two" in fails(call("init", path, *asked[:4], "--output", written, "--force"))


def test_init_writes_a_project_that_says_what_was_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    shown = call("init", "model.safetensors", "--calibration", "data.npz", "--board", "zc706")
    assert shown.exit_code == 0, shown.output
    assert "LSTM 3 -> 4, linear head 3 (last_step)" in shown.output
    assert "model.head: model.safetensors does not say it" in shown.output
    assert "data.npz: calibration for calibration, x for x, labels for labels" in shown.output
    text = (tmp_path / "model.toml").read_text()
    assert 'path = "model.safetensors"' in text and 'head = "last_step"' in text and 'board = "zc706"' in text
    for section, cls in SECTION_CLASSES.items():
        assert f"[{section}]" in text
        for key in cls.__dataclass_fields__:
            assert re.search(rf"^(# )?{key} =", text, re.MULTILINE), key
    # Sections that do something by being there are comments.
    assert re.search(r"^# \[delta\]", text, re.MULTILINE) and re.search(r"^# \[sparse_h\]", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 120
    assert "model.toml: is there already; must be another file, or --force" in fails(call("init", "model.safetensors"))
    assert call("init", "model.safetensors", "--force").exit_code == 0
    wrong = call("init", "model.safetensors", "--part", "xc9", "--output", "other.toml")
    assert "target.part: 'xc9'; must be one of" in fails(wrong) and not (tmp_path / "other.toml").exists()
    np.savez(tmp_path / "no.npz", a=np.zeros((3, 2, 5)))
    line = fails(call("init", "model.safetensors", "--calibration", "no.npz", "--force"))
    assert line == "no.npz: a (3, 2, 5); must hold an array (sequences, steps, 3) of typical inputs"


def test_init_with_features(tmp_path):
    """The npz file holds what they are of; the project reads them, and says who computes them."""
    write_project(tmp_path)
    model, data, written = tmp_path / "model.safetensors", tmp_path / "iq.npz", tmp_path / "iq.toml"
    x = np.random.default_rng(1).uniform(-1, 1, (4, 3, 2))
    np.savez(data, x=x)
    names = ("x1", "abs(x0, x1)", "sin(x0, x1)^2")
    asked = ["init", model, "--output", written, *(part for name in names for part in ("--feature", name))]
    assert "must be given with --calibration, whose inputs it reads" in fails(call(*asked)) and not written.exists()
    assert "data.features: 2 features; must be the 3 inputs" in fails(call(*asked[:-2], "--calibration", data))
    assert call(*asked, "--calibration", data).exit_code == 0
    notes = []
    project = lstm_hw.convert(written, note=notes.append)
    np.testing.assert_array_equal(project.x, lstm_hw.features(x, names))
    told = "data.features: x1, abs(x0, x1), sin(x0, x1)^2 are computed by the host"
    assert any(note.startswith(told) for note in notes)
    assert any(note.startswith(told) for note in project.assumptions)
    np.testing.assert_array_equal(read_inputs(data, None, "2", names), lstm_hw.features(2 * x, names))
    line = fails(call("init", model, "--calibration", data, "--output", written, "--force"))
    assert line.endswith("must hold an array (sequences, steps, 3) of typical inputs")


def test_a_bare_model_in_one_command_and_run(tmp_path, monkeypatch):
    """Without data: inputs are random, and every result says so."""
    monkeypatch.chdir(tmp_path)
    write_tensors(tmp_path / "my model.safetensors", tensors(np.random.default_rng(1)), {})
    shown = call("init", "my model.safetensors")
    assert "no data: formats are chosen from random inputs" in shown.output
    assert shown.output.endswith("wrote my_model.toml\nnext: lstm-hw run my_model.toml\n")
    text = (tmp_path / "my_model.toml").read_text()
    (tmp_path / "my_model.toml").write_text(
        text.replace("# rows =   ", "rows = 4 #").replace("# synthesis = true", "synthesis = false")
    )
    shown = call("run", "my_model.toml", "--images", 1, "--simulator", QUICK)
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("note: data.random: inputs are random") == 1
    report = json.loads((tmp_path / "build" / "my_model" / "report" / "report.json").read_text())
    assert any("inputs are random" in assumed for assumed in report["model"]["assumptions"])


def test_workers_that_cannot_be_had_are_refused_in_one_line(tmp_path, monkeypatch):
    config = write_project(tmp_path)
    line = fails(call("simulate", config, "--jobs", 2, "--cluster", "tcp://127.0.0.1:8786"))
    assert line == "jobs: 2; must be left out with a cluster, whose workers are counted where they start"
    monkeypatch.setitem(sys.modules, "distributed", None)
    line = fails(call("simulate", config, "--cluster", "tcp://127.0.0.1:8786"))
    assert line.startswith("cluster: dask.distributed is missing") and "pip install 'lstm-hw[cluster]'" in line
    assert call("simulate", config, "--jobs", 0).exit_code == 2


@pytest.mark.parametrize("asked", ["--version", "check nothing --help"])
def test_an_output_that_is_full_is_an_error_in_a_line(asked):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "lstm_hw.cli", *asked.split()]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: output: No space left on device; must be a writable place\n"
