"""Engines with options on are as free of warnings as those without."""

import pytest

from lstm_hw.gateware.bitmap_decoder import GROUP
from lstm_hw.gateware.top import Top
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.ports import TOPLEVEL
from lstm_hw.verilog.emit import write_verilog
from lstm_hw.verilog.tools import lint
from tests.builders import config_of

ENGINES = {
    "c of another format": {"cell": QFormat(1, 14), "streams": False, "indexed": (), "c_shifts": (0, 2)},
    "gru": {"kind": "gru", "reset_before": True, "chains": True, "count_clipped": True},
    "peepholes": {"peepholes": QFormat(1, 14), "chains": True, "count_clipped": True, "cells": 2},
    "a layer alone, rows with shifts": {"row_bits": 2, "lifts": (2,), "shifts": (15,)},
    "columns of what changed": {"lists": True, "list_loads": True},
    "a hard sigmoid, a bit map of as many rows as are counted at once, formats of layers that are equal": {
        "activation": "hard6/quadratic64",
        "decoder": "bitmap",
        "rows": GROUP,
        "preact_shifts": (1, 1),
        "h_shifts": (0, 0),
    },
    "a table in pages, memories as small as can be": {
        "activation": "quadratic128",
        "contexts": 2,
        "x_per_beat": 2,
        **dict.fromkeys(("states", "h_elements", "x_elements", "accumulators", "finish_entries"), 2),
    },
    "a parallel cell": {"cells": 5, "parallel": True, "chains": True, "count_clipped": True, "preact_shifts": (0, 1)},
    "columns split over two lane groups": {"rows": 24, "split": 2, "weight_words": 64},
    "a parallel cell of two layers whose formats are alike": {"cells": 5, "parallel": True, "shifts": (15, 15)},
    "row blocks of one gate": {"lists": True, "list_loads": True, "kind": "gru", "gate_blocks": True, "rows": 16},
}


@pytest.mark.parametrize("name", ENGINES)
def test_no_warning(tmp_path, name):
    top = Top(config_of(**{"rows": 4, "shifts": (15, 12)} | ENGINES[name]))
    assert lint([write_verilog(tmp_path / "engine.v", top, TOPLEVEL)], TOPLEVEL) == []
