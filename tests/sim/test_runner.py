import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lstm_hw.errors import ConfigError, ToolError, VerificationError
from lstm_hw.verilog import tools
from lstm_hw.verilog.emit import write_verilog
from sim import runner
from sim.progress import last_progress
from sim.runner import run_bench
from tests.isolation import HOSTILE, hostile_folder
from tests.toy import INPUTS, Toy, trace

BENCH = "tests.bench_toy"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The toy's Verilog, and the environment that gives its bench 300 idle cycles to follow."""
    folder = tmp_path_factory.mktemp("toy")
    inputs = [dict.fromkeys(INPUTS, 0)] * 300
    (folder / "trace.json").write_text(json.dumps([inputs, trace(inputs)]))
    return write_verilog(folder / "toy.v", Toy(), "toy"), {"TOY_TRACE": folder / "trace.json"}


def follow(toy, **options):
    return run_bench([toy[0]], "toy", BENCH, testcase="follows_trace", extra_env=toy[1], **options)


def test_result_names_tests_log_and_times(toy, simulator):
    seen = []
    result = follow(toy, simulator=simulator, progress=lambda done, total: seen.append((done, total)))
    assert result.tests == ("follows_trace",)
    assert result.sim_ns == 3000
    assert result.waves is None
    assert "follows_trace" in result.log.read_text() and "follows_trace" in result.results.read_text()
    assert seen[-1] == (200, 300)


def test_design_is_compiled_once_even_for_parallel_runs(toy, tmp_path, monkeypatch):
    compiled, process = [], runner._process

    def counted(folder, job, *arguments):
        if "build" in job:
            compiled.append(folder)
            time.sleep(0.5)
        return process(folder, job, *arguments)

    monkeypatch.setattr(runner, "_process", counted)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(follow, toy, simulator="icarus", build_dir=tmp_path, seed=seed) for seed in (1, 2)]
        assert all(run.result().tests for run in runs)
    follow(toy, simulator="icarus", build_dir=tmp_path)
    assert len(compiled) == 1
    changed = tmp_path / "toy.v"
    changed.write_text(toy[0].read_text() + "// another file\n")
    follow((changed, toy[1]), simulator="icarus", build_dir=tmp_path)
    assert len(compiled) == 2


def test_verilator_keeps_the_program_alone_and_reuses_its_runtime(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "_SMALL_MAKE", f"OPT_GLOBAL= {runner._SMALL_MAKE}")  # its own sources in less time
    follow(toy, build_dir=tmp_path)
    [folder] = [path for path in (tmp_path / "cache").glob("verilator-*") if path.is_dir()]
    assert sorted(path.name for path in folder.iterdir()) == ["provenance.json", "toy"]
    follow(toy, build_dir=tmp_path, public="all")
    logs = sorted((tmp_path / "cache").glob("verilator-*.log"), key=lambda log: log.stat().st_mtime)
    assert [log.read_text().count("-o verilated.o") for log in logs] == [1, 0]


def test_waves_are_recorded(toy, simulator):
    result = follow(toy, simulator=simulator, waves=True)
    assert result.waves.stat().st_size > 1000
    assert result.waves.suffix == ".fst" or not tools.fst_headers()


@pytest.mark.icarus
def test_failing_test_is_named_with_the_log(toy):
    with pytest.raises(VerificationError) as error:
        run_bench(
            [toy[0]], "toy", BENCH, simulator="icarus", extra_env=toy[1], testcase=["follows_trace", "never_ready"]
        )
    assert error.value.subject == "tests.bench_toy on icarus"
    assert error.value.found == "1 of 2 tests failed: never_ready"
    assert "bench.log" in error.value.rule


@pytest.mark.icarus
@pytest.mark.parametrize(
    "module, testcase, message",
    [
        ("tests.bench_empty", None, "left no results|ran no test"),
        (BENCH, "no_such_test", "left no results|ran no test"),
        ("tests.no_such_bench", None, "left no results: .*no_such_bench"),
    ],
)
def test_bench_that_runs_nothing_is_an_error(toy, module, testcase, message):
    with pytest.raises(VerificationError, match=message):
        run_bench([toy[0]], "toy", module, simulator="icarus", testcase=testcase)


@pytest.mark.icarus
def test_bench_that_leaves_the_simulator_is_an_error(toy):
    with pytest.raises(VerificationError, match="left no results"):
        run_bench([toy[0]], "toy", BENCH, simulator="icarus", testcase="kills_the_simulator")


@pytest.mark.icarus
def test_time_limit_ends_the_simulator(toy):
    started = time.monotonic()
    with pytest.raises(VerificationError, match="tests.bench_toy on icarus: hung"):
        run_bench([toy[0]], "toy", BENCH, simulator="icarus", testcase="takes_long", timeout=3)
    assert time.monotonic() - started < 300


@pytest.mark.icarus
def test_simulations_that_live_may_take_long(toy):
    result = run_bench([toy[0]], "toy", BENCH, simulator="icarus", testcase="shows_that_it_lives")
    assert "@alive " in result.log.read_text()


def test_only_silence_ends_a_simulation(tmp_path, monkeypatch):
    lives = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo .; sleep 0.5; done"
    monkeypatch.setattr(runner.process, "python", lambda *_: ["sh", "-c", lives])
    assert runner._process(tmp_path, {}, tmp_path / "log", {}, timeout=5) == 0
    assert runner._process(tmp_path, {}, tmp_path / "log", {}, timeout=0.2) is None


def test_design_that_does_not_compile_is_an_error(tmp_path, simulator):
    broken = tmp_path / "broken.v"
    broken.write_text("module broken(input a);\n  wire b = no_such_wire;\n  syntax error here\nendmodule\n")
    with pytest.raises(ToolError, match=f"^{simulator}: could not compile broken: .*; the log is .*{simulator}-.*log$"):
        run_bench([broken], "broken", BENCH, simulator=simulator, build_dir=tmp_path)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"simulator": "modelsim"}, "simulator: 'modelsim'; must be one of verilator, icarus"),
        ({"public": "some"}, "public: 'some'; must be 'top' or 'all'"),
    ],
)
def test_unknown_options_are_refused(toy, options, message):
    with pytest.raises(ConfigError, match=message):
        follow(toy, **options)


def test_surroundings_decide_nothing(toy, tmp_path, monkeypatch, simulator):
    cache = tmp_path if simulator == "icarus" else Path("build/sim").resolve()  # Verilator takes long to compile
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(hostile_folder(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    assert follow(toy, simulator=simulator, build_dir=cache).tests == ("follows_trace",)


def test_paths_that_shells_and_make_take_apart(toy, tmp_path, simulator):
    folder = tmp_path / 'it\'s a $pace: #1, "`x`"'
    folder.mkdir()
    for runtime in Path("build/sim/cache").glob("runtime-*"):  # or Verilator's own sources would be compiled again
        if runtime.is_dir():
            shutil.copytree(runtime, folder / "cache" / runtime.name)
    verilog = folder / "the toy.v"
    verilog.write_text(toy[0].read_text())
    trace = folder / "trace.json"
    trace.write_text(toy[1]["TOY_TRACE"].read_text())
    result = follow((verilog, {"TOY_TRACE": trace}), simulator=simulator, build_dir=folder)
    assert result.tests == ("follows_trace",)


def test_missing_source_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="^Verilog file: .*absent.v; must exist$"):
        run_bench([tmp_path / "absent.v"], "absent", BENCH)


def test_last_progress_is_the_last_whole_line():
    assert last_progress("@progress 1/9\nother\n@progress 3/9\nx @progress 4/9") == (3, 9)
    assert last_progress("nothing") is None
