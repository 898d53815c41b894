"""Cell fusion: W_x serves the x products of a batch of time steps while W_h serves the steps before them.

Shi et al., "E-LSTM: Efficient Inference of Sparse LSTM on Embedded Heterogeneous System", DAC 2019, here
for dense weights. A word of W_x is held while it is multiplied by x of G time steps, and for that time memory is
free for words of W_h, which a single sequence uses once. So the two are interleaved: the G steps of a batch
go through W_h row block after row block, and in front of each row block comes a chunk of W_x for the G
steps of the *next* batch. Over a batch the time is that of the lanes or that of the memory, whichever is
longer, not the time of a phase bound by lanes plus that of a phase bound by memory.

K contexts form the x products of K steps side by side; step t of a batch is in context t mod K, with its h in
bank t mod K. Row block r of step g of a batch goes with columns g * chunk .. (g + 1) * chunk - 1 of W_x's
row block r. What is left of the columns is multiplied when the next batch's sums are started.
"""

from __future__ import annotations

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import MODE_ZERO, SPACE_H, SPACE_X
from ..machine.layout import Image, Tile
from ..machine.network import LayerShape, Network
from ..machine.plan import Plan
from .layer import ResidentBias, ring_words, words_of
from .registers import program
from .sums import Sum
from .tree import Loops


