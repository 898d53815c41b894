"""The resident planner: all weights on chip, every time step column by column without a stall.

A step of a layer runs through its columns in the order in which they exist: first those that have
long been there, last those that the step before (or the layer below) is still producing. The tail
of a step so hides behind the first columns of the next.
"""

from dataclasses import dataclass

from ..errors import ConfigError
from ..machine.isa import MODE_LINEAR, MODE_LSTM, MODE_ZERO, SPACE_CONSTANT, SPACE_H, SPACE_X, VECTORS_BITS
from ..machine.layout import Image, Tile
from ..machine.plan import Plan
from .registers import program
from .tree import Loops

MIN_TILE_CYCLES = 16
"""Shortest MAC that hides the sequencer's work."""


@dataclass(frozen=True)
class Placement:
    """Where a layer stack keeps its vectors, states and sums."""

    h_base: tuple
    state_base: tuple
    bias_base: tuple
    work_base: tuple
    h_total: int
    states: int
    accumulators: int
    x_stride: int
    x_buffers: int

    @classmethod
    def of(cls, network, config):
        """Place ``network`` on ``config``; ConfigError names the memory that is too small."""
        blocks = [layer.blocks(config.rows) for layer in network.layers]
        h_base, states = _running([layer.outputs for layer in network.lstm])
        bias_base, after_bias = _running(blocks, start=1)
        work_base, accumulators = _running(blocks, start=after_bias)
        stride = -(-network.layers[0].inputs // config.x_per_beat) * config.x_per_beat
        check_beat(config)
        placement = cls(
            h_base,
            h_base,
            bias_base,
            work_base,
            states,
            states * config.contexts,
            accumulators,
            stride,
            min((1 << VECTORS_BITS) - 1, config.x_elements // stride),
        )
        for field, need in placement.needs(network, config.rows).items():
            if getattr(config, field) < need:
                raise ConfigError(f"engine.{field}", getattr(config, field), f"must be at least {need} for this model")
        return placement

    def needs(self, network, rows):
        """Fields of the engine with the least value that does."""
        return {
            "h_elements": 2 * self.h_total,
            "states": self.states,
            "accumulators": self.accumulators,
            "x_elements": self.x_stride,
            "finish_entries": max(layer.blocks(rows) for layer in network.layers),
            "weight_words": resident_words(network, rows),
        }


def check_beat(config):
    """Sequences side by side need a beat that holds one element of each."""
    if 1 < config.contexts and config.x_per_beat < config.contexts:
        raise ConfigError(
            "engine.x_per_beat",
            config.x_per_beat,
            f"must be at least contexts = {config.contexts}: a beat holds one element of each",
        )


def resident_words(network, rows):
    """Words of the weight image, biases included."""
    return sum(
        layer.blocks(rows) * (layer.columns + sum(count for _, count in layer.bias_columns)) for layer in network.layers
    )


def _running(sizes, start=0):
    """Start of every item when they are laid end to end, and the end of the last."""
    starts, position = [], start
    for size in sizes:
        starts.append(position)
        position += size
    return tuple(starts), position


def column_tiles(columns, blocks, units_per_block):
    """Cut columns so that a tile is a whole number of row blocks' units and long enough for the sequencer."""
    width = units_per_block * max(1, -(-MIN_TILE_CYCLES // (blocks * units_per_block)))
    return [(first, min(width, columns - first)) for first in range(0, columns, width)]


class ResidentPlanner:
    """Emits the ``load`` and ``run`` entries for a network whose weights fit the weight buffer.

    Parameters
    ----------
    network : Network
    config : EngineConfig
        All K contexts work on independent sequences.
    """

    name = "resident"

    def __init__(self, network, config):
        self.network, self.config = network, config
        self.place = Placement.of(network, config)
        self.mask = (1 << config.contexts) - 1
        self.needs = self.place.needs(network, config.rows)
        self.tiles, self.addresses = [], {}
        self.b = Loops()

    def plan(self):
        """The plan; ConfigError when something does not fit."""
        # Biases come first: the load entry uses them as they arrive.
        for layer, shape in enumerate(self.network.layers):
            column = 0
            for _, columns in shape.bias_columns:
                self._tile(layer, "bias", column, columns)
                column += columns
        for layer in range(len(self.network.layers)):
            for part, first, columns in self._column_order(layer):
                self._tile(layer, part, first, columns)
        image = Image(tuple(self.tiles))
        self._load(image)
        self._run()
        return Plan(
            self.config,
            self.network,
            self.name,
            program(self.b, self.config.program_length),
            image,
            self.config.contexts,
        )

    def _tile(self, layer, part, first, columns):
        tile = Tile(layer, part, 0, self.network.layers[layer].blocks(self.config.rows), first, columns)
        self.addresses[layer, part, first] = sum(t.words for t in self.tiles)
        self.tiles.append(tile)

    def _column_order(self, layer):
        """(part, first column, columns) in the order of use: the newest vector last."""
        shape = self.network.layers[layer]
        blocks, units = shape.blocks(self.config.rows), self.config.units_per_block
        from_stream = [("x", 0, shape.inputs)]
        from_below = [("x", *tile) for tile in column_tiles(shape.inputs, blocks, units)]
        if shape.kind == "linear":
            return from_below
        own = [("h", *tile) for tile in column_tiles(shape.outputs, blocks, units)]
        return from_stream + own if layer == 0 else own + from_below

    def _load(self, image):
        emit, place = self.b.emit, self.place
        self.b.entry("load")
        emit("LOAD", beats=image.beats(self.config), comment="the whole image, resident")
        for layer, shape in enumerate(self.network.layers):
            column = 0
            for exponent, columns in shape.bias_columns:
                emit(
                    "MAC",
                    weight=self.addresses[layer, "bias", column],
                    fresh=1,
                    space=SPACE_CONSTANT,
                    operand=exponent,
                    columns=columns,
                    slots=shape.blocks(self.config.rows),
                    mask=self.mask,
                    load=1,
                    hold=int(column == 0),
                    source=place.bias_base[layer] if column else 0,
                    store=1,
                    target=place.bias_base[layer],
                    comment=f"bias of layer {layer} times 2**{exponent}",
                )
                column += columns
        emit("HALT")

    def _run(self):
        b, place, network = self.b, self.place, self.network
        b.entry("run")
        done = b.since_zero()
        b.emit("BUFFERS", count=place.x_buffers)
        for _ in b.cleared():
            for layer, shape in enumerate(network.lstm):
                self._cell(layer, shape, MODE_ZERO)
        for step in b.steps(done):
            x = step % place.x_buffers * place.x_stride
            old, new = done % 2 * place.h_total, (done + 1) % 2 * place.h_total
            spread = int(self.config.contexts > 1)
            b.emit("INPUT", target=x, elements=network.layers[0].inputs, spread=spread, wait=1, last=1)
            for layer, shape in enumerate(network.lstm):
                self._macs(layer, x, old, new)
                self._cell(layer, shape, MODE_LSTM, new, emit=int(layer == len(network.layers) - 1))
            if network.head and network.head_every_step:
                self._head(new)
        if network.head and not network.head_every_step:
            self._head(done % 2 * place.h_total)
        b.emit("HALT")

    def _head(self, newest):
        layer = len(self.network.layers) - 1
        self._macs(layer, None, None, newest)
        self._cell(layer, self.network.head, MODE_LINEAR, emit=1)

    def _macs(self, layer, x, old, new):
        """All columns of one step of a layer: x of the step, buffers of the h of the step before and of its own."""
        shape, place, config = self.network.layers[layer], self.place, self.config
        order = self._column_order(layer)
        blocks = shape.blocks(config.rows)
        sizes = [s.outputs for s in self.network.lstm]
        for position, (part, first, columns) in enumerate(order):
            fields = {
                "weight": self.addresses[layer, part, first],
                "columns": columns,
                "slots": blocks,
                "mask": self.mask,
            }
            if position == 0:
                fields |= {"load": 1, "source": place.bias_base[layer]}
            elif blocks > 1:
                fields |= {"load": 1, "source": place.work_base[layer]}
            if position == len(order) - 1:
                fields |= {"finish": 1}
            elif blocks > 1:
                fields |= {"store": 1, "target": place.work_base[layer]}
            if part == "x" and layer == 0:
                fields |= {"space": SPACE_X, "operand": x, "wait": 1, "take": 1, "free": 1}
            elif part == "h":
                fields |= {
                    "space": SPACE_H,
                    "operand": place.h_base[layer] + first + old,
                    "wait": 1,
                    "take": 1,
                }
            else:
                # The vector from below is consumed by its own layer's next step; here it is only awaited. In
                # front of it in the queue are the older vectors of the layers above and the newer ones below.
                ahead = sum(sizes[: layer - 1]) + (sum(sizes[layer + 1 :]) if shape.kind == "lstm" else 0)
                fields |= {
                    "space": SPACE_H,
                    "operand": place.h_base[layer - 1] + first + new,
                    "wait": 1,
                    "offset": ahead + first,
                }
            self.b.emit("MAC", comment=f"layer {layer}, {part} columns {first}..{first + columns - 1}", **fields)

    def _cell(self, layer, shape, mode, buffer=0, emit=0):
        fields = {"units": shape.outputs, "mask": self.mask, "mode": mode, "scale": layer, "emit": emit, "last": emit}
        if mode != MODE_LINEAR:
            fields |= {
                "state": self.place.state_base[layer],
                "state_stride": self.place.h_total,
                "target": self.place.h_base[layer] + buffer,
                "write": 1,
                "signal": 1,
            }
        self.b.emit("CELL", **fields)
