"""Row blocks that walk W_h one after the other, where lanes wait for h longer if all walk it side by side.

Which order is the quickest a short model of a step tells, in which lanes wait for tokens of h and for their own sums.
"""

from __future__ import annotations

from ..machine.latency import FINISH_DELAY, HAZARD_COLUMNS, CellLatency
from ..machine.layout import Tile
from ..machine.limits import SERIAL_SLOTS
from .layer import StreamedLayer

SETTLED_STEPS = 8
"""Steps behind which their cycles are the same, or take turns."""
SLACK = 2
"""Cycles by which the short model of a step may be wrong."""
MOST_ORDERS = 65
"""Orders that are tried."""


def in_turn(layer: StreamedLayer, side_by_side: list[Tile], behind: list[Tile]) -> list[Tile]:
    """Tiles of W_h of each row block by itself, in an order in which lanes wait less for h than they do where all
    walk ``side_by_side``, if there is one: these otherwise. ``behind`` them are those of a row block whose columns are
    split, if there is one.

    The first row block is finished as soon as can be. In front of its last columns, which meet the h of the last
    row block, stand a few of the second one, for which lanes have time until that is there.

    Of numbers of these that the model finds equally quick, the smallest and the largest ones are next to those where
    lanes wait, and the fewer they are the sooner is the first row block finished: one at a quarter of them it is.
    """
    blocks = layer.blocks - bool(behind)
    columns, older = layer.layer.h_columns, (layer.blocks - 1) * layer.units
    least = blocks * (layer.layer.inputs + columns) + sum(tile.words for tile in behind)
    enough = _period(layer, side_by_side + behind) - SLACK
    if blocks == 1 or enough <= least:
        return side_by_side
    orders: dict[float, list[list[Tile]]] = {}
    for ahead in range(0, older + 1, -(-older // MOST_ORDERS)):
        pieces = [(0, 0, older), (1, 0, ahead), (0, older, columns), (1, ahead, columns)]
        pieces += [(block, 0, columns) for block in range(2, blocks)]
        tiles = [Tile(layer.number, "h", block, 1, first, end - first) for block, first, end in pieces if end > first]
        orders.setdefault(_period(layer, tiles + behind), []).append(tiles)
    alike = orders[min(orders)]
    return alike[len(alike) // 4] if min(orders) < enough else side_by_side


def _period(layer, tiles):
    """Cycles from a step to the next one, about, in which W_h is walked in such an order, behind x."""
    per_unit = SERIAL_SLOTS * layer.config.contexts / layer.config.cells
    cell = CellLatency(layer.config)
    latency = FINISH_DELAY + cell.total + cell.token
    walking = len({tile.first_block + slot for tile in tiles if tile.split == 1 for slot in range(tile.blocks)})
    arrives, units, ends = [0] * layer.blocks, [layer.units] * (layer.blocks - 1) + [layer.newest], [0]
    for _ in range(SETTLED_STEPS):
        now, finished, latest = ends[-1] + walking * layer.layer.inputs, {}, None
        for tile in tiles:
            if tile.split > 1:  # of operands that have passed
                now = finished[tile.first_block] = now + tile.words
                continue
            if latest != (tile.first_block, tile.blocks) or tile.blocks > 1:  # its sums are not in the lanes
                now = max(now, finished.get(tile.first_block, 0) + HAZARD_COLUMNS - 1)
            latest = tile.first_block, tile.blocks
            for block in range(tile.first_column // layer.units, layer.blocks):
                first = max(tile.first_column - block * layer.units, 0)
                end = min(tile.first_column + tile.columns - block * layer.units, units[block])
                if end > first:  # columns that meet the h of a row block
                    there = [arrives[block] + per_unit * unit for unit in (first, end - 1)]
                    now = max(max(now, there[0]) + end - first, there[1] + 1)
            for slot in range(tile.blocks):
                now += tile.columns * (slot > 0)
                finished[tile.first_block + slot] = now
        starts = 0
        for block, cycle in finished.items():
            starts = max(starts, cycle)
            arrives[block], starts = starts + latency, starts + per_unit * units[block]
        ends.append(now)
    return (ends[-1] - ends[-1 - SETTLED_STEPS // 2]) / (SETTLED_STEPS // 2)
