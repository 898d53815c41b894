"""What the checker knows of an engine: the name of whatever each of its memories holds, and who may still read it.

A name tells which layer, sequence, step and element a value is, or which layer, part, row block and column a weight.
r*h of a GRU is named as elements of that h behind those of h itself, which is what the columns of W_h are.
"""

import numpy as np

from ..errors import ProgramError
from ..machine.isa import REGISTERS, SPACE_DELTA, SPACE_H, SPACE_X
from ..machine.limits import PLACES
from ..machine.plan import Plan

PARTS = {"x": 0, "h": 1, "bias": 2, "skip": 1, "first": 3, "prime": 4, "peephole": 5}
"""Part -> which matrix of its layer it is: a linear layer has no W_h, but perhaps one of the inputs that it skips."""
NOBODY = -(1 << 30)
"""Layer, sequence and step of a vector that nobody wrote. A sum with products of it must not be finished."""
PRIMED, MOST_STAGES = -16, 1 << 11
"""Layer of an element on the way to the state that its layer begins from: ``_primed`` tells layer and stage."""
ZERO, ANY = -2, -1
"""Layer and sequence of an element that was set to zero: it can stand for any element of the zero state."""
GARBAGE = [0, *(4999 + 613 * register for register in range(1, REGISTERS))]
"""What registers hold when a run starts from zero state: nothing that a program may rely on."""
RUN_GAP = 1 << 20
"""Distance of the step numbers of unrelated sequences."""


class Partial:
    """What an accumulator holds: products of one row block, counted a column."""

    def __init__(self):
        self.layer = self.block = self.counts = None
        self.steps = None  # that the latest change of each column was of
        self.x = self.h = self.reset = None  # (sequence, step) of the vectors multiplied so far
        self.split = False  # whether they are those of all parts together

    def clone(self) -> "Partial":
        other = Partial()
        other.layer, other.block, other.x, other.h = self.layer, self.block, self.x, self.h
        other.reset, other.split = self.reset, self.split
        other.counts = None if self.counts is None else self.counts.copy()
        other.steps = None if self.steps is None else self.steps.copy()
        return other


class Names:
    """The memories of an engine before its first run, and what each part of the checker asks of them."""

    def __init__(self, plan: Plan):
        self.plan, self.config, self.network = plan, plan.config, plan.network
        config = plan.config
        self.layers = plan.network.layers
        self.constants = [self._constants(shape) for shape in self.layers]  # part -> exponent of each column
        self.image = (
            np.concatenate([self._names(tile) for tile in plan.image.tiles])
            if plan.image.tiles
            else np.zeros((0, 4), int)
        )
        self.weights = np.full((config.weight_words, 4), -1)
        self.weight_token = np.full(config.weight_words, -1)
        self.weight_reader = np.full(config.weight_words, -1)
        # Tiles whose columns are split: (layer, part, row block, first column) -> columns.
        self.split = {
            (tile.layer, PARTS[tile.part], block, tile.first_column): tile.columns
            for tile in plan.image.tiles
            for block in range(tile.first_block, tile.first_block + tile.blocks)
            if tile.split > 1
        }
        # Tiles whose words hold kept weights: (layer, part, first column) -> (words of a row block, columns).
        self.kept = {
            (tile.layer, PARTS[tile.part], tile.first_column): (tile.kept, tile.columns)
            for tile in plan.image.tiles
            if tile.kept
        }
        self.tiles = {}  # what is known of a slot's words
        # Vector elements: (layer, sequence, step, element); x is layer -1.
        self.vectors = {
            SPACE_H: np.full((config.contexts, config.h_elements, 4), NOBODY),
            SPACE_X: np.full((config.contexts, config.x_elements, 4), NOBODY),
        }
        if config.lists:
            self.vectors[SPACE_DELTA] = np.full((config.contexts, config.h_elements, 4), NOBODY)
            self.latest = [(NOBODY,) * 3] * len(config.shifts)  # (layer, sequence, step) of each list of h
        self.token = {space: np.full(v.shape[:2], -1) for space, v in self.vectors.items()}
        self.reader = {space: np.full(v.shape[:2], -1) for space, v in self.vectors.items()}
        # Elements in the window that is in use and in the other one.
        self.windows = [np.full((config.contexts, config.window, 4), NOBODY) for _ in range(2)]
        self.window_lift = 0
        # Operands that lane groups have kept, where columns are split, and how they were lifted.
        self.passed = np.full((config.contexts, PLACES, 4), NOBODY)
        self.passed_lift = np.full(PLACES, -1)
        self.states = np.full((config.states, 4), NOBODY)
        self.peepholes = np.full((config.states, 2), NOBODY)  # (layer, unit)
        self.state_token = np.full(config.states, -1)
        self.accumulators = [
            [Partial() if entry == 0 else None for _ in range(config.contexts)] for entry in range(config.accumulators)
        ]
        self.sums = [None] * config.contexts
        self.registers = list(GARBAGE)
        self.step, self.slot, self.products = 0, 0, 0
        self.produced, self.used = {SPACE_H: 0}, {SPACE_H: 0}

    @staticmethod
    def _constants(shape):
        """Parts of a layer that meet constants, with the exponent of each column."""
        parts = {"bias": shape.bias_columns}
        if shape.peephole_columns:
            parts["peephole"] = shape.peephole_columns
        if shape.start:
            parts |= {"first": shape.start.first_columns, "prime": shape.start.prime_columns * shape.start.stages}
        return {PARTS[part]: np.repeat([e for e, _ in pairs], [c for _, c in pairs]) for part, pairs in parts.items()}

    @staticmethod
    def _names(tile):
        block, column = np.meshgrid(
            np.arange(tile.first_block, tile.first_block + tile.blocks),
            np.arange(tile.first_column, tile.first_column + tile.words_of_block),
            indexing="ij",
        )
        return np.stack(
            [np.full(block.size, tile.layer), np.full(block.size, PARTS[tile.part]), block.ravel(), column.ravel()], 1
        )

    def _fail(self, command, found, rule):
        raise ProgramError(f"program address {command.at} ({command.op})" if command else "program", found, rule)

    def _require(self, holds, command, found, rule):
        if not holds:
            self._fail(command, found, rule)

    def _produce(self, command, space, count):
        """Account for new operand tokens; the MAC unit must be able to count those that are not used."""
        self.produced[space] += count
        most = (1 << self.config.token_bits) - 1
        self._require(
            self.produced[space] - self.used[space] <= most,
            command,
            f"{self.produced[space] - self.used[space]} elements that nobody has taken",
            f"must be at most {most} of an engine with such memories",
        )

    def _columns_of(self, layer, part):
        shape = self.layers[layer]
        if part in self.constants[layer]:
            return len(self.constants[layer][part])
        return {0: shape.x_columns, 1: shape.columns - shape.x_columns}[int(part)]

    @staticmethod
    def _primed(layer, stage):
        """Name of an element behind so many stages from zero state."""
        return PRIMED - MOST_STAGES * layer - stage

    def _initial(self, layer):
        """Name of an element of the c that a layer begins from."""
        start = self.layers[layer].start
        return self._primed(layer, start.repeats + 1) if start and start.stages else ZERO
