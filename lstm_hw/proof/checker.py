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

from collections import Counter, deque

import numpy as np

from ..errors import ProgramError
from ..machine.arrangement import LAST
from ..machine.command import foreign
from ..machine.isa import SPACE_CONSTANT, SPACE_DELTA, SPACE_H, SPACE_X
from ..machine.limits import LISTS_OF_X
from ..machine.pack import top_exponent
from ..machine.plan import Plan
from .check_cells import Cells
from .check_windows import Windows
from .lists import takes_changes, walks_list
from .names import ANY, GARBAGE, NOBODY, RUN_GAP, ZERO


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
    checker.check_means()
    if "load" in plan.program.entries:
        checker.run("load", 0, False)
    steps, runs = max(steps, plan.batch + 1), ((1, True), (2, True))
    if plan.network.waits:  # whole sequences, each from zero state
        of_x = plan.network.recurrent[: plan.network.repeating if plan.network.repeats else None]
        if any(layer.waits not in ("", *LAST) for layer in of_x):  # of longer ones not all h are kept
            steps = min(steps, plan.network.kept - 1)
        runs = ((steps, True), (steps + 1, True), *runs)
    else:
        runs = ((steps, True), (1, False), (steps + 1, False), *runs)
    for count, clear in runs:
        checker.run("run", count, clear)
    return checker.products


