"""The host design on its Verilog: the self-test's verdict and a model that is loaded and run, both over the UART."""

import json

import pytest

from boards import host_design
from boards.host_design import HostDesign, memory_bytes_of
from lstm_hw.errors import ConfigError
from lstm_hw.host.protocol import Reason
from sim.runner import run_bench
from tests.boards.scenarios import small_scenario
from tests.builders import config_of

CLOCK_HZ, BAUD = 1_000_000, 125_000
PORTS = {"clock": "clk", "reset": "rst", "rx": "i_rx", "tx": "o_tx", "restart": "i_restart"}


def test_a_host_sees_why_a_self_test_failed_and_uses_the_engine_all_the_same(tmp_path):
    scenario = small_scenario(vectors=2)
    scenario.save(tmp_path / "scenario")
    scenario.runs[1].outputs[0][-1] ^= 1  # what the self-test expects
    files = []
    for name, text in host_design.emit(scenario, CLOCK_HZ, BAUD).items():
        files.append(tmp_path / name)
        files[-1].write_text(text)
    settings = {
        "scenario": str(tmp_path / "scenario"),
        "ports": PORTS,
        "clock_ns": 10,
        "cycle_ns": 10,
        "clock_hz": CLOCK_HZ,
        "divisor": CLOCK_HZ // BAUD,
        "fast": 2,
        "reason": Reason.OUTPUT,
        "passed": 0,
        "cycles": None,
    }
    extra_env = {"LSTM_HW_HOST_DESIGN": json.dumps(settings)}
    result = run_bench(files, host_design.NAME, "sim.bench_host_design", short=True, timeout=300, extra_env=extra_env)
    assert result.tests == ("a_host_loads_and_runs_the_engine",)


@pytest.mark.parametrize("clock_hz, baud", [(1_000_000, 600_000), (1_000_000, 430_000)])
def test_a_speed_that_the_clock_does_not_give_is_refused(clock_hz, baud):
    with pytest.raises(ConfigError, match=f"UART: {baud} baud of a clock of {clock_hz} Hz; must be within 2 %"):
        HostDesign(small_scenario(), None, clock_hz, baud)


def test_the_memory_holds_an_image_and_whatever_stays_on_the_chip():
    config = config_of(rows=16, weight_words=1024)
    assert memory_bytes_of(config, 100) == 1024 * config.word_bytes
    assert memory_bytes_of(config, 1024 * config.word_bytes + 1) == 2048 * config.word_bytes
