"""Stacked LSTM layers and a linear head in one program: x in, outputs of the last one out, h in between on the chip.

Layers take turns inside the loop of time steps or, with a batch, of batches (:mod:`lstm_hw.plan.layer`). A planner is a
subclass of :class:`StackPlanner` that says what the layers of its schedule are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import SPACE_H, VECTORS_BITS
from ..machine.layout import Image
from ..machine.limits import PLACES
from ..machine.network import Network
from ..machine.plan import Plan
from .head import HeadLayer
from .layer import Frame, StreamedLayer, words_of
from .registers import program
from .sums import as_sum
from .tree import Loops

SPLITS = (
    "no columns are split but of the last of several row blocks of an LSTM or GRU layer with all weights on chip, "
    f"whose rows fit a part of the lanes, and whose columns are at most {PLACES}"
)
"""What an engine that splits columns is for."""


class TooSmall(ConfigError):
    """An engine has memories that are not deep enough for a schedule.

    Parameters
    ----------
    lacking : dict of str to (int, int)
        Field of the engine -> entries that it has, and that the schedule needs.
    batch, sequences : int
        Of the schedule.
    """

    def __init__(self, lacking: dict[str, tuple[int, int]], batch: int, sequences: int) -> None:
        self.lacking, self.batch, self.sequences = lacking, batch, sequences
        (field, (found, need)), *others = lacking.items()
        more = "".join(f", and engine.{field}, which is {found}, at least {need}" for field, (found, need) in others)
        super().__init__(f"engine.{field}", found, f"must be at least {need} for this schedule{more}")


class StackPlanner:
    """Makes the plan of a stack.

    Parameters
    ----------
    network : Network
        LSTM layers, and possibly a head.
    config : EngineConfig
    batch : int
        Steps of a frame.

    Raises
    ------
    ConfigError
        Something does not fit; the message names the field and what it needs.
    """

    name = "stack"
    layer: Callable[..., StreamedLayer]
    """A layer under the schedule, made of its planner, shape and number."""
    head: Callable[..., StreamedLayer] = HeadLayer
    """The linear layers as one, made of the planner, their shapes, and the number of the first of them."""
    takes: tuple[str, ...] = ()
    """Those of :attr:`Network.traits` that a model may have."""
    asks: tuple[str, ...] = ()
    """... and those that it must have."""
    least_batch = 1
    """Fewest steps of a frame."""
    decodes = False
    """Whether weights stream in the form of the engine's decoder."""
    answers = False
    """Whether the last layer's frame gives the outputs of a head at every step, whose words then stay on chip."""

    def __init__(self, network: Network, config: EngineConfig, batch: int = 1) -> None:
        if refused := self.refuses(network):
            raise ConfigError("plan.schedule", f"{self.name!r} for a model {refused}", "must be one that is for it")
        if lacking := [(field, what) for field, what in self._means(network) if not getattr(config, field)]:
            (field, what), *others = lacking
            more = "".join(f", and engine.{field} for {what}" for field, what in others)
            raise ConfigError(f"engine.{field}", False, f"must be true for {what}{more}")
        if batch < self.least_batch:
            raise ConfigError("batch", batch, f"must be at least {self.least_batch}")
        self.network, self.config, self.batch, self.b = network, config, batch, Loops()
        self.layers = tuple(self.layer(self, shape, number) for number, shape in enumerate(network.recurrent))
        self.heads = tuple(self._heads(network.linear, len(self.layers))) if network.head else ()
        self.heads_behind = () if network.head_every_step else self.heads  # behind the last step
        gathers = self.heads_behind[: int(network.gathers)]  # its sums grow with every step
        self.round = (*self.layers, *gathers) if self.heads_behind or self.answers else self.all
        self.layers[0].before = self.round[-1]
        for below, layer in pairwise(self.all):
            layer.before = layer.below = below
            below.projection = layer if below.layer.projected else None
        for layer in self.all:
            layer.last, layer.sends = layer is self.round[-1], layer is self.all[-1]
        if config.split > 1 and not any(tile.split > 1 for layer in self.layers for tile in layer.resident):
            raise ConfigError("engine.split", config.split, f"must be 1: {SPLITS}")
        self._place()

    @classmethod
    def refuses(cls, network: Network) -> str:
        """What a model has or lacks for which the schedule is not made, in words; empty if it is for it."""
        found = [f"with {trait}" for trait in network.traits if trait not in (*cls.takes, *cls.asks)]
        return " and ".join([*found, *(f"without {trait}" for trait in cls.asks if trait not in network.traits)])

    @staticmethod
    def _means(network):
        """What a model needs of an engine beside memories: (field, and for what)."""
        if network.has_chain:
            plain = [shape for shape in network.layers if not shape.is_cell]
            what = "plain and linear" if network.has_plain else "linear"
            yield "chains", f"{len(plain)} {what} layers with {', '.join(shape.activation for shape in plain)}"
        if network.has_peepholes:
            yield "peepholes", "LSTM layers with peepholes"
        if network.reset_before:
            yield "reset_before", "a GRU that resets h before its product"
        if any(layer.activation == "elu" for layer in network.layers):
            yield "elu", "a linear layer with elu"

    @property
    def all(self) -> tuple[StreamedLayer, ...]:
        return (*self.layers, *self.heads)

    def reads_all(self, number: int) -> bool:
        """Whether somebody reads the h of all steps of a frame behind a layer."""
        return number < len(self.network.recurrent) - 1 or self.network.head_every_step

    def _heads(self, shapes, number):
        """What the linear layers are under the schedule, the first of which has a number."""
        return [self.head(self, shapes, number)]

    def _place(self):
        """Every layer's part of each memory; what is shared must be large enough for each of them."""
        try:
            self._divide()
        except ConfigError:
            stays = self.answers and self.network.head_every_step
            if not self.heads or not isinstance(self.heads[0], HeadLayer) or self.heads[0].streamed or stays:
                raise
            self.heads[0].stream()
            self._divide()

    def _divide(self):
        config = self.config
        resident = sum(words_of(layer.resident) for layer in self.all)
        base = {"accumulators": 1, "h_elements": 0, "states": 0}
        for layer in self.all:
            layer.fit(config.weight_words - resident)
            layer.sums, layer.h, layer.c = base.values()
            layer.x = layer.below.h if layer.below else 0
            base = {memory: first + layer.own.get(memory, 0) for memory, first in base.items()}
        shared = ("finish_entries", "ring", *base)
        most = {name: max(layer.shared.get(name, 0) for layer in self.all) for name in shared}
        self.resident = resident
        for layer in self.all:
            layer.turn, layer.scratch = base["h_elements"], base["states"]
            if "accumulators" in layer.shared:
                layer.sums = base["accumulators"]
        base["h_elements"] *= self.layers[0].h_buffers
        for layer in self.all:
            if layer.aside:
                layer.h, base["h_elements"] = base["h_elements"], base["h_elements"] + layer.aside
        x_elements = self.layers[0].shared["x_elements"]
        needs = {"weight_words": resident + most.pop("ring"), "x_elements": x_elements, **most}
        self.needs = {field: need + base.get(field, 0) for field, need in needs.items()}
        found = ((field, getattr(config, field), need) for field, need in self.needs.items())
        if lacking := {field: (has, need) for field, has, need in found if has < need}:
            raise TooSmall(lacking, self.batch, self.layers[0].sequences)

    def _kept(self):
        """Resident tiles in the order of memory."""
        return [tile for layer in self.all for tile in layer.resident]

    def _image(self):
        return Image((*self._kept(), *(tile for layer in self.all for tile in layer.streamed)))

    def plan(self) -> Plan:
        """The plan; ProgramError when the program is too long."""
        first, image = self.layers[0], self._image()
        address = dict(zip(image.tiles, image.offsets, strict=True))
        for layer in self.all:
            layer.address = address
        if self.config.decoder != "off" and not self.decodes and any(layer.streamed for layer in self.all):
            rule = f"must be off for the schedule {self.name}: its weights stream as they are"
            raise ConfigError("engine.decoder", repr(self.config.decoder), rule)
        most = (1 << VECTORS_BITS) - 1
        if first.buffers > most:
            raise ConfigError(
                "batch", self.batch, f"must be smaller: {first.buffers} vectors of x wait, and {most} can"
            )
        if self.resident:
            self._load()
        self._run()
        return Plan(
            self.config,
            self.network,
            self.name,
            program(self.b, self.config.program_length),
            image,
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
        if any(layer.streamed for layer in self.all):
            b.emit("RING", base=self.resident)
        b.emit("BUFFERS", count=first.buffers)
        for layer in self.all:
            layer.begin()
        for _ in b.cleared():
            self._zero(self.all, sum(first.before.tail))
        if self.batch == 1:
            self._steps(shared)
        else:
            self._batches()

    def _zero(self, layers, tail):
        """The state that layers begin from, with so many tokens as of a step before."""
        for layer in layers:
            layer.prime()
        tokens = sum(layer.zero() for layer in layers)
        self.b.await_tokens(SPACE_H, tokens - tail)

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
        if self.batch == 1:
            yield as_sum(0), 0
            return
        b, later = self.b, layer.counted(count)
        for step in b.each(count, counts=layer.done):
            b.advance(later, -1)
            yield step, later

    def _first_frame(self):
        """LOADs and x of a run's first frame; there is one at least."""
        self._ahead(as_sum(0))
        if self.batch > 1:
            self.layers[0].inputs(self._taken, as_sum(0))

    def _ahead(self, first):
        """LOADs of the first layer's frame, in front of them x if it is a single step."""
        if self.batch == 1:
            self.layers[0].inputs(partial(iter, (None,)), first)
        self.layers[0].ahead(first)

    def _inputs(self, after, first):
        """x of the next batch, behind the last layer; of a next step it comes with its LOADs."""
        if after is None and self.batch > 1:
            self.layers[0].inputs(self._taken, first + self.batch)

    def _following(self, after, first):
        """LOADs of the next layer; behind the last one those of the next frame, or of a head at the end."""
        if after:
            after.ahead(first)
            return
        for head in self.heads_behind:
            if head.streamed:
                for _ in self.b.unless(self.coming):
                    head.ahead()
        for _ in self.b.when(self.coming):
            self._ahead(first + self.batch)

    def _taken(self) -> Iterator[None]:
        """A step of the next batch, if there is one."""
        for _ in self.b.when(self.b.left):
            self.b.advance(self.b.left, -1)
            self.b.advance(self.coming, 1)
            yield
