"""How large an engine must be: memory depths and widths that a network needs.

Everything that is not given follows from the network: the smallest engine that runs it without compromise.
"""

from dataclasses import fields

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import ELEMENT_BITS, ENTRY_BITS, PROGRAM_BITS
from ..machine.network import LayerShape, Network
from ..machine.pack import bias_digits

X_VECTORS = 8
"""Input vectors that the x memory holds, where that is no more than ``X_ELEMENTS``; two at least."""
X_ELEMENTS = 1024
"""Elements of 16 bits in half a block RAM."""


def _power_of_two(value):
    """The next power of two."""
    return 1 << (value - 1).bit_length()


def stored_weight_bits(qmodel):
    """Width of a weight in memory: 8 where every weight fits, else 16.

    Raises
    ------
    ConfigError
        A weight format is wider than 16 bits.
    """
    widths = [f.width for layer in qmodel.layers for f in (layer.w_x_format, layer.w_h_format)]
    if qmodel.head is not None:
        widths.append(qmodel.head.w_format.width)
    if max(widths) > 16:
        raise ConfigError("quantize.weight_bits", max(widths), "must be at most 16 for the engine")
    return 8 if max(widths) <= 8 else 16


def engine_formats(qmodel):
    """The engine's settings that the quantised model decides: dict of EngineConfig fields.

    Raises
    ------
    ConfigError
        The model's layers differ in a format that the engine has once, or the head rounds otherwise than the layers.
    """
    first = qmodel.layers[0]
    for number, layer in enumerate(qmodel.layers):
        for name in ("preact", "activation_format", "hidden"):
            if getattr(layer, name) != getattr(first, name):
                rule = f"must be {getattr(first, name)}, as in layer 0"
                raise ConfigError(f"layer {number}: {name}", getattr(layer, name), rule)
    if qmodel.head is not None:
        wanted = first.preact
        found = qmodel.head.output
        if (found.width, found.rounding, found.overflow) != (wanted.width, wanted.rounding, wanted.overflow):
            rule = f"must be {wanted.width} bits wide, {wanted.rounding} and {wanted.overflow}, as preact"
            raise ConfigError("head: output", f"{found} ({found.rounding}, {found.overflow})", rule)
    return {
        "operand_bits": qmodel.input_format.width,
        "activation": qmodel.activation,
        "preact": first.preact,
        "activated": first.activation_format,
        "hidden": first.hidden,
    }


def network_of(qmodel, weight_bits=None):
    """The shapes of a quantised model.

    Parameters
    ----------
    qmodel : QuantModel
    weight_bits : int, optional
        Width of a stored weight, which decides how a bias is split; :func:`stored_weight_bits` without it.

    Returns
    -------
    Network

    Raises
    ------
    ConfigError
        A weight format is wider than 16 bits.
    FormatError
        A bias is too large for its digit columns.
    """
    weight_bits = weight_bits or stored_weight_bits(qmodel)
    layers = [("lstm", layer, layer.hidden_size, layer.preact) for layer in qmodel.layers]
    if qmodel.head is not None:
        layers.append(("linear", qmodel.head, qmodel.head.output_size, qmodel.head.output))
    shapes = []
    for kind, layer, outputs, result in layers:
        shift = layer.acc_fraction - result.fraction
        digits, _ = bias_digits(layer.acc_bias, weight_bits, qmodel.input_format.width)
        shapes.append(LayerShape(kind, layer.input_size, outputs, shift, digits))
    return Network(tuple(shapes), qmodel.head_every_step)


def accumulator_bits(network, weight_bits, operand_bits=16):
    """Width in which no sum of products of such operands can overflow, whatever the values.

    A product of two's complement numbers is at most ``2**(weight_bits + operand_bits - 2)``; a sum has one of them a
    column, bias digits included, and the sign takes a bit.
    """
    columns = max(layer.columns + sum(count for _, count in layer.bias_columns) for layer in network.layers)
    return weight_bits + operand_bits + (columns - 1).bit_length()


