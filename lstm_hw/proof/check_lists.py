"""What the checker asks of lists of changes, and of tests of groups of h: each of the latest vector, in order."""

import numpy as np

from ..machine.isa import SPACE_H, SPACE_X
from ..machine.limits import H_GROUP
from .names import ANY, NOBODY, ZERO, Names


class Lists(Names):
    """Groups that are tested, and lists that are walked."""

    def _judge(self, command):
        """A group of h, or an element of it or of x, is known: it is there, and so is all in front of it."""
        space, size = SPACE_X if command.of_x else SPACE_H, H_GROUP if self.config.sparse_h else 1
        where = slice(size * command.group, size * (command.group + 1))
        there = (self.vectors[space][0, where, 0] != NOBODY).any()
        self._require(there, command, f"group {command.group}", "must be one of a vector")
        token = int(self.token[space][0, where].max())
        first, elements, asked = self.judged.get(space, (0, 0, 0))
        if first <= where.start < first + elements:
            self.guaranteed[space] = max(self.guaranteed[space], token + 1)
            self.judged[space] = first, elements, max(asked, where.stop - first)
        else:
            known = token < self.guaranteed[space]
            self._require(known, command, f"group {command.group}", "must be of the latest vector, or known by then")

    def _new_groups(self, command, space, elements):
        """A vector brings new groups: those before must be known, or the sequencer could take old ones for them."""
        _, before, asked = self.judged.get(space, (0, 0, 0))
        rule = f"must be all of {before} before the next vector"
        self._require(asked >= before, command, f"{asked} elements tested", rule)
        self.judged[space] = command.target, elements, 0

    def _open_list(self, command, contexts):
        """The list must be of all columns, and the one whose length the MAC unit finds."""
        self._require(contexts and not command.stream, command, "a list", "must meet resident words, in a context")
        slots = slice(command.operand, command.operand + command.columns)
        found = self.vectors[command.space][0, slots]
        if command.space == SPACE_X:
            rule = "must be walked once, by a MAC that frees the vector"
            self._require(self.waiting and command.free and command.take, command, "a list of x", rule)
            named = -1, 0, self.waiting.popleft()
            columns = self.layers[0].inputs
        else:
            self._require(command.list < len(self.latest), command, f"list {command.list}", "must be of a layer")
            named, columns = self.latest[command.list], self.layers[command.list].outputs
            self.list_reader[command.list] = self.slot + command.slots - 1
        whole = len(found) == command.columns == columns and (found[:, :3] == named).all()
        self._require(
            whole and (found[:, 3] == np.arange(columns)).all(),
            command,
            f"a list of {command.columns} columns from element {command.operand} on",
            f"must be the latest one, of all {columns} elements",
        )

    def _close_list(self, command, slot, names):
        """The list of a CELL, which is of a whole layer, is complete with its last unit."""
        number = command.scale
        whole = (
            number < len(self.layers) and command.units == self.layers[number].outputs and names[0, 0] in (number, ZERO)
        )
        self._require(whole, command, f"a list of {command.units} units", f"must be of all units of layer {number}")
        rule = "must not be made before the MAC that walks the one before has begun"
        self._require(self.list_reader[number] <= slot, command, f"list {number} may still be waited for", rule)
        self.latest[number] = tuple(int(v) for v in names[0, :3])

    def _changes(self, command, partial, layer, part, columns, vector):
        """A list takes the sums of a layer's row block from the step before to its own."""
        wanted = -1 if layer == 0 and part == 0 else (layer if part else layer - 1)
        zero = vector[0] == ZERO
        self._require(
            (vector[0] == wanted or (zero and part)) and columns.size == command.columns,
            command,
            f"a list of layer {vector[0]} with {command.columns} columns",
            f"must be of layer {wanted}, and meet all of its columns",
        )
        kind = "h" if part else "x"
        before, (sequence, step) = getattr(partial, kind), vector[1:]
        # The first list behind zero state has changes from zero.
        start = self.first_step - (1 if part else 0) if self.clear else None
        begins = before is None and step == start and (zero or not part)
        follows = before in ((sequence, step - 1), (ANY, step - 1)) and not zero
        self._require(
            begins or follows, command, f"changes of step {step} added to {before}", "must be of the step behind"
        )
        setattr(partial, kind, vector[1:])

    def _column_changes(self, command, partial, layer, part, columns, vector):
        """Columns of a layer's row block go from the step before to that of the vector."""
        zero = vector[0] == ZERO
        wanted = layer if part else layer - 1
        self._require(
            vector[0] == wanted or (zero and part), command, f"changes of layer {vector[0]}", f"must be of {wanted}"
        )
        if partial.steps is None:
            partial.steps = np.full(len(partial.counts), NOBODY)
        kind, step = "h" if part else "x", vector[2]
        where = columns + (self.layers[layer].inputs if part else 0)
        begins = self.clear and step == self.first_step - (1 if part else 0) and (zero or not part)
        before = NOBODY if begins else step - 1
        self._require(
            (partial.steps[where] == before).all(),
            command,
            f"changes of step {step} added to {partial.steps[where].tolist()}",
            "must be of the step behind",
        )
        partial.steps[where] = step
        setattr(partial, kind, vector[1:])
