"""The load path with and without a decoder: what it consists of, and what fields its LOADs have."""

import pytest

from lstm_hw.gateware.instruction import command_layout
from lstm_hw.gateware.load_path import LoadPath
from lstm_hw.verilog.emit import emit_verilog
from tests.builders import config_of


@pytest.mark.parametrize("decoder, there", [("off", False), ("bitmap", True), ("esell", True)])
def test_nothing_of_a_decoder_is_there_without_it(decoder, there):
    config = config_of(rows=12, decoder=decoder)
    verilog = emit_verilog(LoadPath(config), "load_path")
    assert ("decoder" in verilog) == ("o_address" in verilog) == there
    assert ("words" in command_layout("LOAD", config).members) == there
    assert config.to_dict().get("decoder") == (decoder if there else None)
