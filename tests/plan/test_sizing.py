"""Sizes that follow from a network: enough, no more than enough, and exact sums at the extremes."""

import re
from functools import partial

import numpy as np
import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.plan.compressed import CompressedPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.sizing import (
    STREAM_WORDS,
    accumulator_bits,
    ample_engine,
    counting,
    engine_formats,
    network_of,
    size_engine,
    stored_weight_bits,
)
from tests.builders import config_of
from tests.projects import float_model


def quantized(seed=1, config=None, **shape):
    rng = np.random.default_rng(seed)
    model = float_model(rng, **shape)
    return quantize(model, rng.uniform(-1, 1, (4, 5, model.input_size)), config)


def random_network(rng):
    sizes = rng.integers(1, 24, rng.integers(2, 5)).tolist()
    bias = ((14, int(rng.integers(1, 4))), (0, 1))
    layers = [LayerShape("lstm", i, o, 15, bias) for i, o in zip(sizes, sizes[1:], strict=False)]
    if rng.random() < 0.5:
        layers.append(LayerShape("linear", sizes[-1], int(rng.integers(1, 20)), 14, bias))
    return Network(tuple(layers), layers[-1].kind == "linear" and rng.random() < 0.5)


@pytest.mark.parametrize("seed", range(40))
def test_plan_fits_exactly(seed):
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    chosen = {
        "rows": int(rng.choice([4, 8, 16, 32])),
        "contexts": int(rng.integers(1, 5)),
        "weight_bits": int(rng.choice([8, 16])),
        "cells": int(rng.choice([1, 2, 5])),
    }
    config = size_engine(network, **chosen)
    plan = ResidentPlanner(network, config).plan()
    words = sum(
        layer.blocks(config.rows) * (layer.columns + sum(count for _, count in layer.bias_columns))
        for layer in network.layers
    )
    assert plan.image.words == words <= config.weight_words
    for name in ("h_elements", "states", "accumulators"):
        need = getattr(config, name)
        with pytest.raises(ConfigError, match=f"engine.{name}: {need - 1}; must be at least {need} for this schedule"):
            size_engine(network, **chosen, **{name: need - 1})
    with pytest.raises(ConfigError, match="engine.weight_words: .*; must be at least"):
        size_engine(network, **chosen, weight_words=plan.image.words - 1)
    assert config.x_elements >= 2 * network.layers[0].inputs


@pytest.mark.parametrize("weight_bits, operand_bits", [(8, 8), (8, 16), (16, 16)])
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5, 64, 65, 1000])
def test_accumulator_holds_extreme_sums(weight_bits, operand_bits, columns):
    network = Network((LayerShape("lstm", columns, 1, 15, ((14, 1), (0, 1))),))
    bits, terms = accumulator_bits(network, weight_bits, operand_bits), columns + 1 + 2
    peak = terms * (1 << weight_bits - 1) * (1 << operand_bits - 1)
    assert peak < 1 << bits - 1
    assert peak >= 1 << bits - 3, "wider than a sum can need"


def test_shapes_follow_from_the_formats():
    qmodel = quantized(inputs=3, hidden=(4, 5), outputs=2)
    network = network_of(qmodel)
    assert [(s.kind, s.inputs, s.outputs) for s in network.layers] == [("lstm", 3, 4), ("lstm", 4, 5), ("linear", 5, 2)]
    assert [s.shift for s in network.layers] == [
        qmodel.layers[0].acc_fraction - qmodel.layers[0].preact.fraction,
        qmodel.layers[1].acc_fraction - qmodel.layers[1].preact.fraction,
        qmodel.head.acc_fraction - qmodel.head.output.fraction,
    ]
    assert size_engine(network, rows=4, **engine_formats(qmodel)).shifts == tuple(s.shift for s in network.layers)


@pytest.mark.parametrize("bits, stored", [(3, 4), (4, 4), (6, 6), (8, 8), (9, 9), (16, 16)])
def test_stored_width_of_weights(bits, stored):
    assert stored_weight_bits(quantized(config=QuantConfig(weight_bits=bits))) == stored


def test_weights_wider_than_the_engine():
    with pytest.raises(ConfigError, match="quantize.weight_bits: 1[78]; must be at most 16"):
        stored_weight_bits(quantized(config=QuantConfig(weight_bits=18)))


@pytest.mark.parametrize(
    "given, message",
    [
        ({"rows": 5}, "engine.rows: 5; must be a multiple of 4"),
        ({"contexts": 9}, "engine.contexts: 9; must be"),
        ({"cells": 3}, "engine.cells: 3; must be"),
        ({"row": 4}, "engine.row: unknown key"),
        ({"accumulator_bits": 33}, "engine.accumulator_bits: 33; must be at least 36"),
        ({"x_elements": 2}, "engine.x_elements: 2; must be at least 3"),
        ({"shifts": (1, 1)}, r"engine.shifts: \[1, 1\]; must be \["),
        ({"contexts": 4, "x_per_beat": 2}, "engine.x_per_beat: 2; must be at least contexts = 4"),
        ({"x_per_beat": 3}, "engine.x_per_beat: 3; must be a power of two"),
        ({"finish_entries": 2}, "engine.finish_entries: 2; must be at least 4"),
    ],
)
def test_what_cannot_be(given, message):
    network = network_of(quantized(), 16)
    with pytest.raises(ConfigError, match=message):
        size_engine(network, **{"rows": 4, **given})


