"""What the checker asks of operands that lanes pick from windows, or that lane groups kept as they passed: which
elements they find there, and that they had been waited for."""

import numpy as np

from ..machine.isa import SPACE_CONSTANT
from ..machine.limits import GATES, PLACES
from .names import NOBODY, ZERO, Names


class Windows(Names):
    """Windows that a MAC fills, and from which another multiplies."""

    def _picks(self, command):
        """What a MAC picks or keeps must be what its engine can."""
        if self.config.split > 1:
            found = f"gather {command.gather} with fill {command.fill}"
            places = command.fill >= PLACES and command.fill + self._passing(command) <= 2 * PLACES
            self._require(
                places or not (command.fill or command.gather), command, found, f"must name some of {PLACES} places"
            )
            first = command.fill % self.config.split == 0 and command.slots == 1 and not command.wait
            rule = "must begin with the first part, be of one row block, and wait for nothing"
            self._require(first or not command.gather, command, found, rule)
            return
        self._require(
            (self.config.window or not command.gather) and (command.gather or not command.fill),
            command,
            f"gather {command.gather} with fill {command.fill}",
            "must be of an engine with windows, which only a MAC with gather fills",
        )

    def _passing(self, command):
        """Places that a MAC keeps operands at, or multiplies those of."""
        return command.columns * (self.config.split if command.gather else 1)

    def _keep(self, command):
        """Operands of the first slot pass the lane groups, which keep them."""
        if command.gather or not command.fill:
            return
        where = slice(command.operand, command.operand + command.columns)
        places = slice(command.fill - PLACES, command.fill - PLACES + command.columns)
        self._require(command.space != SPACE_CONSTANT, command, "constants that are kept", "must be of x or h")
        for k in range(self.config.contexts):
            bank = (k + command.rotate) % self.config.contexts
            names, tokens = self.vectors[command.space][bank, where], self.token[command.space][bank, where]
            known = (tokens < self.guaranteed[command.space])[:, None]
            self.passed[k, places] = np.where(known, names, NOBODY - 1)
        self.passed_lift[places] = command.lift

    def _split_tile(self, command, words):
        """Words and columns of a tile whose columns are split, the words of a slot; (0, 0) if it is another."""
        layer, part, block, first = words[0]
        columns = self.split.get((layer, part, block, first), 0)
        if columns:
            shape, rows = self.layers[layer], self.config.part_rows
            left = (shape.outputs * (GATES if shape.is_cell else 1)) - block * self.config.rows
            found = f"{left} rows of row block {block} of layer {layer}"
            self._require(left <= rows, command, found, f"must be at most the {rows} of a part where columns are split")
        return -(-columns // self.config.split), columns

    def _fill(self, command, count):
        """Elements go from the vector memory to the other window, which then is the one in use."""
        most = min(count, self.config.window)
        self._require(
            command.fill <= most, command, f"{command.fill} elements to fill", f"must be {most} at most: one a column"
        )
        if not command.fill:
            self._require(not command.wait, command, "wait without elements to fill", "must not be together")
            return
        self.windows.reverse()
        where = slice(command.operand, command.operand + command.fill)
        space = command.space
        self._require(space != SPACE_CONSTANT, command, "a window of constants", "must be of x or h")
        for k in range(self.config.contexts):
            bank = (k + command.rotate) % self.config.contexts
            names, tokens = self.vectors[space][bank, where], self.token[space][bank, where]
            self._require(
                len(names) == command.fill,
                command,
                f"operands up to {where.stop - 1}",
                f"must stay below {self.vectors[space].shape[1]}",
            )
            # What is not there yet is not known: the names of elements that a MAC multiplies must be.
            known = (tokens < self.guaranteed[space])[:, None]
            self.windows[0][k] = NOBODY
            self.windows[0][k, : command.fill] = np.where(known, names, NOBODY - 1)
            self.reader[space][bank, where] = self.slot - 1
        self.window_lift = command.lift

    def _gathered(self, command, k, columns):
        """(layer, sequence, step) of the operands in the window of context k, or of those that were kept."""
        first = command.fill - PLACES if self.config.split > 1 else 0
        found = (self.passed if self.config.split > 1 else self.windows[0])[k, first : first + columns.size]
        nothing = (found[:, 0] == ZERO).all() or (found[:, 0] == NOBODY).all()
        self._require(
            nothing or (found[:, :3] == found[0, :3]).all() and (found[:, 3] == columns).all(),
            command,
            f"the window of context {k}",
            "must hold the elements that the columns multiply, all of which were waited for",
        )
        return tuple(int(v) for v in found[0, :3])

    def _gathered_lift(self, command, columns):
        """How operands that were picked had been lifted."""
        if self.config.split == 1:
            return self.window_lift
        first = command.fill - PLACES
        lifts = set(self.passed_lift[first : first + columns.size].tolist())
        self._require(len(lifts) == 1, command, f"operands with lifts {sorted(lifts)}", "must have one")
        return lifts.pop()
