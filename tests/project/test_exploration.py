"""Exploring a project: the front, its files, a project file of any point, and what cannot be."""

import csv
import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner

from lstm_hw.cli import main
from lstm_hw.errors import ConfigError, InputError
from lstm_hw.explore.space import Space
from lstm_hw.project.api import convert
from lstm_hw.project.exploration import front
from lstm_hw.project.exploration.front import Exploration
from lstm_hw.project.exploration.wanted import Wanted, asked_parts, choices_tried, wanted
from lstm_hw.project.quantity import quantity
from tests.projects import tensors, write_project
from tests.simulators import QUICK

SMALL = {"weight_bits": (8,), "space": Space(rows=(4, 16), cells=(1, 2), weight_words=(20,), axi_data_bits=(64,))}


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """A tiny project with its exploration on two parts, written."""
    folder = tmp_path_factory.mktemp("explored")
    path = write_project(folder, simulate={"images": 2})
    project = convert(path)
    found = project.explore(Wanted(parts=("xc7z020", "ulx3s"), **SMALL))
    found.write(project.folder / "explore")
    return path, project, found


def test_front_of_each_part(explored):
    _, _, found = explored
    assert {point["part"] for point in found.points} == {"xc7z020", "ulx3s"}
    for part in ("xc7z020", "ulx3s"):
        points = [point["figures"] for point in found.points if point["part"] == part]
        assert len(points) >= 2 and [p["latency"] for p in points] == sorted(p["latency"] for p in points)
        for one in points:
            assert not any(
                all(other[n] <= one[n] for n in ("latency", "area", "energy"))
                and other["accuracy"] >= one["accuracy"]
                and other is not one
                for other in points
            )
    assert [point["number"] for point in found.points] == list(range(1, len(found.points) + 1))
    clocks = {point["part"]: point["clock_mhz"] for point in found.points}
    assert clocks == {"xc7z020": 100.0, "ulx3s": 50.0}


def test_table_and_files(explored):
    _, project, found = explored
    lines = found.lines()
    assert lines[0].startswith("point  part     engine") and "latency (µs)" in lines[0]
    assert any(line.startswith("as is") for line in lines) and any("shapes:" in line for line in lines)
    folder = project.folder / "explore"
    values = json.loads((folder / "explore.json").read_text())
    assert [p["number"] for p in values["points"]] == [p["number"] for p in found.points]
    rows = list(csv.DictReader((folder / "explore.csv").read_text().splitlines()))
    assert len(rows) == len(found.points)
    (head,) = csv.reader([(folder / "explore.csv").read_text().splitlines()[0]])
    assert len(set(head)) == len(head) and {"lut", "lut_count", "bram36_count"} <= set(head)
    for row, point in zip(rows, found.points, strict=True):
        assert (
            float(row["latency"]) == point["figures"]["latency"] and int(row["cycles"]) == point["counters"]["cycles"]
        )
    assert Exploration.read(project).points == json.loads(json.dumps(found.points))


def test_what_a_point_assumes_is_told_once(explored):
    path, _, found = explored
    project, told = convert(path), []
    project.note = told.append
    assert found.project_of(project, 1).metric == project.metric
    assert told.count(project.metric.assumption) == 1 and len(set(told)) == len(told)


def test_two_runs_in_one_folder_write_one_after_the_other(explored, tmp_path, monkeypatch):
    _, _, found = explored
    make, begun = front.as_html, []
    with ThreadPoolExecutor(1) as pool:

        def slow(values):
            if not begun:
                begun.append(pool.submit(found.write, tmp_path / "explore"))
                time.sleep(0.3)
                assert not begun[0].done()
            return make(values)

        monkeypatch.setattr(front, "as_html", slow)
        folder = found.write(tmp_path / "explore")
        begun[0].result(60)
    assert sorted(path.name for path in folder.iterdir()) == sorted(front.FILES)


