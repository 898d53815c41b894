"""Simulations in shards: what is left is that of one simulation, to the byte; nothing is done twice."""

import re

import numpy as np
import pytest

import lstm_hw
from lstm_hw.errors import ConfigError, VerificationError
from lstm_hw.project import shards
from lstm_hw.project.simulation import RESULTS
from lstm_hw.verify.scenario import Stress
from lstm_hw.verify.shards import Shard, shards_of
from lstm_hw.verify.simulate import expect_outputs
from tests.projects import tensors, write_project


def results(project, **asked):
    """The file of a simulation that is made anew, and what was measured."""
    measured = project.simulate(force=True, **asked)
    return (project.folder / "simulation" / RESULTS).read_bytes(), measured


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The configuration of a project whose Verilog is emitted."""
    more = {"quantize": {"cell": "Q0.15"}, "engine": {"rows": 4, "count_clipped": True}}
    sections = {"simulate": {"simulator": "icarus", "images": 3}, **more}
    path = write_project(
        tmp_path_factory.mktemp("project"), model=tensors(np.random.default_rng(5), scale=2.0), sections=sections
    )
    lstm_hw.convert(path).generate()
    return path


@pytest.fixture
def project(path):
    notes = []
    project = lstm_hw.convert(path, note=notes.append)
    project.notes = notes
    return project


def test_results_are_those_of_one_simulation_to_the_byte(project):
    whole, measured = results(project)
    cut, again = results(project, jobs=2)
    assert cut == whole and again.cycles_equal and again.cycles_simulated == measured.cycles_simulated
    assert again.clipped == measured.clipped and any(again.clipped.values())
    assert not (project.folder / ".shards").exists()


def test_weights_that_stream_while_buffers_hold_what_the_run_before_left(tmp_path):
    streamed = {"plan": {"schedule": "rowblock", "sequences": 2}, "memory": {"latency": 30, "interval": 2}}
    sections = {"simulate": {"simulator": "icarus", "images": 4}, **streamed}
    project = lstm_hw.convert(write_project(tmp_path, model=tensors(np.random.default_rng(5)), sections=sections))
    assert results(project)[0] == results(project, jobs=2)[0]


def test_shards_hold_every_run_once_and_begin_with_load_and_the_run_before(project):
    x = project.qmodel.quantize_input(project.x)  # 5 sequences
    expected = expect_outputs(project.plan, project.words, project.qmodel, x)
    assert len(expected.scenario.runs) == 7
    found = shards_of(expected, project.words, [0, 10, 10, 10, 10, 10, 20], 25)
    assert [shard.numbers for shard in found] == [(0, 1, 2), (0, 2, 3, 4, 5), (0, 5, 6)]
    assert [shard.before for shard in found] == [0, 2, 2]
    assert [len(shard.numbers) for shard in shards_of(expected, project.words, [1] * 7, 10**9)] == [4, 5]
    shard = Shard.from_dict(found[1].to_dict())
    assert shard.own([1, 2, 3, 4, 5]) == [3, 4, 5] and shard.config == project.engine
    np.testing.assert_array_equal(shard.words, project.words)
    wanted, runs = expected.scenario.runs[2:6], shard.scenario().runs[1:]
    for one, other in zip(wanted, runs, strict=True):
        np.testing.assert_array_equal(one.x, other.x)
        assert one.outputs == other.outputs and one.clipped == other.clipped and other.counters["cycles"]


def test_an_interrupted_simulation_goes_on_where_it_was(project, monkeypatch):
    """The second shard fails at first."""
    played, measured = [], ("outputs", "counters", "clipped")

    def counted(task):
        played.append(task["runs"])
        if len(played) == 2:
            raise VerificationError("run 2", "an interruption", "must not be")
        shard = Shard.from_dict(task)
        return [
            {name: getattr(run, name) for name in measured} for run in shard.own(shard.scenario().runs)
        ]  # as if the Verilog did what it must

    monkeypatch.setattr(shards, "SHARD_CYCLES", 1)  # a shard a run
    monkeypatch.setattr(shards, "play_shard", counted)
    monkeypatch.setattr("lstm_hw.campaign.runner.name_of", lambda function: "lstm_hw.project.shards:play_shard")
    monkeypatch.setattr("lstm_hw.campaign.runner._check", lambda *_: None)  # in this process
    with pytest.raises(VerificationError, match=r'simulate, task 1 \{"runs": .*: run 2: an interruption'):
        shards.simulate_in_shards(project, asked(project), stored(project), 1, None, False)
    first = list(played)
    shards.simulate_in_shards(project, asked(project), stored(project), 1, None, False)
    assert first[0] not in played[2:] and first[1] in played[2:] and len(played) == 4


def asked(project):
    return {"sequences": 3, "simulator": "icarus", "seed": 1, "stress": {}, "waves": False}


def stored(project):
    return project.qmodel.quantize_input(project.x[:3])


def test_wrong_verilog_is_found_with_the_number_of_its_run(project, tmp_path):
    text = project.verilog.read_text()
    pattern = r"(module lstm_engine_engine_lanes_group0\(.*?assign \w+ = \S+) \+ (?=\S+;)"
    wrong, count = re.subn(pattern, r"\1 - ", text, count=1, flags=re.DOTALL)
    assert count == 1
    project.verilog = tmp_path / "lstm_engine.v"
    project.verilog.write_text(wrong)
    with pytest.raises(VerificationError, match=r"^simulate, task 0 .*: run 1, packet 0, element 0: Verilog gives"):
        project.simulate(jobs=2, force=True)
    shard = Shard((0, 4, 5), 2, None, None, None, None, None, [])
    assert shard.renumbered(VerificationError("run 2, packet 0", "3", "must be 4")).subject == "run 5, packet 0"


@pytest.mark.parametrize(
    "more, why",
    [
        ({"stress": Stress(x_idle=0.5)}, "x_idle hold back streams or memory"),
        ({"waves": True}, "waveforms go to one file"),
        ({"images": 1}, "the engine works on all sequences at once"),
    ],
)
def test_what_cannot_be_cut_is_said_and_simulated_whole(project, monkeypatch, more, why):
    monkeypatch.setattr("lstm_hw.project.simulation._simulate_whole", lambda *_: "whole")
    assert project.simulate(jobs=2, force=True, **more) == "whole"
    assert [note for note in project.notes if note.startswith("simulation: in one piece, since")][0].find(why) > 0


def test_bad_workers_are_refused_before_anything_is_done(project):
    with pytest.raises(ConfigError, match="^jobs: 0; must be between 1 and"):
        project.simulate(jobs=0)
    with pytest.raises(ConfigError, match="must be left out with a cluster"):
        project.simulate(jobs=2, cluster="tcp://127.0.0.1:8786")
