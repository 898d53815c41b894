"""The checker: proves about a program, without arithmetic, that it computes the network.

It executes commands in program order on *names* instead of numbers: every weight word knows which
layer, part, row block and column it is, every operand which vector, step and element, every
accumulator which products it holds. It proves that

- every finished row block holds each product of its step exactly once, and nothing else;
- nothing is read before it exists, where "exists" is what the tokens that the lanes waited for
  guarantee, not what the order of the program suggests;
- nothing is overwritten while an earlier command may still read it;
- a run from zero state needs no register that it has not set: it begins with garbage in all of them;
- no buffer holds more than it has room for, so that no unit waits for a command that cannot come;
- every output element is sent once, in order, with tlast where a vector ends.

Groups of h that are nearly zero may be left out by the program, and elements that did not change: here all are kept, so
every product must be there, and behind the test of a group its h is. Where a group is not kept, what hangs on it is not
done and nothing else changes.

A list of deltas has the name of its vector: what it leaves out did not change, which its encoder sees to. It takes a
sum from the step before to its own, so a MAC must walk the list of every vector, once, in their order.
"""

from collections import deque
from copy import copy

import numpy as np

from ..errors import ProgramError
from ..machine.command import foreign
from ..machine.config import H_GROUP, LISTS_OF_X
from ..machine.isa import ACTIVATIONS, MODE_LINEAR, MODE_ZERO, REGISTERS, SPACE_CONSTANT, SPACE_DELTA, SPACE_H, SPACE_X
from ..machine.pack import top_exponent
from ..machine.plan import Plan
from .lists import takes_changes, walks_list

PARTS = {"x": 0, "h": 1, "bias": 2, "skip": 1, "first": 3, "prime": 4}
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


def check(plan: Plan, steps: int = 3) -> int:
    """Prove a plan for a few runs: loading, a run from zero state, one that goes on, single steps.

    Parameters
    ----------
    plan : Plan
    steps : int
        Time steps of the longer runs; more than one batch at least.

    Returns
    -------
    int
        Products proved.

    Raises
    ------
    ProgramError
        Names the program address, what was found there and the rule that it breaks.
    """
    checker = Checker(plan)
    if "load" in plan.program.entries:
        checker.run("load", 0, False)
    steps = max(steps, plan.batch + 1)
    for count, clear in ((steps, True), (1, False), (steps + 1, False), (1, True), (2, True)):
        checker.run("run", count, clear)
    return checker.products


class Partial:
    """What an accumulator holds: products of one row block, counted a column."""

    def __init__(self):
        self.layer = self.block = self.counts = None
        self.steps = None  # that the latest change of each column was of
        self.x = self.h = None  # (sequence, step) of the vectors multiplied so far

    def clone(self) -> "Partial":
        other = copy(self)
        other.counts = None if self.counts is None else self.counts.copy()
        other.steps = None if self.steps is None else self.steps.copy()
        return other


