"""The self-test on its Verilog: it passes on the right data and fails on each kind of wrong data."""

import json
import subprocess

import pytest

from boards import self_test
from boards.plan import SEQUENCES, scenario_of
from lstm_hw.errors import ConfigError
from lstm_hw.host.protocol import Reason
from lstm_hw.project.api import convert
from lstm_hw.verilog import tools
from sim.runner import run_bench
from tests.boards.scenarios import small_scenario
from tests.simulators import QUICK

CLOCK_HZ = 1000
"""So slow that the heartbeat toggles every 500 cycles."""


EMISSION = ("-Wno-DECLFILENAME", "-Wno-WIDTH", "-Wno-PROCASSINIT", "-Wno-UNUSEDSIGNAL")
"""What Amaranth's way of writing Verilog brings; missing pins, undriven signals and loops remain."""


def bench(folder, scenario, expected, simulator=QUICK, **options):
    files = []
    for name, text in self_test.emit(scenario, CLOCK_HZ, **options).items():
        files.append(folder / name)
        files[-1].write_text(text)
    environment = {"LSTM_HW_SELF_TEST": json.dumps(expected)}
    result = run_bench(
        files, self_test.NAME, "sim.bench_self_test", simulator=simulator, timeout=300, extra_env=environment
    )
    assert set(result.tests) == {"gives_its_verdict_again", "heart_beats"}


def test_passes_and_counts_the_cycles_of_the_interpreter(tmp_path):
    scenario = small_scenario(vectors=3)
    bench(tmp_path, scenario, {"reason": Reason.NONE, "passed": 3, "cycles": scenario.runs[-1].counters["cycles"]})


@pytest.mark.slow
def test_passes_on_the_digits(tmp_path):
    scenario = scenario_of(convert("examples/digits/digits.toml"))
    cycles = scenario.runs[-1].counters["cycles"]
    bench(tmp_path, scenario, {"reason": Reason.NONE, "passed": SEQUENCES + 1, "cycles": cycles}, "verilator")


def wrong_expectation(scenario):
    scenario.runs[2].outputs[0][-1] ^= 1


def wrong_weight(scenario):
    image = bytearray(scenario.image)
    image[len(image) // 2] ^= 0x40
    scenario.image = bytes(image)


def short_image(scenario):
    scenario.image = scenario.image[:-64]


@pytest.mark.parametrize(
    "spoil, expected",
    [
        (wrong_expectation, {"reason": Reason.OUTPUT, "passed": 1}),
        (wrong_weight, {"reason": Reason.OUTPUT}),
        (short_image, {"reason": Reason.STATUS, "passed": 0}),
    ],
)
def test_fails_on_wrong_data(tmp_path, spoil, expected):
    scenario = small_scenario(vectors=3)
    spoil(scenario)
    bench(tmp_path, scenario, expected)


def test_fails_when_x_runs_out(tmp_path):
    scenario = small_scenario(vectors=3)
    scenario.runs[-1].x, scenario.runs[-1].lasts = scenario.runs[-1].x[:-1], scenario.runs[-1].lasts[:-1]
    bench(tmp_path, scenario, {"reason": Reason.STATUS, "passed": 2})


def test_fails_when_patience_runs_out(tmp_path):
    bench(tmp_path, small_scenario(vectors=3), {"reason": Reason.WATCHDOG, "passed": 0}, patience=40)


def test_verilog_lints_clean(tmp_path):
    files = self_test.emit(small_scenario(), CLOCK_HZ)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    result = subprocess.run(
        [tools.verilator(), "--lint-only", "-Wall", "-Wno-fatal", *EMISSION, "--top-module", self_test.NAME, *files],
        env=tools.verilator_environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    # The engine has a lint of its own.
    ours = [line for line in result.stderr.splitlines() if f"{self_test.NAME}.v:" in line]
    assert not ours, "\n".join(ours)


def test_verilog_is_reproducible():
    assert self_test.emit(small_scenario(), CLOCK_HZ) == self_test.emit(small_scenario(), CLOCK_HZ)


def test_needs_vectors():
    scenario = small_scenario()
    scenario.runs = scenario.runs[:1]
    with pytest.raises(ConfigError, match="self-test: 1 runs; must have x beats and outputs among them"):
        self_test.emit(scenario, CLOCK_HZ)
