"""Nothing stale: what is kept counts only while all that it follows from is as it was."""

import json
import os
import re
import shutil
import time

import numpy as np
import pytest

import lstm_hw
from lstm_hw import provenance
from lstm_hw.project import designed
from lstm_hw.verify.scenario import Stress
from tests.projects import tensors, write_project


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a project that was simulated."""
    folder = tmp_path_factory.mktemp("project")
    lstm_hw.convert(write_project(folder)).simulate()
    return folder


def opened(folder, arrays=None, **sections):
    """The project of a folder, after some of its files were written again."""
    return lstm_hw.convert(write_project(folder, arrays=arrays, **sections))


def arrays(folder):
    with np.load(folder / "data.npz") as file:
        return dict(file)


@pytest.fixture
def idle(monkeypatch):
    """Nothing may be interpreted or simulated, and no Verilog emitted."""

    def fail(*_, **__):
        pytest.fail("must not run")

    for name in ("lstm_hw.project.simulation.expect", "lstm_hw.project.designed.emitted", "sim.play.play"):
        monkeypatch.setattr(name, fail)


def test_unchanged_is_kept_and_said(folder, idle):
    notes, first = [], opened(folder).measured
    project = lstm_hw.convert(write_project(folder), note=notes.append)
    again = project.simulate()
    assert again.to_dict() == first.to_dict()
    assert re.fullmatch(r"simulation: unchanged since 20\d\d-\d\d-\d\d \d\d:\d\d, kept", notes[-1])
    assert project.report().agreement().startswith("Integer reference, interpreter and Verilog")


@pytest.mark.parametrize(
    "asked",
    [{"force": True}, {"images": 2}, {"simulator": "icarus"}, {"waves": True}, {"stress": Stress(x_idle=0.5)}],
    ids=lambda asked: next(iter(asked)),
)
def test_what_was_not_simulated_is(folder, monkeypatch, asked):
    class Simulates(Exception):
        pass

    def play(*_, **__):
        raise Simulates

    monkeypatch.setattr("sim.play.play", play)
    with pytest.raises(Simulates):
        opened(folder).simulate(**asked)
    assert opened(folder).measured is not None, "a simulation that failed takes nothing away"


def test_labels_alone_are_scored_anew(folder):
    before = opened(folder)
    labels = before.predict(before.x, stored=True).argmax(axis=1)
    for values, share in ((labels, 1.0), ((labels + 1) % 3, 0.0)):
        accuracy = opened(folder, {"labels": values}).report().figures["accuracy"]
        assert accuracy["verilog"] == accuracy["integer_simulated"] == share


def test_reports_own_nothing_of_other_inputs(folder):
    kept = arrays(folder)
    others = {
        "test inputs": {"x": kept["x"][::-1], "labels": kept["labels"]},
        "x": {"x": kept["x"][:2], "labels": kept["labels"][:2]},
        "model": {"calibration": kept["calibration"] * 9},
    }
    for differs, changes in others.items():
        report = opened(folder, changes).report()
        figures = report.figures
        assert figures["simulation"] is None and figures["accuracy"]["verilog"] is None, differs
        assert figures["cycles"]["measured"] is None
        assert re.match(rf"Not simulated: {differs if differs != 'x' else 'test inputs'} changed", report.agreement())
    report = opened(
        folder, {"x": np.concatenate([kept["x"], kept["x"]]), "labels": np.tile(kept["labels"], 2)}
    ).report()
    assert report.figures["simulation"]["sequences"] == 3, "the sequences that were simulated are the same"


@pytest.mark.parametrize(
    "differs, sections",
    [
        ("engine", {"engine": {"rows": 8}}),
        ("model", {"quantize": {"weight_bits": 15}}),
    ],
)
def test_other_settings(folder, differs, sections):
    project = opened(folder, **sections)
    assert project.measured is None and differs in project.unmeasured


@pytest.mark.parametrize("name", ["code", "version", "tool_versions"])
def test_other_versions(folder, monkeypatch, name):
    import sim.runner

    home = sim.runner if name == "tool_versions" else designed
    monkeypatch.setattr(home, name, lambda *_: "another")
    project = opened(folder)
    assert project.measured is None and "changed since the last simulation" in project.unmeasured


def test_the_same_engine_is_not_emitted_again(tmp_path, monkeypatch):
    """Neither test vectors nor weights are in the Verilog: they are written again, and it is kept."""
    kept = lstm_hw.convert(write_project(tmp_path)).verilog.read_bytes()
    image = tmp_path / "build" / "tiny" / "hardware" / "firmware.lstmfw"
    emitted, emit = [], designed.emitted
    monkeypatch.setattr(designed, "emitted", lambda engine: emitted.append(engine) or emit(engine))
    model = tensors(np.random.default_rng(1))
    model["head.bias"] = -model["head.bias"]
    for changes in ({"arrays": {"x": arrays(tmp_path)["x"][::-1]}}, {"model": model}):
        before = image.read_bytes()
        assert opened(tmp_path, **changes).verilog.read_bytes() == kept and image.read_bytes() != before
    assert not emitted
    opened(tmp_path, engine={"rows": 8}).generate()
    assert len(emitted) == 1, "another engine"
    (image.parent / "lstm_engine.v").write_bytes(kept)
    assert opened(tmp_path, engine={"rows": 8}).verilog.read_bytes() != kept, "a file that was changed is none"


def test_files_that_were_changed_do_not_count(tmp_path):
    lstm_hw.convert(write_project(tmp_path)).simulate()
    for name in ("hardware/weights.bin", "simulation/results.json", "simulation/vectors.npz"):
        file = tmp_path / "build" / "tiny" / name
        content = file.read_bytes()
        file.write_bytes(content + b" ")
        project = opened(tmp_path)
        assert project.measured is None and file.name in project.unmeasured, name
        file.write_bytes(content)
        assert opened(tmp_path).measured is not None
    (tmp_path / "build" / "tiny" / "hardware" / "lstm_engine.v").write_text("// another\n")
    assert opened(tmp_path).measured is None
    verilog = opened(tmp_path).verilog
    assert "module lstm_engine(" in verilog.read_text(), "emitted again"
    assert opened(tmp_path).measured is not None, "it is the same Verilog again"
    (tmp_path / "build" / "tiny" / "simulation" / "provenance.json").unlink()
    assert opened(tmp_path).unmeasured.startswith("Not simulated: provenance.json changed")


def test_hostile_results_do_not_count(folder, tmp_path):
    """Whatever lies where results are kept, nothing is taken and nothing waits."""
    shutil.copytree(folder / "build", tmp_path / "build")
    write_project(tmp_path)
    kept = tmp_path / "build" / "tiny" / "simulation" / "results.json"
    content, asked = kept.read_text(), json.loads(kept.read_text())["asked"]
    changes = [{"asked": None}, {"asked": []}, {"outputs": [[1], [1, 2]]}, {"outputs": [["1"]]}, {"counters": {}}]
    changes += [{"asked": asked | {key: value}} for key in asked for value in ("x", -1, None, 10**15)]
    for change in changes:
        kept.write_text(json.dumps(json.loads(content) | change))
        project = opened(tmp_path)
        assert project.measured is None and project.unmeasured, change
    for write in (lambda: os.mkfifo(kept), kept.mkdir, lambda: kept.symlink_to("/dev/zero")):
        shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
        write()
        project = opened(tmp_path)
        assert project.measured is None and "results.json" in project.unmeasured
    kept.unlink()
    kept.write_text(content)
    seal = kept.with_name("provenance.json")
    for text in (
        "",
        "[" * 100_000,
        "{}",
        '{"files": [], "follows_from": {}}',
        '{"files": {"a": 3}, "follows_from": {}}',
    ):
        seal.write_text(text)
        assert opened(tmp_path).measured is None
    seal.unlink()
    os.mkfifo(seal)
    assert opened(tmp_path).measured is None


def test_before_any_simulation(tmp_path):
    project = lstm_hw.convert(write_project(tmp_path))
    assert project.measured is None and project.unmeasured == "Not simulated yet."
    assert not (tmp_path / "build").exists()


def test_kept_folders(tmp_path):
    made = []

    def make(folder):
        made.append(folder)
        (folder / "result").write_text("1")

    def ask(**sources):
        return provenance.kept_folder(tmp_path / "stage", sources, make)

    first = ask(a=b"1", b=[2])
    assert ask(b=[2], a=b"1") == first and (first / "result").read_text() == "1" and len(made) == 1
    assert ask(a=b"1", b=[3]) != first and len(made) == 2
    (first / "result").write_text("2")  # as a broken disk or a person does
    assert ask(a=b"1", b=[2]) == first and (first / "result").read_text() == "1" and len(made) == 3
    (first / "more").write_text("")
    ask(a=b"1", b=[2])
    assert len(made) == 4 and not (first / "more").exists()
    assert json.loads((first / provenance.FILE).read_text())["files"].keys() == {"result"}


def test_the_second_run_in_a_folder_waits_and_says_so(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    path, notes = write_project(tmp_path), []
    first, second = lstm_hw.convert(path), lstm_hw.convert(path, note=notes.append)
    with ThreadPoolExecutor(1) as pool:
        with first.locked():
            waiting = pool.submit(second.write_estimate)
            deadline = time.monotonic() + 60
            while not (notes and "another run" in notes[-1]) and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.2)
            assert not waiting.done() and not (second.folder / "estimate.json").exists()
        waiting.result(60)
    assert notes[-1:] == [f"{second.folder}: another run is at work here; waiting until it is done"]
    assert (second.folder / "estimate.json").exists()