class Checker:
    """Symbolic engine; :func:`check` is the way in."""

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
        # Tiles whose words hold kept weights: (layer, part, first column) -> (words of a row block, columns).
        self.kept = {
            (tile.layer, PARTS[tile.part], tile.first_column): (tile.kept, tile.columns)
            for tile in plan.image.tiles
            if tile.kept
        }
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
        self.states = np.full((config.states, 4), NOBODY)
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
        if shape.start:
            parts |= {"first": shape.start.first_columns, "prime": shape.start.prime_columns * shape.start.stages}
        return {PARTS[part]: np.repeat([e for e, _ in pairs], [c for _, c in pairs]) for part, pairs in parts.items()}

    @staticmethod
    def _names(tile):
        block, column = np.meshgrid(
            np.arange(tile.first_block, tile.first_block + tile.blocks),
            np.arange(tile.first_column, tile.first_column + (tile.kept or tile.columns)),
            indexing="ij",
        )
        return np.stack(
            [np.full(block.size, tile.layer), np.full(block.size, PARTS[tile.part]), block.ravel(), column.ravel()], 1
        )

    def run(self, entry: str, steps: int, clear: bool) -> None:
        """Check one run."""
        for at, instruction in enumerate(self.plan.program.instructions):
            lacking = foreign(instruction, self.config)
            if lacking:
                found = f"{lacking[0]} of {instruction.op}"
                raise ProgramError(f"program address {at}", found, "must be in an engine with the means for it")
        most = self.config.most_steps
        self._require(steps <= most, None, f"{steps} steps", f"must be at most {most}: engine.register_bits")
        if clear:
            self.registers = list(GARBAGE)
            self.step += RUN_GAP
            self.used[SPACE_H] = self.produced[SPACE_H] = 0
        self.clear, self.first_step, self.steps = clear, self.step, steps
        self.x_pieces = list(self.plan.streams.x_order(steps))
        self.produced[SPACE_X] = self.used[SPACE_X] = 0
        # Whatever earlier runs left can be read: they ended.
        for names in (*self.token.values(), *self.reader.values()):
            names[:] = -1
        self.weight_token[:] = self.weight_reader[:] = self.state_token[:] = -1
        for window in self.windows:
            window[:] = NOBODY
        self.guaranteed = {SPACE_H: 0, SPACE_X: 0}
        self.waiting = deque()  # steps of the lists of x that no MAC has walked
        self.list_reader = [-1] * len(self.config.shifts)
        self.fresh = self.fresh_used = 0
        self.ring, self.ring_room, self.buffers = deque(), 0, 0
        self.frees, self.x_waits, self.vector, self.input_safe = [], 0, 0, -1
        self.finished, self.emitted = deque(), []
        self.judged = {}  # groups of the latest h or x of this run that have been tested, in order
        handlers = {
            "RING": self._ring,
            "BUFFERS": self._buffers,
            "INPUT": self._input,
            "LOAD": self._load,
            "MAC": self._mac,
            "CELL": self._cell,
            "LOOP": self._judge,
        }
        for command in self.plan.program.run(entry, steps, clear, self.registers):
            if command.op != "HALT":
                handlers[command.op](command)
        self.step += steps
        self._end(entry)

    def _fail(self, command, found, rule):
        raise ProgramError(f"program address {command.at} ({command.op})" if command else "program", found, rule)

    def _require(self, holds, command, found, rule):
        if not holds:
            self._fail(command, found, rule)

    def _ring(self, command):
        self._require(
            not self.ring, command, f"{len(self.ring)} words in the ring", "must be empty when the ring is set up"
        )
        self.ring_room = self.config.weight_words - command.base

    def _buffers(self, command):
        self.buffers = command.count
        if self.config.lists:
            rule = f"must be at most {LISTS_OF_X}: so many lists may wait"
            self._require(command.count <= LISTS_OF_X, command, f"{command.count} x vectors", rule)

    def _input(self, command):
        config = self.config
        if command.wait:
            waited = self.x_waits - self.buffers
            self._require(
                waited < len(self.frees), command, "no x vector is ever free", "must follow the MAC that frees one"
            )
            # Inputs run in order: what one waited for holds for all that follow.
            self.input_safe = max(self.input_safe, self.frees[waited] if waited >= 0 else -1)
            self.x_waits += 1
        per_beat = 1 if command.spread else config.x_per_beat
        stride = -(-command.elements // per_beat) * per_beat
        for vector in range(command.repeats + 1):
            self._vector(command, slice(command.target + vector * stride, None))

    def _vector(self, command, where):
        """One vector (or piece of one) from the stream."""
        space, config = SPACE_X, self.config
        where = slice(where.start, where.start + command.elements)
        self._require(
            where.stop <= config.x_elements,
            command,
            f"x elements up to {where.stop - 1}",
            f"must stay below {config.x_elements}",
        )
        first, elements, step, sequence = self._piece(command)
        self._require(
            command.elements == elements,
            command,
            f"{command.elements} elements",
            f"must be the {elements} that come next",
        )
        self._require(
            command.spread or command.bank < config.contexts,
            command,
            f"bank {command.bank}",
            f"must stay below {config.contexts}",
        )
        banks = range(config.contexts) if command.spread else [command.bank]
        for bank in banks:
            reader = self.reader[space][bank, where].max()
            self._require(
                reader <= self.input_safe,
                command,
                f"x elements {where.start}.. may still be read",
                "must wait for the vector to be free",
            )
            names = self.vectors[space][bank, where]
            names[:, 0], names[:, 1] = -1, sequence + (bank if command.spread else 0)
            names[:, 2], names[:, 3] = self.first_step + step, first + np.arange(elements)
            if config.list_loads:
                self._new_groups(command, SPACE_X, elements)
            if config.lists:
                whole = command.wait and elements == self.layers[0].inputs
                self._require(whole, command, f"{elements} elements", "must be a whole vector, with wait")
                self.waiting.append(self.first_step + step)
            self.token[space][bank, where] = self.produced[space] + np.arange(command.elements)
        self._produce(command, space, command.elements)
        self.vector += 1

    def _piece(self, command):
        """What the x stream brings next: (first column, columns, step, sequence of the first context)."""
        side_by_side = self.config.contexts if command.spread else 1
        number, group = divmod(self.vector, self.plan.sequences // side_by_side)
        self._require(number < len(self.x_pieces), command, f"x piece {number}", f"must be of {len(self.x_pieces)}")
        step, first, columns = self.x_pieces[number]
        return first, columns, step, group * side_by_side

    def _load(self, command):
        words = self.plan.image.loaded(command, self.config)
        self._require(
            words is not None,
            command,
            f"beats {command.offset} + {command.beats}",
            "must be whole words inside the image",
        )
        first, count = words
        if command.stream:
            self._require(self.ring_room, command, "no ring", "must follow RING")
            if self.plan.image.stored:
                found = f"a segment of {count} words in {command.beats} beats"
                rule = f"must fit the ring of {self.ring_room}, and have a beat for each word"
                self._require(count <= min(self.ring_room, command.beats), command, found, rule)
            self.ring.extend(range(first, first + count))
            return
        where = slice(command.base, command.base + count)
        self._require(
            where.stop <= self.config.weight_words,
            command,
            f"words up to {where.stop - 1}",
            f"must stay below {self.config.weight_words}",
        )
        self._require(
            self.weight_reader[where].max(initial=-1) < 0,
            command,
            f"words {where.start}.. may still be read",
            "must not overwrite words that this run has used",
        )
        self.weights[where] = self.image[first : first + count]
        self.weight_token[where] = self.fresh + np.arange(count)
        self.fresh += count

    def _mac(self, command):
        count = command.slots * command.columns
        if not count:
            return
        both = command.store and command.finish and not self.config.lists
        self._require(not both, command, "store and finish", "must not be together")
        top = top_exponent(self.config.factor_bits)
        self._require(
            command.space != SPACE_CONSTANT or command.operand <= top,
            command,
            f"constant 2**{command.operand}",
            f"must be at most 2**{top}",
        )
        contexts = [k for k in range(self.config.contexts) if command.mask >> k & 1]
        self._require(
            (self.config.window or not command.gather) and (command.gather or not command.fill),
            command,
            f"gather {command.gather} with fill {command.fill}",
            "must be of an engine with windows, which only a MAC with gather fills",
        )
        if contexts or command.stream or command.fresh:
            words = self._words(command, count).reshape(command.slots, command.columns, 4)
        self._wait(command)
        if walks_list(self.config, command.fields):
            self._open_list(command, contexts)
        if contexts:
            for slot in range(command.slots):
                self._slot(command, slot, words[slot], contexts)
        else:
            self._require(
                not command.finish, command, "finish without contexts", "must hand sums of a context to the cell unit"
            )
            self.sums = [None] * self.config.contexts
            self.slot += command.gather  # it reads elements, if it does not multiply them
        if command.gather:
            self._fill(command, count)
        if command.free:
            self.frees.append(self.slot - 1)
        if command.stream and command.release:
            for _ in range(command.weight + count):
                self.ring.popleft()

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

    def _judge(self, command):
        """A group of the latest h, or an element of it or of x, is known: it is there."""
        space, size = SPACE_X if command.of_x else SPACE_H, H_GROUP if self.config.sparse_h else 1
        elements = self.layers[0].inputs if command.of_x else self.layers[0].outputs
        where = slice(size * command.group, min(size * (command.group + 1), elements))
        self._require(where.start < where.stop, command, f"group {command.group}", "must be one of the vector")
        self.guaranteed[space] = max(self.guaranteed[space], int(self.token[space][0, where].max()) + 1)
        if space in self.judged:
            self.judged[space] = max(self.judged[space], command.group + 1)

    def _new_groups(self, command, space, elements):
        """A vector brings new groups: those before must be known, or the sequencer could take old ones for them."""
        groups = -(-elements // (H_GROUP if self.config.sparse_h else 1))
        judged = self.judged.get(space, groups)
        known = judged == groups and not command.target
        self._require(known, command, f"{judged} groups tested", f"must be all {groups} before the next vector")
        self.judged[space] = 0

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

    def _words(self, command, count):
        """Names of the weight words; they must be guaranteed to be there."""
        if command.stream:
            self._require(
                command.weight + count <= self.ring_room,
                command,
                f"a window of {command.weight + count} words",
                f"must fit the ring of {self.ring_room}",
            )
            self._require(
                command.weight + count <= len(self.ring),
                command,
                f"{len(self.ring)} words in the ring",
                f"must be at least {command.weight + count}: a LOAD is missing",
            )
            return self.image[[self.ring[command.weight + n] for n in range(count)]]
        where = slice(command.weight, command.weight + count)
        self._require(
            where.stop <= self.config.weight_words,
            command,
            f"words up to {where.stop - 1}",
            f"must stay below {self.config.weight_words}",
        )
        if command.fresh:
            expected = self.fresh_used + np.arange(count)
            self._require(
                self.fresh_used + count <= self.fresh,
                command,
                "waits for words that no LOAD brings",
                "must follow its LOAD",
            )
            self._require(
                (self.weight_token[where] <= expected).all(),
                command,
                f"words {where.start}.. in another order than loaded",
                "must wait for words in the order of arrival",
            )
            self.fresh_used += count
        else:
            late = self.weight_token[where].max(initial=-1)
            self._require(
                late < self.fresh_used,
                command,
                f"words {where.start}.. may not have arrived",
                "must wait for them (fresh)",
            )
        self.weight_reader[where] = self.slot
        return self.weights[where]

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

    def _wait(self, command):
        """Account for the operand tokens that the first slot waits for."""
        if command.space == SPACE_CONSTANT or not command.wait:
            return
        space = SPACE_H if command.space == SPACE_DELTA else command.space
        # A list is complete with the one token that its MAC waits for.
        columns = command.fill if command.gather else command.columns
        tokens = command.offset + (1 if walks_list(self.config, command.fields) else columns)
        need = self.used[space] + tokens
        self._require(
            need <= self.produced[space],
            command,
            f"token {need} of {self.produced[space]}",
            "must not wait for what no earlier command produces",
        )
        self.guaranteed[space] = max(self.guaranteed[space], need)
        if command.take:
            self.used[space] += tokens

    def _slot(self, command, slot, words, contexts):
        layer, part, block = words[0, :3]
        self._require(
            layer >= 0 and (words[:, :3] == words[0, :3]).all() and (np.diff(words[:, 3]) == 1).all(),
            command,
            f"slot {slot} mixes words",
            "must be columns of one row block that were loaded",
        )
        columns = words[:, 3]
        kept, of = self.kept.get((layer, part, words[0, 3]), (0, 0))
        self._require(
            (kept > 0) == command.gather and len(words) == (kept or len(words)),
            command,
            f"{len(words)} words a row block, with gather {command.gather}",
            f"must be all {kept} of a tile of {of} columns, with gather" if kept else "must not be with gather",
        )
        if kept:
            columns = np.arange(columns[0], columns[0] + of)
        # Columns that only fill the tile have zero weights: it does not matter what they multiply.
        columns = columns[columns < self._columns_of(layer, part)]
        if command.load:
            entry = command.source + (0 if command.hold else slot)
            self._require(
                entry < self.config.accumulators,
                command,
                f"accumulator entry {entry}",
                f"must stay below {self.config.accumulators}",
            )
            for k in contexts:
                source = self.accumulators[entry][k]
                self._require(
                    source is not None, command, f"accumulator entry {entry}", "must be written before it is read"
                )
                self.sums[k] = source.clone()
        for k in contexts:
            partial = self.sums[k]
            self._require(
                partial is not None,
                command,
                f"sum of context {k}",
                "must start from an entry or go on in the same contexts",
            )
            self._add(command, partial, k, layer, part, block, columns)
        for k in set(range(self.config.contexts)) - set(contexts):
            self.sums[k] = None
        if command.store:
            entry = command.target + slot
            self._require(
                0 < entry < self.config.accumulators,
                command,
                f"accumulator entry {entry}",
                f"must be between 1 and {self.config.accumulators - 1} (entry 0 stays zero)",
            )
            for k in contexts:
                self.accumulators[entry][k] = self.sums[k].clone()
        if command.finish:
            self.finished.append((self.slot, self.guaranteed[SPACE_H], {k: self.sums[k].clone() for k in contexts}))
            self._require(
                len(self.finished) <= self.config.finish_entries,
                command,
                f"{len(self.finished)} finished row blocks",
                f"must fit {self.config.finish_entries} entries until their CELL comes",
            )
        self.slot += 1

    def _columns_of(self, layer, part):
        shape = self.layers[layer]
        if part in self.constants[layer]:
            return len(self.constants[layer][part])
        return {0: shape.inputs, 1: shape.columns - shape.inputs}[int(part)]

    @staticmethod
    def _primed(layer, stage):
        """Name of an element behind so many stages from zero state."""
        return PRIMED - MOST_STAGES * layer - stage

    def _initial(self, layer):
        """Name of an element of the state that a layer begins from."""
        start = self.layers[layer].start
        return self._primed(layer, start.repeats + 1) if start else ZERO

    def _add(self, command, partial, k, layer, part, block, columns):
        """Add the products of one slot of one context."""
        shape = self.layers[layer]
        constants, at = self.constants[layer], shape.columns
        if partial.counts is None:
            size = shape.columns + sum(map(len, constants.values()))
            partial.layer, partial.block, partial.counts = layer, block, np.zeros(size, dtype=np.int16)
        self._require(
            (partial.layer, partial.block) == (layer, block),
            command,
            f"row block {block} of layer {layer} added to row block {partial.block} of layer {partial.layer}",
            "must match",
        )
        first = {0: 0, 1: shape.inputs}.get(int(part), at + sum(len(c) for p, c in constants.items() if p < part))
        changes = takes_changes(self.config, command.fields)
        if changes:
            partial.counts[first + columns] = 1  # the deltas take the place of what was there
        else:
            partial.counts[first + columns] += 1
        self.products += columns.size
        if part in constants:
            self._require(
                command.space == SPACE_CONSTANT and (constants[part][columns] == command.operand).all(),
                command,
                f"bias columns of layer {layer}",
                "must be multiplied by their constants",
            )
            return
        self._require(
            command.space != SPACE_CONSTANT, command, "weights times a constant", "must be multiplied by x or h"
        )
        places, lifts = shape.lifts[int(part)], self.config.lifts
        lift = self.window_lift if command.gather else command.lift
        self._require(
            lift < len(lifts) and lifts[lift] == places,
            command,
            f"lift {lift} of {lifts}",
            f"must be the one of {places} places for these weights",
        )
        vector = self._gathered(command, k, columns) if command.gather else self._operands(command, k, columns)
        if changes:
            change = self._changes if self.config.walks else self._column_changes
            change(command, partial, layer, part, columns, vector)
            return
        if vector[0] == (self._initial(layer) if part else ZERO):
            vector = (layer, ANY, vector[2]) if part else (NOBODY, NOBODY, NOBODY)
        wanted = layer if part else layer - 1
        if part and shape.skip:
            wanted = -1
        known = vector[0] in (wanted, NOBODY)
        self._require(known, command, f"vector of layer {vector[0]}", f"must be of layer {wanted}")
        kind = "h" if part else "x"
        before = getattr(partial, kind)
        self._require(
            before in (None, vector[1:]),
            command,
            f"step {vector[2]} added to products of {before}",
            "must be of one sequence and step",
        )
        setattr(partial, kind, vector[1:])

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

    def _gathered(self, command, k, columns):
        """(layer, sequence, step) of the operands in the window of context k."""
        found = self.windows[0][k, : columns.size]
        nothing = (found[:, 0] == ZERO).all() or (found[:, 0] == NOBODY).all()
        self._require(
            nothing or (found[:, :3] == found[0, :3]).all() and (found[:, 3] == columns).all(),
            command,
            f"the window of context {k}",
            "must hold the elements that the columns multiply, all of which were waited for",
        )
        return tuple(int(v) for v in found[0, :3])

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

    def _operands(self, command, k, columns):
        """(layer, sequence, step) of the operands of context k; they must be guaranteed to be there."""
        space, bank = command.space, (k + command.rotate) % self.config.contexts
        names = self.vectors[space][bank]
        where = slice(command.operand, command.operand + columns.size)
        self._require(
            where.stop <= len(names), command, f"operands up to {where.stop - 1}", f"must stay below {len(names)}"
        )
        found = names[where]
        nothing = (found[:, 0] == ZERO).all() or (found[:, 0] == NOBODY).all()
        self._require(
            nothing or (found[:, :3] == found[0, :3]).all() and (found[:, 3] == columns).all(),
            command,
            f"operands {where.start}.. of context {k}",
            "must be the elements that the columns multiply",
        )
        space = SPACE_H if space == SPACE_DELTA else space
        late = self.token[space][bank, where].max()
        self._require(
            late < self.guaranteed[space],
            command,
            f"operands {where.start}.. of context {k} may not exist yet",
            "must wait for their tokens",
        )
        self.reader[command.space][bank, where] = self.slot
        return tuple(int(v) for v in found[0, :3])

    def _cell(self, command):
        contexts = [k for k in range(self.config.contexts) if command.mask >> k & 1]
        self._require(
            command.mode != MODE_ZERO or not command.emit,
            command,
            "zero state on the output stream",
            "must not be sent",
        )
        if self.config.asks and command.mode != MODE_LINEAR:
            self._new_groups(command, SPACE_H, command.units)
        per_block = self.config.units_per_block * (4 if command.mode == MODE_LINEAR else 1)
        blocks = []  # row blocks of this command, each with its contexts' number
        for first in range(0, command.units, per_block):
            units = np.arange(first, min(command.units, first + per_block))
            if command.mode == MODE_ZERO:
                done = -1, 0, None
            else:
                self._require(self.finished, command, "no finished row block", "must follow the MAC that finishes it")
                done = self.finished.popleft()
                blocks.append(next(iter(done[2].values())).block)
                self._require(
                    blocks[-1] - blocks[0] == len(blocks) - 1,
                    command,
                    f"row block {blocks[-1]} behind {blocks[0]}",
                    "must be one row block after the other",
                )
            for position, k in enumerate(contexts):
                self._unit_range(command, k, position, units, done, per_block * (blocks[0] if blocks else 0))
            if command.signal:
                self._produce(command, SPACE_H, len(units))

    def _unit_range(self, command, k, position, units, done, first_unit):
        """Units of one row block of one context, counted from the command's first, which is ``first_unit``."""
        slot, guaranteed, sums = done
        if command.mode == MODE_ZERO:
            primes = command.scale < len(self.layers) and self.layers[command.scale].start
            layer, sequence, step = self._primed(command.scale, 0) if primes else ZERO, ANY, self.first_step - 1
        else:
            self._require(k in sums, command, f"context {k} of a finished row block", "must have been finished")
            partial = sums[k]
            layer, sequence, step = self._complete(command, partial)
        named = first_unit + units
        if command.mode == MODE_LINEAR:
            wanted = ACTIVATIONS.index(self.layers[layer].activation)
            found = f"activation {command.activation} of layer {layer}"
            self._require(command.activation == wanted, command, found, f"must be {wanted}")
            if command.write:
                names = np.stack([np.full(units.size, v) for v in (layer, sequence, step)] + [named], 1)
                self._write(command, k, units, names, slot)
            self._emit(command, layer, sequence, step, named)
            return
        states = command.state + units + command.state_stride * position
        self._require(
            states.max() < self.config.states, command, f"state {states.max()}", f"must stay below {self.config.states}"
        )
        if command.mode != MODE_ZERO:
            before = (layer, sequence, step - 1)
            if layer <= PRIMED:
                layer, before = self._next_stage(command, layer, self.states[states[0], 0], step)
            expected = np.stack([np.full(units.size, v) for v in before] + [named], 1)
            found = self.states[states]
            zero = (found[:, 0] == (self._initial(layer) if layer >= 0 else ZERO)) & (found[:, 2] == before[2])
            self._require(
                ((found == expected).all(axis=1) | zero).all(),
                command,
                f"c of layer {layer} for step {step}",
                "must be of the step before",
            )
            self._require(
                self.state_token[states].max() < guaranteed,
                command,
                f"c of layer {layer} may not be written yet",
                "must be separated by the h that was written after it",
            )
        self.states[states] = np.stack([np.full(units.size, v) for v in (layer, sequence, step)] + [named], 1)
        self.state_token[states] = self.produced[SPACE_H] + np.arange(units.size)
        if command.write:
            self._write(command, k, units, self.states[states], slot)
            if self.config.lists and units[-1] == command.units - 1:
                self._close_list(command, slot, self.states[states])
        if command.emit:
            self._emit(command, layer, sequence, step, named)

    def _write(self, command, k, units, names, slot):
        """Units of a CELL into the h memory of a context."""
        where = slice(command.target + units[0], command.target + units[-1] + 1)
        self._require(
            where.stop <= self.config.h_elements,
            command,
            f"h elements up to {where.stop - 1}",
            f"must stay below {self.config.h_elements}",
        )
        for space in self.vectors.keys() - {SPACE_X}:
            self._require(
                self.reader[space][k, where].max() <= slot,
                command,
                f"h elements {where.start}.. may still be read",
                "must not be written before their last reader",
            )
            self.vectors[space][k, where] = names
        # Without a signal nothing in this run can wait for the elements.
        tokens = self.produced[SPACE_H] + np.arange(units.size)
        self.token[SPACE_H][k, where] = tokens if command.signal else 1 << 60

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

    def _complete(self, command, partial):
        """A finished row block must hold every product once; returns (layer, sequence, step)."""
        layer = partial.layer
        shape = self.layers[layer]
        for kind, vector in (("x", partial.x), ("h", partial.h)):
            self._require(
                vector is None or NOBODY not in vector,
                command,
                f"row block {partial.block} of layer {layer} times {kind} that nobody wrote",
                "must not be finished",
            )
        block = f"row block {partial.block} of layer {layer}"
        constants = self.constants[layer]
        at = shape.columns + sum(len(c) for part, c in constants.items() if part < PARTS["prime"])
        if partial.counts[at:].any():
            return self._stage(command, partial, at, block)
        self._require(partial.x, command, f"x columns of {block} counted 0 times", "must be counted exactly once")
        sequence, step = partial.x
        if self.config.list_loads and shape.is_recurrent:
            steps = np.repeat([step, step - 1], [shape.inputs, shape.outputs])
            self._require(
                partial.steps is not None and (partial.steps[: shape.columns] == steps).all(),
                command,
                f"changes of {block}",
                f"must be taken up to step {step} of x and {step - 1} of h in every column",
            )
        counts = partial.counts.copy()
        from_zero = self.clear and step == self.first_step and shape.is_recurrent
        counts[at:] += 1
        if PARTS["first"] in constants and not from_zero:
            counts[at - len(constants[PARTS["first"]]) : at] += 1  # must not be there
        if from_zero and not shape.start:
            # Products of the zero state may be left out.
            counts[shape.inputs : shape.columns] |= counts[shape.inputs : shape.columns] == 0
        wrong = np.flatnonzero(counts != 1)
        if wrong.size:
            first = next(start for start in (shape.columns, shape.inputs, 0) if wrong[0] >= start)
            kind = {shape.columns: "bias", shape.inputs: "skip" if shape.skip else "h", 0: "x"}[first]
            times = partial.counts[wrong[0]]
            self._fail(
                command,
                f"{kind} column {wrong[0] - first} of row block {partial.block} of layer {layer} counted {times} times",
                "must be counted exactly once",
            )
        expected = [(sequence, step - 1)] + [(ANY, step - 1), *[None] * (not shape.start)] * from_zero
        if shape.skip:
            self._require(
                partial.h == partial.x,
                command,
                f"the network's x of step {partial.h} with h of step {partial.x}",
                "must be of the same step",
            )
        self._require(
            not shape.is_recurrent or partial.h in expected,
            command,
            f"h of step {partial.h} with x of step {partial.x}",
            "must be of the step before",
        )
        return layer, sequence, step

    def _stage(self, command, partial, at, block):
        """A finished row block of a stage in front of the first step: its pre-activations, and nothing else."""
        start = self.layers[partial.layer].start
        size = (len(partial.counts) - at) // start.stages
        stage = int(np.flatnonzero(partial.counts[at:])[0]) // size
        wanted = np.zeros_like(partial.counts)
        wanted[at + stage * size : at + (stage + 1) * size] = 1
        self._require(
            self.clear and (partial.counts == wanted).all(),
            command,
            f"columns of stage {stage} of {block}",
            "must be counted exactly once, with nothing else, in a run from zero state",
        )
        return self._primed(partial.layer, stage), ANY, self.first_step - 1

    def _next_stage(self, command, stage, found, step):
        """Name of c behind a stage, and of the c that it must start from; ``stage`` names the first or the second."""
        self._require(not command.emit, command, "a state on the output stream", "must not be sent")
        number, last = divmod(PRIMED - int(stage), MOST_STAGES)
        repeats = self.layers[number].start.repeats
        done = self._primed(number, 0) - int(found)  # stages so far, if it is a c of this layer
        last = last == self.layers[number].start.stages - 1
        self._require(
            done == repeats if last else 0 <= done < repeats,
            command,
            f"stage {done} of layer {number}",
            f"must be the last, behind {repeats}" if last else f"must be of the {repeats} first",
        )
        return self._primed(number, done + 1), (int(found), ANY, step)

    def _emit(self, command, layer, sequence, step, units):
        if command.emit:
            self.emitted.extend((int(layer), sequence, step, int(u)) for u in units)

    def _end(self, entry):
        """What must hold when a run is over."""
        self._require(
            not self.ring,
            None,
            f"entry {entry!r} leaves {len(self.ring)} words in the ring",
            "must use and release all",
        )
        self._require(
            not self.finished,
            None,
            f"entry {entry!r} leaves {len(self.finished)} finished row blocks",
            "must hand all to a CELL",
        )
        if not self.steps:
            return
        last = len(self.layers) - 1
        every = self.network.head is None or self.network.head_every_step
        steps = range(self.first_step, self.step) if every else [self.step - 1]
        wanted = [
            (last, q, s, u) for s in steps for q in range(self.plan.sequences) for u in range(self.network.output_size)
        ]
        self._require(
            sorted(self.emitted) == sorted(wanted),
            None,
            f"entry {entry!r} sends {len(self.emitted)} outputs",
            f"must send the {len(wanted)} of the last layer, each once",
        )
