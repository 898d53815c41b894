"""The load unit's bench on its Verilog, of one unit in both simulators, and a seeded bug that it must find."""

import pytest

from lstm_hw.errors import VerificationError
from lstm_hw.gateware import burst_splitter
from lstm_hw.gateware.load_unit import LoadUnit
from lstm_hw.verilog.emit import write_verilog
from sim.runner import run_bench
from tests.simulators import QUICK

TESTS = {"delivers_all_beats", "ends_at_an_error", "stops_in_any_cycle"}


def bench(folder, simulator, parameters, **options):
    verilog = write_verilog(folder / "load_unit.v", LoadUnit(**parameters), "load_unit")
    return run_bench(
        [verilog], "load_unit", "sim.bench_load_unit", simulator=simulator, short=True, timeout=300, **options
    )


PLAIN = {"address_bits": 64, "data_bits": 64}


@pytest.mark.parametrize(
    "simulator, parameters",
    [
        ("verilator", PLAIN),
        pytest.param("icarus", PLAIN, marks=pytest.mark.icarus),
        ("verilator", {"address_bits": 32, "data_bits": 1024, "outstanding": 2}),
        (QUICK, {"address_bits": 40, "data_bits": 128, "max_burst": 13, "outstanding": 1}),
    ],
    ids=["64-64-verilator", "64-64-icarus", "32-1024", "40-128"],
)
def test_bench(tmp_path, simulator, parameters):
    assert set(bench(tmp_path, simulator, parameters).tests) == TESTS


def test_bench_finds_a_burst_across_4_kib(tmp_path, monkeypatch):
    monkeypatch.setattr(burst_splitter, "PAGE_BYTES", 8192)
    with pytest.raises(VerificationError, match="tests failed: delivers_all_beats"):
        bench(tmp_path, QUICK, {"address_bits": 40, "data_bits": 64}, testcase="delivers_all_beats")
