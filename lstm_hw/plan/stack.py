"""Stacked LSTM layers and a linear head in one program: x in, outputs of the last one out, h in between on the chip.

Layers take turns inside the loop of time steps or, with a batch, of batches (:mod:`lstm_hw.plan.layer`). A planner is a
subclass of :class:`StackPlanner` that says what the layers of its schedule are.

A head has the last layer's h as operands. At every step it is one more layer in the round; behind the last step it has
a place of its own. Its weights stay on chip where there is room, else they stream. In a chain of linear layers each but
the last one writes its outputs to the h memory, where they are operands of the next one as h is, and makes tokens. The
last one takes these as if nobody had made any: behind it the tokens are those of the layers' h, and all are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import SPACE_CONSTANT, SPACE_H, SPACE_X
from ..machine.layout import Image, Tile
from ..machine.network import LayerShape, Network
from ..machine.plan import Plan
from .layer import Frame, StreamedLayer, bias_tiles, ring_words, words_of
from .registers import program
from .sums import Sum, as_sum
from .tree import Loops


@dataclass(frozen=True)
class Linear:
    """A linear layer of a chain, with its tiles in the order in which they are used."""

    shape: LayerShape
    number: int
    blocks: int
    tiles: tuple[Tile, ...]

    @classmethod
    def of(cls, shape: LayerShape, number: int, config: EngineConfig) -> Linear:
        blocks = shape.blocks(config.rows)
        skip = [Tile(number, "skip", 0, blocks, 0, shape.skip)] * bool(shape.skip)
        matrix = Tile(number, "x", 0, blocks, 0, shape.inputs)
        return cls(shape, number, blocks, (*bias_tiles(shape, number, 0, blocks), *skip, matrix))


class HeadLayer(StreamedLayer):
    """The linear layers, as one: they have no h of their own.

    Parameters
    ----------
    shapes : sequence of LayerShape
        The head last.
    number : int
        Of the first of them.
    """

    def __init__(self, shapes: Sequence[LayerShape], number: int, config: EngineConfig, batch: int) -> None:
        super().__init__(shapes[-1], number + len(shapes) - 1, config, batch)
        self.chain = [Linear.of(shape, number + n, config) for n, shape in enumerate(shapes)]
        self.tiles = tuple(tile for linear in self.chain for tile in linear.tiles)
        self.resident, self.streamed = self.tiles, ()
        most = max(linear.blocks for linear in self.chain)
        self.shared = {"finish_entries": most, "accumulators": most if most > 1 else 0}
        self.own = {"h_elements": sum(shape.outputs for shape in shapes[:-1])}

    def stream(self) -> None:
        """Its weights do not stay on chip."""
        self.resident, self.streamed = (), self.tiles
        self.shared["ring"] = ring_words(words_of(self.tiles), self.config)

    def zero(self) -> int:
        return 0  # it has no state

    def ahead(self, first: Sum | None = None) -> None:
        self.load(0, words_of(self.streamed), "head")

    def newest_h(self, step: Sum, later: Sum | int, number: Sum) -> Iterator[tuple[int, Sum | int]]:
        return self.before.newest_h(step, later, number)

    def frame(self, frame: Frame) -> None:
        early = frame.count.known
        if early:
            frame.following()
        chain = len(self.chain) > 1
        if chain:  # its tokens come behind those of the whole frame's h
            self.before.settle(self)
        for step, later in frame.steps():
            for _ in self.b.unless(later):  # the h of other steps is there: their next ones waited for it
                if not early:
                    frame.inputs()
                    frame.following()
                if not chain:
                    self.before.settle(self)
            x = self.source.x_at(frame.first + step) if self.layer.skip else 0
            for mask, h in self.newest_h(step, later, self.done):
                self.outputs(mask, h, x)
        self.free_words()

    def behind_last_step(self) -> None:
        """Without taking the tokens: they belong to whoever goes on in the next run, as if it waited here."""
        self.before.settle(self.before, take=0)
        number = self.before.done - 1  # it has been counted already
        for mask, h in self.newest_h(as_sum(0), 0, number):
            self.outputs(mask, h, ahead=self.before.left(number))
        self.free_words()

    def free_words(self) -> None:
        """The words of the ring are free."""
        if self.streamed:
            self.release(words_of(self.streamed))

    def outputs(self, mask: int, h: Sum | int, x: Sum | int = 0, ahead: Sum | int = 0) -> None:
        """Outputs of a step, for the contexts that have its h side by side, from an element on, and so its x.

        ``ahead`` are the tokens of h that nobody has taken.
        """
        word, made, vector, target = 0, 0, h, self.h
        for linear in self.chain:
            # Of the layer before in the chain, each element is waited for.
            wait = {"wait": 1, "offset": ahead + made - linear.shape.inputs} if made else {}
            self._products(linear, mask, word, (SPACE_H, vector, wait), x)
            word += words_of(linear.tiles)
            if linear is self.chain[-1]:
                self.plain_cell(linear.shape, linear.number, mask)
                break
            self.plain_cell(linear.shape, linear.number, mask, target)
            vector, made, target = target, made + linear.shape.outputs, target + linear.shape.outputs
        self.b.await_tokens(SPACE_H, made)

    def _products(self, linear, mask, word, vector, x):
        """All products of a linear layer, whose words are at ``word`` in the ring if they stream."""
        keep, go_on = {}, {"load": 0}  # one sum stays in the lanes
        if linear.blocks > 1:
            keep, go_on = {"store": 1, "target": self.sums}, {"source": self.sums}
        shape, start = linear.shape, {"hold": 1}
        skip = [(SPACE_X, x, {"free": 1})] * bool(shape.skip)
        operands = [*((SPACE_CONSTANT, exponent, {}) for exponent, _ in shape.bias_columns), *skip, vector]
        for tile, (space, operand, fields) in zip(linear.tiles, operands, strict=True):
            words = {"stream": 1, "weight": word} if self.streamed else {"weight": self.address[tile]}
            end = {"finish": 1} if tile is linear.tiles[-1] else keep
            lift = 0 if tile.part == "bias" else self.config.lift_of(shape.lift(tile.part))
            fields = words | start | end | fields | {"lift": lift}
            self.mac(mask, space=space, operand=operand, columns=tile.columns, slots=linear.blocks, **fields)
            word, start = word + tile.words, go_on


class StackPlanner:
    """Makes the plan of a stack.

    Parameters
    ----------
    network : Network
        LSTM layers, and possibly a head.
    config : EngineConfig
    make : callable (LayerShape, number) -> StreamedLayer
        A layer under the schedule of the planner.
    batch : int
        Steps of a frame.

    Raises
    ------
    ConfigError
        Something does not fit; the message names the field and what it needs.
    """

    name = "stack"
    sparse_h = False
    """Whether it leaves out columns of W_h whose group of h is nearly zero."""
    lists = False
    """Whether it is for models with thresholds, whose x and h reach the lanes as lists."""
    primes = False
    """Whether layers may begin from another state than zero."""
    plain = False
    """Whether plain layers may be among the recurrent ones."""
    decodes = False
    """Whether weights stream in the form of the engine's decoder."""

    def __init__(self, network: Network, config: EngineConfig, make: Callable, batch: int = 1) -> None:
        if bool(network.thresholds) != self.lists:
            rule = f"must be {'with' if self.lists else 'without'} thresholds for this schedule"
            raise ConfigError("plan.schedule", f"{self.name!r} for a model {'without' if self.lists else 'with'}", rule)
        if network.has_chain and not config.chains:
            plain = [shape for shape in network.layers if not shape.is_cell]
            what = "plain and linear" if network.has_plain else "linear"
            found = f"{len(plain)} {what} layers with {', '.join(shape.activation for shape in plain)}"
            raise ConfigError("engine.chains", config.chains, f"must be true for {found}")
        if any(layer.activation == "elu" for layer in network.layers) and not config.elu:
            raise ConfigError("engine.elu", config.elu, "must be true for a linear layer with elu")
        if network.has_plain and not self.plain:
            found = f"{self.name!r} for a model of {', '.join(shape.kind for shape in network.layers)} layers"
            raise ConfigError("plan.schedule", found, "must be resident, which alone has plain layers")
        if network.sparse_h and not self.sparse_h:
            rule = "must be one that can leave out groups of h"
            raise ConfigError("plan.schedule", f"{self.name!r} for a model with sparse_h", rule)
        if network.starts and not self.primes:
            found, rule = (
                f"{self.name!r} for a model with an initial state",
                "must be resident, which alone begins from one",
            )
            raise ConfigError("plan.schedule", found, rule)
        self.network, self.config, self.batch, self.b = network, config, batch, Loops()
        self.layers = tuple(make(shape, number) for number, shape in enumerate(network.recurrent))
        self.heads = tuple(self._heads(network.linear, len(self.layers))) if network.head else ()
        self.heads_behind = () if network.head_every_step else self.heads  # behind the last step
        self.round = self.layers if self.heads_behind else self.all
        for before, layer in zip((self.round[-1], *self.round[:-1]), self.round, strict=True):
            layer.before, layer.last, layer.sends = before, layer is self.round[-1], False
        for below, layer in pairwise(self.layers):
            layer.below = below
            below.projection = layer if below.layer.projected else None
        self.all[-1].sends = True
        for below, head in pairwise((self.layers[-1], *self.heads)):
            head.before = head.below = below
            head.source = self.layers[0]
        if network.skip:
            self.layers[0].keeps_x = True
            self.layers[0].x_at(as_sum(0))
        self._place()

    @property
    def all(self) -> tuple[StreamedLayer, ...]:
        return (*self.layers, *self.heads)

    def reads_all(self, number: int) -> bool:
        """Whether somebody reads the h of all steps of a frame behind a layer."""
        return number < len(self.network.recurrent) - 1 or self.network.head_every_step

    def _heads(self, shapes, number):
        """What the linear layers are under the schedule, the first of which has a number."""
        return [HeadLayer(shapes, number, self.config, self.batch)]

    def _place(self):
        """Every layer's part of each memory; what is shared must be large enough for each of them."""
        try:
            self._divide()
        except ConfigError:
            if not self.heads or not isinstance(self.heads[0], HeadLayer) or self.heads[0].streamed:
                raise
            self.heads[0].stream()
            self._divide()

    def _divide(self):
        config, first = self.config, 0
        resident = image = sum(layer.words[0] for layer in self.all)
        base = {"accumulators": 1, "h_elements": 0, "states": 0}
        for layer in self.all:
            layer.b = self.b
            layer.fit(config.weight_words - resident)
            layer.weights, layer.image = first, image
            layer.sums, layer.h, layer.c = base.values()
            layer.x = layer.below.h if layer.below else 0
            first, image = first + layer.words[0], image + layer.words[1]
            base = {memory: first + layer.own.get(memory, 0) for memory, first in base.items()}
        shared = ("finish_entries", "ring", *base)
        most = {name: max(layer.shared.get(name, 0) for layer in self.all) for name in shared}
        self.resident = resident
        for layer in self.all:
            layer.turn, layer.scratch = base["h_elements"], base["states"]
            if "accumulators" in layer.shared:
                layer.sums = base["accumulators"]
        base["h_elements"] *= self.layers[0].h_buffers
        x_elements = self.layers[0].shared["x_elements"]
        needs = {"weight_words": resident + most.pop("ring"), "x_elements": x_elements, **most}
        self.needs = {field: need + base.get(field, 0) for field, need in needs.items()}
        for field, need in self.needs.items():
            found = getattr(config, field)
            if found < need:
                raise ConfigError(f"engine.{field}", found, f"must be at least {need} for this schedule")

    def _kept(self):
        """Resident tiles in the order of memory."""
        return [tile for layer in self.all for tile in layer.resident]

    def _image(self):
        return Image((*self._kept(), *(tile for layer in self.all for tile in layer.streamed)))

    def plan(self) -> Plan:
        """The plan; ProgramError when the program is too long."""
        first, kept = self.layers[0], self._kept()
        address = dict(zip(kept, Image(tuple(kept)).offsets, strict=True))
        for layer in self.all:
            layer.address = address
        if self.config.decoder != "off" and not self.decodes and any(layer.streamed for layer in self.all):
            rule = f"must be off for the schedule {self.name}: its weights stream as they are"
            raise ConfigError("engine.decoder", repr(self.config.decoder), rule)
        if self.resident:
            self._load()
        self._run()
        return Plan(
            self.config,
            self.network,
            self.name,
            program(self.b, self.config.program_length),
            self._image(),
            first.sequences,
            groups=first.groups,
            needs=self.needs,
            batch=self.batch,
            x_order=first.x_order,
            y_order=None if self.heads else self.layers[-1].y_order,
        )

    def _load(self):
        """The entry that brings the resident words."""
        self.b.entry("load")
        self.b.emit("LOAD", "resident words", beats=self.resident * self.config.beats_per_word)
        for layer in self.all:
            layer.loaded()
        self.b.emit("HALT")

    def _run(self):
        """The entry for time steps."""
        b, first = self.b, self.layers[0]
        b.entry("run")
        self.coming = b.left  # whether there is a next frame
        shared = b.since_zero() if self.batch == 1 else None
        for layer in self.all:
            layer.done = shared or b.since_zero()
        if any(layer.words[1] for layer in self.all):
            b.emit("RING", base=self.resident)
        b.emit("BUFFERS", count=first.buffers)
        for layer in self.all:
            layer.begin()
        for _ in b.cleared():
            tokens = sum(layer.zero() for layer in self.all)
            b.await_tokens(SPACE_H, tokens - sum(first.before.tail))
        if self.batch == 1:
            self._steps(shared)
        else:
            self._batches()

    def _steps(self, done):
        b = self.b
        self._first_frame()
        for step in b.steps(done):
            self._round(step, as_sum(1))
        self._end()

    def _batches(self):
        b = self.b
        self.coming = b.variable(0)
        self._first_frame()
        for number in b.forever():
            self._round(number, self.coming)
            for _ in b.unless(self.coming):
                self._end()

    def _end(self):
        """Behind the last step."""
        for head in self.heads_behind:
            head.behind_last_step()
        self.b.emit("HALT")

    def _round(self, number, count):
        """A frame of every layer."""
        first = number * self.batch
        for layer, after in zip(self.round, (*self.round[1:], None), strict=True):
            inputs, following = partial(self._inputs, after, first), partial(self._following, after, first)
            layer.frame(Frame(number, first, count, inputs, following, partial(self._steps_of, layer, count)))

    def _steps_of(self, layer, count):
        """Where a layer is the last, its ``frame.following()`` adds the steps of the next frame to the count."""
        b, later = self.b, count
        if self.batch == 1:
            yield as_sum(0), 0
            return
        if not layer.last:
            later = b.variable(0, count)
        for step in b.each(count, counts=layer.done):
            b.advance(later, -1)
            yield step, later

    def _first_frame(self):
        """LOADs and x of a run's first frame; there is one at least."""
        layer, first = self.layers[0], as_sum(0)
        if self.batch == 1:
            layer.inputs(partial(iter, (None,)), first)
        layer.ahead(first)
        if self.batch > 1:
            layer.inputs(self._taken, first)

    def _inputs(self, after, first):
        """x of the next batch, behind the last layer; of a next step it comes with its LOADs."""
        if after is None and self.batch > 1:
            self.layers[0].inputs(self._taken, first + self.batch)

    def _following(self, after, first):
        """LOADs of the next layer; behind the last one those of the next frame, or of a head at the end."""
        if after:
            after.ahead(first)
            return
        layer, first = self.layers[0], first + self.batch
        for head in self.heads_behind:
            if head.streamed:
                for _ in self.b.unless(self.coming):
                    head.ahead()
        for _ in self.b.when(self.coming):
            if self.batch == 1:
                layer.inputs(partial(iter, (None,)), first)
            layer.ahead(first)

    def _taken(self) -> Iterator[None]:
        """A step of the next batch, if there is one."""
        for _ in self.b.when(self.b.left):
            self.b.advance(self.b.left, -1)
            self.b.advance(self.coming, 1)
            yield
