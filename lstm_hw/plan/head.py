"""A linear head, or a chain of linear layers, behind the layers of a stack.

A head has the last layer's h as operands. At every step it is one more layer in the round; behind the last step it has
a place of its own. Its weights stay on chip where there is room, else they stream. In a chain of linear layers each but
the last one writes its outputs to the h memory, where they are operands of the next one as h is, and makes tokens. The
last one takes these as if nobody had made any: behind it the tokens are those of the layers' h, and all are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..machine.isa import SPACE_CONSTANT, SPACE_H, SPACE_X
from ..machine.layout import Tile
from ..machine.network import LayerShape
from .layer import Frame, StreamedLayer, digits_of, ring_words, words_of
from .sums import Sum, Value, as_sum

if TYPE_CHECKING:
    from .stack import StackPlanner


class HeadLayer(StreamedLayer):
    """The linear layers, as one: they have no h of their own.

    Parameters
    ----------
    planner : StackPlanner
    shapes : sequence of LayerShape
        The head last.
    number : int
        Of the first of them.
    """

    def __init__(self, planner: StackPlanner, shapes: Sequence[LayerShape], number: int) -> None:
        super().__init__(planner, shapes[-1], number + len(shapes) - 1)
        self.chain = [(shape, self._tiles(shape, number + n)) for n, shape in enumerate(shapes)]
        self.resident, self.streamed = tuple(tile for _, tiles in self.chain for tile in tiles), ()
        most = max(tile.blocks for tile in self.resident)
        self.shared = {"finish_entries": most, "accumulators": most if most > 1 else 0}
        self.own = {"h_elements": sum(shape.outputs for shape in shapes[:-1])}

    def _tiles(self, shape, number):
        """Of a linear layer, in the order in which they are used."""
        blocks = shape.blocks(self.config.rows)
        skip = [Tile(number, "skip", 0, blocks, 0, shape.skip)] * bool(shape.skip)
        matrix = Tile(number, "x", 0, blocks, 0, shape.inputs)
        return (*(tile for tile, _ in digits_of(number, "bias", shape.bias_columns, blocks)), *skip, matrix)

    def stream(self) -> None:
        """Its weights do not stay on chip."""
        self.resident, self.streamed = (), self.resident
        self.shared["ring"] = ring_words(words_of(self.streamed), self.config)

    def zero(self) -> int:
        return 0  # it has no state

    def ahead(self, first: Sum | None = None) -> None:
        self.load(self.streamed, "head")

    def newest_h(self, step: Sum, later: Value, number: Sum) -> Iterator[tuple[int, Value]]:
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
            x = self.planner.layers[0].x_at(frame.first + step) if self.layer.skip else 0
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

    def outputs(self, mask: int, h: Value, x: Value = 0, ahead: Value = 0) -> None:
        """Outputs of a step, for the contexts that have its h side by side, from an element on, and so its x.

        ``ahead`` are the tokens of h that nobody has taken.
        """
        word, made, vector, target = 0, 0, h, self.h
        for shape, tiles in self.chain:
            # Of the layer before in the chain, each element is waited for.
            wait = {"wait": 1, "offset": ahead + made - shape.inputs} if made else {}
            self._products(shape, tiles, mask, word, {"space": SPACE_H, "operand": vector} | wait, x)
            word += words_of(tiles)
            number = tiles[0].layer
            if number == self.number:
                self.plain_cell(shape, number, mask)
                break
            self.plain_cell(shape, number, mask, target)
            vector, made, target = target, made + shape.outputs, target + shape.outputs
        self.b.await_tokens(SPACE_H, made)

    def _products(self, shape, tiles, mask, word, vector, x):
        """All products of a linear layer, whose words are at ``word`` in the ring if they stream."""
        digits = [{"space": SPACE_CONSTANT, "operand": exponent} for exponent, _ in shape.bias_columns]
        skip, macs = [{"space": SPACE_X, "operand": x, "free": 1}] * bool(shape.skip), []
        for tile, fields in zip(tiles, (*digits, *skip, vector), strict=True):
            words = {"stream": 1, "weight": word} if self.streamed else {"weight": self.address[tile]}
            lift = 0 if tile.part == "bias" else self.config.lift_of(shape.lift(tile.part))
            macs.append(fields | words | {"lift": lift, "columns": tile.columns, "slots": tile.blocks})
            word += tile.words
        self.one_sum(mask, macs, end={"finish": 1}, entry=self.sums if tiles[0].blocks > 1 else None)