def test_the_same_to_the_byte_whatever_the_number_of_workers(explored, tmp_path):
    path, project, found = explored
    again = convert(path, output=tmp_path).explore(Wanted(parts=("xc7z020", "ulx3s"), **SMALL), jobs=2)
    again.write(tmp_path / "again")
    for file in sorted((tmp_path / "again").iterdir()):
        assert file.read_bytes() == (project.folder / "explore" / file.name).read_bytes()


def test_what_was_computed_is_kept(explored, monkeypatch):
    """Another exploration of the same engines computes none of them again."""
    path, _, found = explored

    def none(*args):
        raise AssertionError("computed again")

    monkeypatch.setattr("lstm_hw.campaign.pools.perform", none)
    assert convert(path).explore(Wanted(parts=("xc7z020", "ulx3s"), **SMALL)).points == found.points


def test_a_model_that_is_no_file(explored):
    """A project of arrays explores as one of files."""
    _, project, found = explored
    data = project.data
    made = convert(project.trained, calibration=data.calibration, x=data.x, labels=data.labels, output=project.folder)
    again = made.explore(Wanted(parts=("xc7z020", "ulx3s"), **SMALL))
    assert again.points == found.points


def test_a_point_becomes_verified_verilog(explored, tmp_path):
    """The project file of a point runs to Verilog that takes the cycles that were promised."""
    path, _, found = explored
    output = tmp_path / "mine" / "chosen.toml"
    point = next(p for p in found.points if p["part"] == "xc7z020" and p["schedule"] == "resident")
    result = CliRunner().invoke(main, ["explore", str(path), "--point", str(point["number"]), "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == f"next: lstm-hw run {output}"
    again = ["explore", str(path), "--point", str(point["number"]), "--output", str(output)]
    assert "is there already" in CliRunner().invoke(main, again).stderr
    assert CliRunner().invoke(main, [*again, "--force"]).exit_code == 0
    assert "with --latency first" in CliRunner().invoke(main, [*again, "--latency", "1ms"]).stderr
    made = convert(output)
    assert made.config.name == "chosen" and made.engine.to_dict() == point["engine"]
    measured = made.simulate(simulator=QUICK)
    assert measured.run["cycles"] == point["counters"]["cycles"] and measured.cycles_equal
    assert made.accuracy()["integer"] == point["figures"]["accuracy"]


def test_every_point_can_be_had(explored):
    """Engine, schedule and cycles of all points are those of the projects that they become; or an error says not."""
    _, project, found = explored
    for point in found.points:
        found.project_of(project, point["number"])


@pytest.mark.parametrize(
    ("section", "schedule"),
    [
        ({"delta": {"x": 0.05, "h": 0.05}}, "delta"),
        ({"prune": {"pattern": "row_balanced", "sparsity": 0.5}}, "gather"),
        ({"sparse_h": {"threshold": 0.1}}, "compressed"),
    ],
)
def test_sparse_models(tmp_path, section, schedule):
    """Thresholds and pruning are the configuration's: schedules for them are tried, and their engines can be had."""
    model = tensors(np.random.default_rng(1), 8, (16,))
    project = convert(write_project(tmp_path, model=model, **section))
    found = project.explore(Wanted(parts=("xc7z020",), weight_bits=(8,), space=Space((schedule,), rows=(4, 16))))
    assert {point["schedule"] for point in found.points} == {schedule}
    for point in found.points:
        found.project_of(project, point["number"])
    with pytest.raises(ConfigError, match="no schedule to try"):
        project.explore(Wanted(parts=("xc7z020",), weight_bits=(8,), space=Space(("rowblock",))))


def test_activations_and_shares_that_are_pruned(tmp_path):
    """Each choice has its own accuracy and engines, and a point is of the one that it says."""
    model = tensors(np.random.default_rng(1), 8, (16,))
    project = convert(write_project(tmp_path, model=model, prune={"pattern": "row_balanced", "sparsity": 0.25}))
    few = {"weight_bits": (16,), "operand_bits": (16,), "schedule": "resident,gather", "rows": (4,), "cells": (1,)}
    asked = {"activation": "pwl,quadratic64", "sparsity": (0.0, 0.75), "parts": ("xc7z020",), **few}
    found = project.explore(wanted(objective="latency,lut,dsp,accuracy", **asked))
    kinds = {(point["activation"], point["schedule"]) for point in found.points}
    assert {("pwl", "resident"), ("quadratic64", "resident"), ("pwl", "gather")} <= kinds
    for point in found.points:
        assert point["described"].startswith(f"w16 x16, {point['activation']}, {point['sparsity']:.0%} pruned, ")
        made = found.project_of(project, point["number"])
        assert made.config.quantize.activation == point["activation"] == made.engine.activation
        assert (made.pruned is None) == (point["sparsity"] == 0) and (made.pruned is None) <= (
            point["schedule"] != "gather"
        )
        assert made.accuracy()["integer"] == point["figures"]["accuracy"]
    with pytest.raises(InputError, match="sparsity: error as objective or limit; must be judged by accuracy"):
        project.explore(wanted(objective="latency,error", **asked))
    with pytest.raises(ConfigError, match="activation: 'steep'"):
        wanted(activation="steep")
    with pytest.raises(ConfigError, match="sparsity: 1.0; must be at least 0 and below 1"):
        wanted(sparsity=(1.0,))
    with pytest.raises(ConfigError, match="^prune.sparsity: 0.5; must be for unstructured"):
        convert(write_project(tmp_path)).explore(wanted(sparsity=(0.5,), parts=("xc7z020",)))


def test_patterns_of_pruning(tmp_path):
    """All with all shares that they take, and the model as trained once; a pattern without its number is named."""
    model = tensors(np.random.default_rng(1), 8, (16,))
    project = convert(write_project(tmp_path, model=model))
    asked = {"pattern": "dense,row_balanced,2:4", "sparsity": (0.0, 0.75), "parts": ("xc7z020",)}
    few = {"weight_bits": (16,), "operand_bits": (16,), "schedule": "resident,gather", "rows": (4,), "cells": (1,)}
    made = choices_tried(project, wanted(**asked, **few))
    assert [(one.pattern, one.sparsity) for one in made] == [(None, 0.0), ("row_balanced", 0.75), ("2:4", None)]
    found = project.explore(wanted(objective="latency,lut,accuracy", **asked, **few))
    kinds = {(point["pattern"], point["schedule"]) for point in found.points}
    assert {("row_balanced", "gather"), ("2:4", "gather")} & kinds
    for point in found.points:
        prune = found.project_of(project, point["number"]).config.prune
        assert (prune.pattern, prune.sparsity) == (point["pattern"] or "dense", point["sparsity"] or None)
    with pytest.raises(ConfigError, match="^prune.parts: missing; must be given for load_balanced"):
        project.explore(wanted(pattern="load_balanced", sparsity=(0.5,), parts=("xc7z020",)))
    with pytest.raises(ConfigError, match="^prune.sparsity: missing; must be given for row_balanced"):
        project.explore(wanted(pattern="row_balanced", parts=("xc7z020",)))
    with pytest.raises(ConfigError, match="^prune.pattern: 'odd'; must be one of"):
        project.explore(wanted(pattern="odd", parts=("xc7z020",)))
    with pytest.raises(InputError, match="^pattern: error as objective or limit"):
        project.explore(wanted(pattern="2:4", objective="latency,error", parts=("xc7z020",)))


def test_thresholds_of_changes(tmp_path):
    """A dense model and delta networks side by side, each with the cycles and the accuracy of its own."""
    project = convert(write_project(tmp_path, model=tensors(np.random.default_rng(1), 8, (16,))))
    few = {"weight_bits": (8,), "rows": (4,), "cells": (1,), "parts": ("xc7z020",)}
    found = project.explore(wanted(objective="latency,error", delta_h=(0.0, 0.3), delta_x=(0.0, 0.1), **few))
    made = {(point["delta_x"], point["delta_h"]): point for point in found.points}
    assert (0.1, 0.3) in made and (0.0, 0.0) in made
    assert sum("of x and" in note and "are taken to change" in note for note in found.values["notes"]) == 3
    for (x, h), point in made.items():
        delta = found.project_of(project, point["number"]).config.delta
        assert (delta is None) == (x == h == 0) == (point["schedule"] == "resident")
        assert delta is None or (delta.x, delta.h) == (x, h)
        assert f"delta x {x:g} h {h:g}" in point["described"]
    with pytest.raises(ConfigError, match="^delta.h: -1.0; must be at least 0"):
        project.explore(wanted(delta_h=(-1.0,), **few))


def test_what_streams_is_told_where_all_weights_stay(tmp_path):
    """Schedules that nobody tried are named, with what tries them."""
    project = convert(write_project(tmp_path))
    few = {"parts": ("xc7z020",), "weight_bits": (8,), "rows": (16,), "cells": (1,)}
    (line,) = [one for one in project.explore(wanted(**few)).lines() if one.endswith("tries them")]
    assert line.startswith("sbe, conventional, ") and "on 16 rows and more, where a buffer of 1,024 words" in line
    streamed = project.explore(wanted(schedule="conventional", **few))
    assert {point["schedule"] for point in streamed.points} == {"conventional"}
    assert not any(one.endswith("tries them") for one in streamed.lines())


def test_errors_that_nobody_takes(tmp_path):
    """Numbers of which a run would end in an error are no points, unless a limit says what is near enough."""
    few = {"parts": ("xc7z020",), "weight_bits": (16, 4), "operand_bits": (16,), "rows": (4,), "cells": (5,)}
    project = convert(write_project(tmp_path, quantize={"max_error": 0.01}))
    found = project.explore(wanted(schedule="resident", **few))
    assert {point["weight_bits"] for point in found.points} == {16}
    assert any("parallel cell" in point["described"] for point in found.points)
    (told,) = [line for line in found.lines() if line.startswith("w4 x16: ")]
    assert told.endswith("beyond quantize.max_error = 0.01 of that")
    assert any("are not explored; --max-error or --accuracy says what is" in line for line in found.lines())
    found = project.explore(wanted(schedule="resident", objective="energy,error", error=0.5, **few))
    rough = next(point for point in found.points if point["weight_bits"] == 4)
    found.project_of(project, rough["number"]).check_error()
    found = project.explore(wanted(schedule="resident", accuracy=0.01, **few))
    assert any("goes on with --allow-error" in line for line in found.lines())
    strict = convert(write_project(tmp_path, quantize={"max_error": 1e-6}))
    with pytest.raises(ConfigError, match="^explore: w16 x16: error of .* of that; .*; must be number formats"):
        strict.explore(wanted(schedule="resident", **few))


@pytest.mark.parametrize(
    ("limits", "lacks"),
    [
        ({"latency": 1e-9}, "comes nearest: latency"),
        ({"power": 1e-12}, "comes nearest: power"),
        ({"rate": 1e12}, "comes nearest: rate"),
        ({"error": 1e-9}, "comes nearest: error"),
        ({"latency": 1e-9, "accuracy": 1.0}, "accuracy"),
    ],
)
def test_limits_that_cannot_be_met(explored, limits, lacks):
    _, project, _ = explored
    with pytest.raises(ConfigError, match="no engine within the limits") as caught:
        project.explore(Wanted(parts=("xc7z020",), limits=limits, **SMALL))
    assert lacks in str(caught.value) and "lanes" in str(caught.value)


def test_limits_are_kept(explored):
    _, project, found = explored
    middle = sorted(p["figures"]["latency"] for p in found.points if p["part"] == "xc7z020")[1]
    some = project.explore(Wanted(parts=("xc7z020",), limits={"latency": middle / 1e6}, **SMALL))
    assert some.points and all(p["figures"]["latency"] <= middle for p in some.points)


def test_what_cannot_be(explored, tmp_path):
    path, project, _ = explored
    with pytest.raises(ConfigError, match="did you mean xc7z020"):
        project.explore(Wanted(parts=("xc7z02",)))
    with pytest.raises(ConfigError, match="must be one of the parts xc7z010"):
        project.explore(Wanted(parts=("stratix",)))
    with pytest.raises(ConfigError, match="must be given"):
        project.explore(Wanted())
    with pytest.raises(ConfigError, match="ice40up5k, with"):
        project.explore(Wanted(parts=("ice40up5k",)))
    with pytest.raises(ConfigError, match="objective: 'speed'; must be of latency"):
        wanted(objective="latency,speed")
    with pytest.raises(ConfigError, match="schedule: 'fast'"):
        wanted(schedule="fast")
    with pytest.raises(ConfigError, match="engine.rows: 5"):
        wanted(rows=(5,))
    with pytest.raises(ConfigError, match="budget: 0; must be at least 1"):
        wanted(budget="0")
    with pytest.raises(ConfigError, match="budget: 'soon'; must be a time, .*, or a number of engines"):
        wanted(budget="soon")
    for name in ("latency", "rate", "power", "objective", "schedule", "activation", "budget"):
        with pytest.raises(ConfigError, match=f"{name}: ''; must be"):
            wanted(**{name: ""})
    with pytest.raises(ConfigError, match="weight_bits: 3"):
        wanted(weight_bits=(3,))
    with pytest.raises(ConfigError, match="operand_bits"):
        project.explore(Wanted(parts=("xc7z020",), weight_bits=(16,), operand_bits=(8,)))
    with pytest.raises(ConfigError, match="point: 99; must be 1 to"):
        Exploration.read(project).project_of(project, 99)
    other = convert(write_project(tmp_path, seed=2))
    with pytest.raises(InputError, match="no exploration"):
        Exploration.read(other)
    with pytest.raises(ConfigError, match="no engine fits"):
        project.explore(Wanted(parts=("xc7z010",), weight_bits=(8,), space=Space(rows=(2048,))))
    result = CliRunner().invoke(main, ["explore", str(path), "--part", "xc7z020", "--latency", "soon"])
    assert result.exit_code == 1 and result.stderr == (
        "error: latency: 'soon'; must be a time, as 1ms, 200us or 2min\n"
    )


def test_an_exploration_by_another_version_is_made_anew(explored, monkeypatch):
    _, project, found = explored
    points = [{name: value for name, value in point.items() if name != "activation"} for point in found.points]
    monkeypatch.setattr(front, "read_stamped", lambda path: {**found.values, "points": points})
    with pytest.raises(InputError, match="by another version of lstm-hw; must be made anew"):
        Exploration.read(project)


def test_labels_are_needed_for_an_accuracy(tmp_path):
    project = convert(write_project(tmp_path, data={"labels": None}))
    with pytest.raises(InputError, match="no labels"):
        project.explore(Wanted(parts=("xc7z020",), limits={"accuracy": 0.9}, **SMALL))
    found = project.explore(Wanted(parts=("xc7z020",), **SMALL))
    assert "error" in found.values["objectives"] and "accuracy" not in found.values["objectives"]


def test_a_part_is_explored_once(explored):
    _, project, _ = explored
    assert asked_parts(project, Wanted(parts=("ULX3S", "xc7z020", "ulx3s", "XC7Z020"))) == ("ULX3S", "xc7z020")


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("1ms", "s", 1e-3),
        ("200 us", "s", 2e-4),
        ("2min", "s", 120),
        ("3", "s", 3),
        ("48kHz", "Hz", 48e3),
        ("5e2mW", "W", 0.5),
    ],
)
def test_quantities(text, unit, value):
    assert quantity("it", text, unit) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "fast", "-1ms", "0s", "1kg", "1..2s", "nan", "inf", "1msms"])
def test_no_quantities(text):
    with pytest.raises(ConfigError, match="must be a time"):
        quantity("it", text, "s")