@pytest.mark.parametrize("steps, bits", [(3, 8), (300, 10)])
def test_registers_that_count_too_few_steps(steps, bits):
    """The width that is named is one that an engine may have."""
    with pytest.raises(ConfigError, match=f"engine.register_bits: 3; must be at least {bits} for runs of {steps}"):
        counting(steps, {"register_bits": 3})
    assert counting(steps, {"register_bits": bits}) == {}
    config_of(register_bits=bits)


def test_too_large_for_any_engine():
    with pytest.raises(
        ConfigError, match=r"plan.schedule: 256 rows: weight_words must be at least \d+, .*auto streams"
    ):
        size_engine(Network((LayerShape("lstm", 6000, 4000, 15),)), rows=256)
    deep = Network(tuple(LayerShape("lstm", 4, 4, 15) for _ in range(17)))
    with pytest.raises(ConfigError, match="model: 17 layers; must have at most 16, the head included"):
        size_engine(deep, rows=16)
    with pytest.raises(
        ConfigError, match="plan.schedule: 32 rows: accumulators must be at least 257, .*engine.rows more"
    ):
        size_engine(Network((LayerShape("lstm", 8, 1024, 15),)), rows=32)


def test_all_that_must_change_is_told_at_once():
    network, message = Network((LayerShape("lstm", 8, 280, 15),)), "4 rows: .*must be another schedule; or with"
    with pytest.raises(ConfigError, match=message) as error:
        size_engine(network, rows=4)
    assert "plan.batch" not in str(error.value)
    told = dict(re.findall(r"engine.(\w+) = (\d+)", str(error.value)))
    config = size_engine(network, rows=4, **{name: int(depth) for name, depth in told.items()})
    assert (config.accumulators, config.finish_entries) == (561, 280)
    with pytest.raises(
        ConfigError, match="engine.finish_entries: 99; must .* 280 .* engine.accumulators, which is 98, "
    ):
        size_engine(network, rows=4, finish_entries=99, accumulators=98)
    with pytest.raises(
        ConfigError, match="finish_entries must be at least 280, and engine.finish_entries is 99; accu.* or engine"
    ):
        size_engine(network, rows=4, finish_entries=99)
    with pytest.raises(ConfigError, match="accumulators must be at least .*; or with a smaller plan.batch$"):
        size_engine(network, partial(SaccPlanner, batch=60), rows=4, contexts=2)


def test_longer_programs_get_the_longer_program_memory():
    network = Network((LayerShape("lstm", 8, 1016, 15),))
    config = size_engine(network, rows=32)
    length = len(ResidentPlanner(network, config).plan().program.instructions)
    assert config.program_length == (128 if length <= 128 else 256)


def test_a_streaming_planner_is_asked_for_what_it_needs():
    network = Network((LayerShape("lstm", 24, 32, 15),))

    def planner(network, config):
        return SaccPlanner(network, config, 8, 4)

    config = size_engine(network, planner, rows=16, contexts=2)
    needs = planner(network, config).plan().needs
    for name in ("accumulators", "h_elements", "states"):
        assert getattr(config, name) == needs[name]
        with pytest.raises(ConfigError, match=f"engine.{name}: {needs[name] - 1}; must be at least {needs[name]}"):
            size_engine(network, planner, rows=16, contexts=2, **{name: needs[name] - 1})
    assert config.weight_words == STREAM_WORDS and config.x_elements >= 2 * needs["x_elements"]
    assert size_engine(network, planner, rows=16, contexts=2, weight_words=240).weight_words == 240


def test_given_fields_are_taken():
    network = network_of(quantized(config=QuantConfig(fractions="shared")))
    config = size_engine(network, rows=8, weight_words=4096, outstanding=2, axi_data_bits=64)
    assert isinstance(config, EngineConfig)
    assert (config.weight_words, config.outstanding, config.axi_data_bits) == (4096, 2, 64)


def test_width_of_several_ports():
    network = network_of(quantized(config=QuantConfig(fractions="shared")))
    assert size_engine(network, rows=64, weight_bits=8).axi_data_bits == 128
    config = size_engine(network, rows=64, weight_bits=8, axi_ports=4)
    assert (config.axi_ports, config.axi_data_bits, config.beats_per_word) == (4, 128, 1)
    assert size_engine(network, rows=64, weight_bits=8, axi_ports=4, axi_data_bits=64).beats_per_word == 2
    with pytest.raises(ConfigError, match="engine.axi_ports: 2; must divide the 1 lane groups of 8 rows"):
        size_engine(network, rows=8, axi_ports=2)


def test_sums_of_batches_behind_a_decoder():
    """A layer of many row blocks gets those of two batches of four steps, a small one no more than others."""
    for units, deepest in ((1500, 4001), (800, 2137), (64, 256)):
        network = Network((LayerShape("lstm", 8, units, 15),))
        config = ample_engine(network, True, rows=12, decoder="bitmap", axi_data_bits=64)
        assert config.accumulators == deepest and ample_engine(network, True, rows=12).accumulators == 256

    def planner(network, config):
        return CompressedPlanner(network, config, 4)

    config = size_engine(Network((LayerShape("lstm", 8, 800, 15),)), planner, rows=12, decoder="bitmap")
    assert config.accumulators >= 2137 and config.finish_entries >= 267