def size_engine(network, rows=32, contexts=1, weight_bits=16, cells=1, **given):
    """The engine for a network whose weights all stay on chip.

    Parameters
    ----------
    network : Network
    rows, contexts, weight_bits, cells : int
        As in :class:`~lstm_hw.machine.config.EngineConfig`.
    **given
        Any other field of EngineConfig, taken as it is.

    Returns
    -------
    EngineConfig

    Raises
    ------
    ConfigError
        A field is unknown, out of range, or too small for the network.
    """
    known = {f.name for f in fields(EngineConfig)}
    for name in given:
        if name not in known:
            raise ConfigError(f"engine.{name}", "unknown key", f"must be one of {', '.join(sorted(known))}")
    chosen = {"rows": rows, "contexts": contexts, "weight_bits": weight_bits, "cells": cells}
    ports = given.get("axi_ports", 1)
    # Says what is wrong with these before anything is derived from them.
    EngineConfig(**chosen, axi_data_bits=64, axi_ports=ports)

    lstm, blocks = network.lstm, [layer.blocks(rows) for layer in network.layers]
    vector = network.layers[0].inputs
    per_beat = given.get("x_per_beat", _power_of_two(contexts) if contexts > 1 else 1)
    stride = -(-vector // max(1, per_beat)) * per_beat
    needs = {
        "accumulator_bits": accumulator_bits(network, weight_bits, given.get("operand_bits", 16)),
        "weight_words": resident_words(network, rows),
        "h_elements": 2 * sum(layer.outputs for layer in lstm),
        "x_elements": stride,
        "accumulators": 1 + 2 * sum(blocks),
        "finish_entries": max(blocks),
        "states": contexts * sum(layer.outputs for layer in lstm),
    }
    for name, need in needs.items():
        if name in given and given[name] < need:
            raise ConfigError(f"engine.{name}", given[name], f"must be at least {need} for this model")
    defaults = {
        **needs,
        "weight_words": _power_of_two(needs["weight_words"]),
        "x_per_beat": per_beat,
        "x_elements": _x_elements(stride),
        "finish_entries": max(16, needs["finish_entries"]),
        "shifts": tuple(layer.shift for layer in network.layers),
        "axi_data_bits": min(128, max(64, 1 << (rows * weight_bits // ports).bit_length() - 1)),
    }
    config = EngineConfig(**{**defaults, **chosen, **given})
    if config.shifts != defaults["shifts"]:
        raise ConfigError("engine.shifts", list(config.shifts), f"must be {list(defaults['shifts'])} for this model")
    if contexts > 1 and config.x_per_beat < contexts:
        raise ConfigError("engine.x_per_beat", config.x_per_beat, f"must be at least contexts = {contexts}")
    return config


def streaming_engine(network, rows, contexts, weight_words, groups=1, batch=8, **given):
    """An engine whose weight buffer is smaller than a layer, with room for every streaming schedule beside it.

    Parameters
    ----------
    network : Network
        LSTM layers, which have entries and elements of their own but share x.
    rows, contexts, weight_words : int
        As in :class:`~lstm_hw.machine.config.EngineConfig`.
    groups : int
        Groups of sequences that take turns.
    batch : int
        Time steps whose x and sums of a step have room, as far as the fields reach.
    **given
        Any other field of EngineConfig, taken as it is.

    Returns
    -------
    EngineConfig
    """
    blocks = [layer.blocks(rows) for layer in network.layers]
    width = sum(blocks) * rows // 4
    per_beat = given.get("x_per_beat", max(4, _power_of_two(contexts)))
    stride = -(-max(layer.inputs for layer in network.layers) // per_beat) * per_beat
    defaults = {
        "accumulator_bits": accumulator_bits(network, given.get("weight_bits", 16)),
        "x_per_beat": per_beat,
        "h_elements": min(1 << ELEMENT_BITS, 2 * groups * width),
        "states": min(1 << ELEMENT_BITS, 2 * groups * contexts * width),
        "x_elements": min(1 << ELEMENT_BITS, 2 * max(groups, batch) * stride),
        "accumulators": min(1 << ENTRY_BITS, 1 + groups * len(blocks) + sum(blocks) * (1 + max(1, batch))),
        "finish_entries": min(1 << ENTRY_BITS, max(2 * groups, 2 * max(blocks))),
        "program_length": 1 << PROGRAM_BITS,
        "shifts": tuple(shape.shift for shape in network.layers),
    }
    return EngineConfig(**{**defaults, "rows": rows, "contexts": contexts, "weight_words": weight_words, **given})


def resident_words(network, rows):
    """Words of the weight image, biases included."""
    return sum(
        layer.blocks(rows) * (layer.columns + sum(count for _, count in layer.bias_columns)) for layer in network.layers
    )


def _x_elements(stride):
    """Depth of the x memory for vectors that take ``stride`` elements each."""
    vectors = max(2, min(X_VECTORS, X_ELEMENTS // stride))
    depth = _power_of_two(vectors * stride)
    return depth if depth <= 1 << ELEMENT_BITS else 2 * stride