class FusionLayer(ResidentBias):
    """A layer whose x products are formed a batch ahead."""

    def __init__(self, shape: LayerShape, number: int, config: EngineConfig, batch: int) -> None:
        super().__init__(shape, number, config, batch)
        blocks, contexts = self.blocks, config.contexts
        self.sequences, self.contexts = 1, contexts
        self.sets = batch // contexts  # accumulator entries a row block and batch
        self.chunk, self.rest = divmod(shape.inputs, batch)
        self.stride = -(-shape.inputs // config.x_per_beat) * config.x_per_beat
        self.everyone, self.newest_context = (1 << contexts) - 1, 1 << contexts - 1
        rest = Tile(number, "x", 0, blocks, batch * self.chunk, self.rest)
        chunks = [
            Tile(number, "x", row, 1, step * self.chunk, self.chunk) for step in range(batch) for row in range(blocks)
        ]
        hidden = Tile(number, "h", 0, blocks, 0, shape.outputs)
        self.resident, self.streamed = tuple(self.bias_tiles()), (rest, *chunks, hidden)
        self.rest_words, self.x_words = rest.words, rest.words + words_of(chunks)
        self.own = {
            "accumulators": 2 * self.sets * blocks,
            "h_elements": shape.outputs,
            "states": shape.outputs,
            "x_elements": 2 * self.sets * self.stride,
            "finish_entries": 2,
        }
        self.ring = ring_words(max(self.rest_words, self.chunk, shape.outputs), config)

    # Where things are: batches take turns

    def sums_of(self, batch: Sum, at: Sum | int) -> Sum:
        """First accumulator entry of K steps of a batch."""
        return self.sums + batch % 2 * (self.sets * self.blocks) + at * self.blocks

    def x_of(self, batch: Sum, at: Sum | int) -> Sum:
        """First element of their x."""
        return batch % 2 * (self.sets * self.stride) + at * self.stride

    def zero(self) -> None:
        length = self.layer.outputs
        fields = {"mask": self.newest_context, "mode": MODE_ZERO, "state": self.c, "target": self.h}
        self.b.emit("CELL", units=length, write=1, signal=1, **fields)

    def inputs(self, batch: Sum) -> None:
        """Take x of a batch."""
        for at in self.b.each(self.sets):
            for bank in range(self.contexts):
                x = self.x_of(batch, at)
                self.b.emit("INPUT", bank=bank, target=x, elements=self.layer.inputs, wait=1, last=1)

    # x products

    def start(self, batch: Sum) -> None:
        """Sums of a batch: bias and what is left of W_x's columns."""
        b = self.b
        for at in b.each(self.sets):
            self.start_sums(self.everyone, self.sums_of(batch, at) - self.sums, finish=False)
        for _ in b.each(self.batch):
            b.await_tokens(SPACE_X, self.layer.inputs)
        if self.rest:
            self._x_products(batch, 0, self.batch * self.chunk, columns=self.rest, slots=self.blocks)

    def alone(self, batch: Sum) -> None:
        """All x products of a batch: nothing else can be done meanwhile."""
        self.start(batch)
        for step in self.b.each(self.batch * bool(self.chunk)):
            for row in self.b.each(self.blocks):
                self._x_products(batch, row, step * self.chunk, columns=self.chunk)
        self.end()

    def end(self) -> None:
        """All of W_x has been used for a batch, and all of its x."""
        for _ in self.b.each(self.batch):
            self.free_x()

    def _x_products(self, batch, row, column, **fields):
        """Words of W_x for all steps of a batch; the last use releases them."""
        for at, last in self.b.peeled(self.sets):
            sums, x = self.sums_of(batch, at) + row, self.x_of(batch, at) + column
            ring = {"stream": 1, "release": int(last)}
            self.mac(self.everyone, space=SPACE_X, operand=x, source=sums, store=1, target=sums, **ring, **fields)

    # Steps

    def steps(self, batch: Sum, fused: bool) -> None:
        """The steps of a batch on W_h, with the x products of the next batch if they are ``fused``."""
        b, fused, length = self.b, fused and self.chunk > 0, self.layer.outputs
        for at in b.each(self.sets):
            for context in range(self.contexts):
                step = at * self.contexts + context
                for row in b.each(self.blocks):
                    if fused:
                        chunk = (step * self.blocks + row) * self.chunk
                        self.load(self.rest_words + chunk, self.chunk)
                    self.load(self.x_words + row * length, length)
                    if fused:
                        self._x_products(batch + 1, row, step * self.chunk, columns=self.chunk)
                    self.mac(
                        1 << context,
                        space=SPACE_H,
                        operand=self.h,
                        rotate=self.contexts - 1,
                        columns=length,
                        source=self.sums_of(batch, at) + row,
                        finish=1,
                        stream=1,
                        release=1,
                        wait=1,
                    )
                    self._units(1 << context, row)
                b.await_tokens(SPACE_H, length)

    def _units(self, mask, row):
        unit = row * self.units
        self.cell(mask, row, state=self.c + unit, target=self.h + unit)


class FusionPlanner:
    """Emits the ``load`` and ``run`` entries for one LSTM layer and one sequence.

    Outputs leave in packets of one row block each, step by step.

    Parameters
    ----------
    network : Network
        One LSTM layer.
    config : EngineConfig
        At least two contexts.
    steps : int
        Time steps of every run, a multiple of ``batch``.
    batch : int
        G, time steps that share a fetch of W_x, a multiple of the contexts.

    Raises
    ------
    ConfigError
        Something does not fit; the message names the field and what it needs.
    """

    name = "fusion"

    def __init__(self, network: Network, config: EngineConfig, steps: int, batch: int) -> None:
        if len(network.layers) != 1:
            rule = "must be a single LSTM layer for this schedule; sbe shares fetches of W_x for stacked layers"
            raise ConfigError("network", f"{len(network.layers)} layers", rule)
        if config.contexts < 2:
            raise ConfigError("engine.contexts", config.contexts, "must be at least 2: h of two steps at a time")
        if batch < 1 or batch % config.contexts:
            raise ConfigError("batch", batch, f"must be a multiple of the {config.contexts} contexts")
        if steps < 1 or steps % batch:
            raise ConfigError("steps", steps, f"must be a multiple of the batch of {batch}; sbe takes any number")
        self.network, self.config, self.steps, self.batch, self.b = network, config, steps, batch, Loops()
        self.layer = layer = FusionLayer(network.layers[0], 0, config, batch)
        layer.b, self.resident = self.b, words_of(layer.resident)
        layer.weights, layer.image, layer.sums, layer.h, layer.c = 0, self.resident, 1, 0, 0
        self.image = Image((*layer.resident, *layer.streamed))
        self.needs = {
            "weight_words": self.resident + layer.ring,
            **layer.own,
            "accumulators": 1 + layer.own["accumulators"],
        }
        for field, need in self.needs.items():
            if getattr(config, field) < need:
                found = getattr(config, field)
                raise ConfigError(f"engine.{field}", found, f"must be at least {need} for this schedule")

    def plan(self) -> Plan:
        """The plan; ProgramError when the program is too long."""
        b, layer, batches = self.b, self.layer, self.steps // self.batch
        b.entry("load")
        b.emit("LOAD", "resident words", beats=self.resident * self.config.beats_per_word)
        b.emit("HALT")
        b.entry("run")
        b.emit("RING", base=self.resident)
        b.emit("BUFFERS", count=2 * self.batch)
        for _ in b.cleared():
            layer.zero()
        layer.inputs(Sum(0))
        layer.load(0, layer.x_words, "W_x for the first batch")
        if batches > 1:
            layer.inputs(Sum(1))
        layer.alone(Sum(0))
        for batch in b.each(batches - 1):
            layer.load(0, layer.rest_words, "what is left of W_x")
            layer.start(batch + 1)
            for _ in b.when(batches - 2 - batch):
                layer.inputs(batch + 2)
            layer.steps(batch, fused=True)
            layer.end()
        layer.steps(Sum(batches - 1), fused=False)
        b.emit("HALT")
        return Plan(
            self.config,
            self.network,
            self.name,
            program(b, self.config.program_length),
            self.image,
            steps=self.steps,
            needs=self.needs,
            y_order=layer.y_order,
        )