class Checker(Cells, Windows):
    """Symbolic engine; :func:`check` is the way in."""

    def check_means(self) -> None:
        """No instruction may ask for what the engine does not have."""
        for at, instruction in enumerate(self.plan.program.instructions):
            lacking = foreign(instruction, self.config)
            if lacking:
                found = f"{lacking[0]} of {instruction.op}"
                raise ProgramError(f"program address {at}", found, "must be in an engine with the means for it")

    def run(self, entry: str, steps: int, clear: bool) -> None:
        """Check one run."""
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
        self.passed[:] = NOBODY
        self.guaranteed = {SPACE_H: 0, SPACE_X: 0}
        self.waiting = deque()  # steps of the lists of x that no MAC has walked
        self.list_reader = [-1] * len(self.config.shifts)
        self.fresh = self.fresh_used = 0
        self.ring, self.ring_room, self.buffers = deque(), 0, 0
        self.frees, self.x_waits, self.vector, self.input_safe = [], 0, 0, -1
        self.finished, self.emitted = deque(), []
        self.repeated = Counter()  # row blocks of layers without an h that read one vector in every step
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
        self._picks(command)
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
        if self.config.split > 1:
            self._keep(command)
        elif command.gather:
            self._fill(command, count)
        if command.free:
            self.frees.append(self.slot - 1)
        if command.stream and command.release:
            for _ in range(command.weight + count):
                self.ring.popleft()

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
        # Once a slot, and below once a context: a refusal is put into words only where there is one.
        key = words.tobytes()
        if key not in self.tiles:
            self.tiles[key] = self._tile(command, slot, words)
        layer, part, block, kept, of, columns = self.tiles[key]
        splits = bool(command.gather and self.config.split > 1)
        if not ((kept > 0) == command.gather and len(words) == (kept or len(words))):
            self._fail(
                command,
                f"{len(words)} words a row block, with gather {command.gather}",
                f"must be all {kept} of a tile of {of} columns, with gather" if kept else "must not be with gather",
            )
        if command.load:
            entry = command.source + (0 if command.hold else slot)
            if entry >= self.config.accumulators:
                self._fail(command, f"accumulator entry {entry}", f"must stay below {self.config.accumulators}")
            for k in contexts:
                source = self.accumulators[entry][k]
                if source is None:
                    self._fail(command, f"accumulator entry {entry}", "must be written before it is read")
                self.sums[k] = source.clone()
        for k in contexts:
            partial = self.sums[k]
            if partial is None:
                self._fail(command, f"sum of context {k}", "must start from an entry or go on in the same contexts")
            self._add(command, partial, k, layer, part, block, columns)
            partial.split |= splits
        for k in set(range(self.config.contexts)) - set(contexts):
            self.sums[k] = None
        if command.store:
            entry = command.target + slot
            if not 0 < entry < self.config.accumulators:
                self._fail(
                    command,
                    f"accumulator entry {entry}",
                    f"must be between 1 and {self.config.accumulators - 1} (entry 0 stays zero)",
                )
            for k in contexts:
                self.accumulators[entry][k] = self.sums[k].clone()
        if command.finish:
            if any(self.sums[k].split != splits for k in contexts):
                self._fail(command, "sums of parts", "must be finished by a MAC of split columns, and no others")
            self.finished.append((self.slot, self.guaranteed[SPACE_H], {k: self.sums[k].clone() for k in contexts}))
            if len(self.finished) > self.config.finish_entries:
                self._fail(
                    command,
                    f"{len(self.finished)} finished row blocks",
                    f"must fit {self.config.finish_entries} entries until their CELL comes",
                )
        self.slot += 1

    def _tile(self, command, slot, words):
        """(layer, part, row block, words and columns of a kept tile, the columns in order) of the words of a slot."""
        layer, part, block, first = (int(value) for value in words[0])
        if not (layer >= 0 and (words[:, :3] == words[0, :3]).all() and (np.diff(words[:, 3]) == 1).all()):
            self._fail(command, f"slot {slot} mixes words", "must be columns of one row block that were loaded")
        if self.config.split > 1:
            kept, of = self._split_tile(command, words)
        else:
            kept, of = self.kept.get((layer, part, first), (0, 0))
        columns = np.arange(first, first + (of if kept else len(words)))
        # Columns that only fill the tile have zero weights: it does not matter what they multiply.
        return layer, part, block, kept, of, columns[columns < self._columns_of(layer, part)]

    def _add(self, command, partial, k, layer, part, block, columns):
        """Add the products of one slot of one context."""
        shape = self.layers[layer]
        constants = self.constants[layer]
        if partial.counts is None:
            size = shape.columns + sum(map(len, constants.values()))
            partial.layer, partial.block, partial.counts = layer, block, np.zeros(size, dtype=np.int16)
        if (partial.layer, partial.block) != (layer, block):
            self._fail(
                command,
                f"row block {block} of layer {layer} added to row block {partial.block} of layer {partial.layer}",
                "must match",
            )
        if not columns.size:  # zeros, whatever they multiply
            return
        if part in constants:
            first = shape.columns + sum(len(c) for p, c in constants.items() if p < part)
        else:
            first = shape.inputs if part else 0
        where = slice(first + columns[0], first + columns[0] + columns.size)
        changes = takes_changes(self.config, command.fields)
        if changes:
            partial.counts[where] = 1  # the deltas take the place of what was there
        else:
            partial.counts[where] += 1
        self.products += columns.size
        if part in constants:
            if not (command.space == SPACE_CONSTANT and (constants[part][columns] == command.operand).all()):
                self._fail(command, f"bias columns of layer {layer}", "must be multiplied by their constants")
            return
        if command.space == SPACE_CONSTANT:
            self._fail(command, "weights times a constant", "must be multiplied by x or h")
        source, start = shape.source_of(int(columns[0])) if shape.sources and not part else (None, 0)
        if source and columns[-1] >= start + source.elements:
            self._fail(command, f"columns {columns[0]} to {columns[-1]}", "must be of one source")
        places, lifts = source.lift if source else shape.lifts[int(part)], self.config.lifts
        lift = self._gathered_lift(command, columns) if command.gather else command.lift
        if lift >= len(lifts) or lifts[lift] != places:
            self._fail(command, f"lift {lift} of {lifts}", f"must be the one of {places} places for these weights")
        if shape.steps:
            self._add_step(command, partial, k, layer, columns)
            return
        if shape.waits and not part:
            self._add_waited(command, partial, k, layer, columns)
            return
        vector = self._gathered(command, k, columns) if command.gather else self._operands(command, k, columns - start)
        if changes:
            change = self._changes if self.config.walks else self._column_changes
            change(command, partial, layer, part, columns, vector)
            return
        wanted = layer + shape.projected if part else source.layer if source else layer - 1
        if vector[0] == ZERO:
            vector = (wanted, ANY, vector[2]) if part else (NOBODY, NOBODY, NOBODY)
        if part and shape.skip:
            wanted = -1
        known = vector[0] in (wanted, NOBODY)
        if not known:
            self._fail(command, f"vector of layer {vector[0]}", f"must be of layer {wanted}")
        kind = "h" if part else "x"
        if part and shape.reset_before and columns[-1] >= shape.outputs:
            if columns[0] < shape.outputs:
                self._fail(command, f"columns {columns[0]} to {columns[-1]}", "must be of h or of r*h, not of both")
            kind = "reset"
        before = getattr(partial, kind)
        if before not in (None, vector[1:]):
            self._fail(command, f"step {vector[2]} added to products of {before}", "must be of one sequence and step")
        setattr(partial, kind, vector[1:])

    def _add_step(self, command, partial, k, layer, columns):
        """Products of a linear layer with weights of its own for h of each step, by which it walks in their order."""
        shape = self.layers[layer]
        found = self._operands(command, k, columns % shape.inputs)
        wanted = (columns[0] // shape.inputs, columns[-1] // shape.inputs)
        if found[0] != layer - 1 or wanted != ((found[2] - self.first_step) % shape.steps,) * 2:
            rule = f"must meet h of layer {layer - 1} of the one step that they are for"
            self._fail(command, f"columns of steps {wanted} with step {found[2]} of layer {found[0]}", rule)
        if partial.x is not None and (partial.x[0] != found[1] or not 0 <= found[2] - partial.x[1] <= 1):
            rule = "must be of one sequence, step by step"
            self._fail(command, f"step {found[2]} added to products up to {partial.x}", rule)
        partial.x = found[1:]

    def _add_waited(self, command, partial, k, layer, columns):
        """Products of x of a layer that reads h of the steps below when all are there."""
        shape, units = self.layers[layer], self.layers[layer - 1].outputs
        found = self._operands(command, k, columns % units)
        last = self.first_step + self.network.steps_of(self.steps)[layer - 1] - 1
        # Pieces of x that are of the step, and those of the one as far from the other end.
        size = shape.inputs if shape.waits in LAST else units // (1 + (shape.waits != "ends"))
        backward = {(0,): (False,), (1,): (True,), (2,): (True,), (3,): (False,)}
        if shape.waits == "ends":
            backward = {(0,): (False,), (1,): (True,)}
        piece = tuple(sorted({int(column) // size for column in columns}))
        known = found[0] == layer - 1 and (shape.waits in LAST or piece in backward)
        step = found[2]
        if shape.waits in LAST:
            known, step = known and step == last, None  # it is of the step of its h
        elif known and backward[piece][0]:
            step = last - (step - self.first_step)
        if not known:
            rule = f"must meet h of layer {layer - 1}, {shape.waits}, of one piece"
            self._fail(command, f"columns {columns[0]} to {columns[-1]} with step {found[2]} of layer {found[0]}", rule)
        if partial.x not in (None, (found[1], step)):
            self._fail(command, f"step {step} added to products of {partial.x}", "must be of one sequence and step")
        partial.x = found[1], step

    def _operands(self, command, k, columns):
        """(layer, sequence, step) of the operands of context k; they must be guaranteed to be there."""
        space, bank = command.space, (k + command.rotate) % self.config.contexts
        names = self.vectors[space][bank]
        where = slice(command.operand, command.operand + columns.size)
        if where.stop > len(names):
            self._fail(command, f"operands up to {where.stop - 1}", f"must stay below {len(names)}")
        found = names[where]
        known = (found[:, 3] == columns).all() and (found[:, :3] == found[0, :3]).all()
        if not (known or (found[:, 0] == ZERO).all() or (found[:, 0] == NOBODY).all()):
            self._fail(
                command, f"operands {where.start}.. of context {k}", "must be the elements that the columns multiply"
            )
        space = SPACE_H if space == SPACE_DELTA else space
        late = self.token[space][bank, where].max()
        if late >= self.guaranteed[space]:
            self._fail(
                command, f"operands {where.start}.. of context {k} may not exist yet", "must wait for their tokens"
            )
        self.reader[command.space][bank, where] = self.slot
        return tuple(int(v) for v in found[0, :3])

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
        network, last = self.network, len(self.layers) - 1
        end = self.first_step + network.steps_of(self.steps)[len(network.recurrent) - 1]
        wanted = [
            (last, q, s, u)
            for s in range(end - network.output_vectors(self.steps), end)
            for q in range(self.plan.sequences)
            for u in range(network.output_size)
        ]
        self._require(
            sorted(self.emitted) == sorted(wanted),
            None,
            f"entry {entry!r} sends {len(self.emitted)} outputs",
            f"must send the {len(wanted)} of the last layer, each once",
        )
