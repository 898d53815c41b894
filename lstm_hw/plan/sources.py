"""A layer whose x are several vectors, as with skips around layers: x of the network, and the h of layers below.

A tile is for one of them. Those of what has long been there are walked first, that of the layer below last.
"""

from __future__ import annotations

from dataclasses import replace

from ..machine.arrangement import OF_X
from ..machine.isa import SPACE_H, SPACE_X
from .resident_layer import ResidentLayer


class JoiningLayer(ResidentLayer):
    """The layer, whose sources are others of its planner."""

    def _x_tiles(self, width, place):
        tiles, first = {}, 0
        for source in self.layer.sources:
            whole = source.elements if source.layer == OF_X else width
            tiles[source.layer] = [
                replace(tile, first_column=first + tile.first_column)
                for tile in self.column_tiles("x", source.elements, whole)
            ]
            first += source.elements
        newest = tiles.pop(self.number - 1, [])
        return [tile for some in tiles.values() for tile in some], newest

    def _is_of_x(self, tile):
        return tile.part == "x" and self.layer.source_of(tile.first_column)[0].layer == OF_X

    def _x_vector(self, tile, step, column, number):
        source, first = self.layer.source_of(column)
        column -= first
        if source.layer == OF_X:  # the first layer has waited for it
            free = int(tile is self.last_x and self.frees_x)
            return {"space": SPACE_X, "operand": self.source.x_at(step) + column, "free": free}
        offset = self.tokens_to[source.layer] - source.elements + column
        operand = self.planner.layers[source.layer].h_before(number + 1) + column
        return {"space": SPACE_H, "operand": operand, "wait": 1, "offset": offset}

    def _lift(self, tile):
        if tile.part != "x":
            return super()._lift(tile)
        return self.config.lift_of(self.layer.source_of(tile.first_column)[0].lift)
