"""What the checker asks of CELLs: row blocks hold every product once, and h and c go where nobody reads any more."""

import numpy as np

from ..machine.arrangement import LAST
from ..machine.isa import ACTIVATIONS, MODE_CELL, MODE_KEEP, MODE_LINEAR, MODE_RESET, MODE_ZERO, SPACE_H, SPACE_X
from ..machine.limits import GATES
from .check_lists import Lists
from .names import ANY, MOST_STAGES, NOBODY, PARTS, PRIMED, ZERO


class Cells(Lists):
    """Finished row blocks, and the hidden units and outputs that follow."""

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
        if self.config.gate_blocks and command.mode in (MODE_CELL, MODE_RESET):
            self._of_gates(command, contexts)
            return
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

    def _of_gates(self, command, contexts):
        """All units of a layer, where each row block is of one gate."""
        count, units = GATES * command.stride, np.arange(command.units)
        found = f"{len(self.finished)} finished row blocks"
        self._require(len(self.finished) >= count > 0, command, found, f"must be the {count} of {command.units} units")
        done = [self.finished.popleft() for _ in range(count)]
        for k in contexts:
            partials = [sums.get(k) for *_, sums in done]
            whole = all(partial and partial.layer is not None for partial in partials)
            self._require(whole, command, f"context {k} of a finished row block", "must have been finished")
            shape = self.layers[partials[0].layer]
            numbers, wanted = [partial.block for partial in partials], shape.gate_blocks(self.config.rows)
            own = numbers == list(range(count)) and (command.stride, command.units) == (wanted, shape.outputs)
            found = f"{count} row blocks from {numbers[0]} on for {command.units} units"
            self._require(own, command, found, f"must be the {GATES * wanted} of all {shape.outputs} units")
            steps = {self._complete(command, partial) for partial in partials}
            self._require(len(steps) == 1, command, f"sums of {sorted(steps)}", "must be of one layer and step")
        for position, k in enumerate(contexts):
            self._unit_range(command, k, position, units, done[-1], 0)
        if command.signal:
            self._produce(command, SPACE_H, len(units))

    def _gate_columns(self, partial, shape):
        """Columns that a row block of one gate does not have: those of x of n_h, and of h of n_x."""
        gate = partial.block // shape.gate_blocks(self.config.rows) if self.config.gate_blocks and shape.is_cell else 0
        return {2: slice(shape.inputs, shape.columns), 3: slice(0, shape.inputs)}.get(gate, slice(0))

    def _unit_range(self, command, k, position, units, done, first_unit):
        """Units of one row block of one context, counted from the command's first, which is ``first_unit``."""
        slot, guaranteed, sums = done
        if command.mode == MODE_ZERO:
            # Behind a zero that writes no h, stages lead on.
            primes = not command.write and command.scale < len(self.layers) and self.layers[command.scale].start
            layer, sequence, step = self._primed(command.scale, 0) if primes else ZERO, ANY, self.first_step - 1
        else:
            self._require(k in sums, command, f"context {k} of a finished row block", "must have been finished")
            partial = sums[k]
            shape = self.layers[partial.layer]
            modes = [MODE_LINEAR] if not shape.is_cell else [MODE_CELL, *[MODE_RESET] * shape.reset_before]
            if self._of_constants(partial, "peephole"):
                modes = [MODE_KEEP]
            found = f"mode {command.mode} for layer {partial.layer}"
            self._require(command.mode in modes, command, found, "must be that of its kind")
            layer, sequence, step = self._complete(command, partial)
        named = first_unit + units
        if command.mode == MODE_LINEAR:
            wanted = ACTIVATIONS.index(self.layers[layer].activation)
            found = f"activation {command.activation} of layer {layer}"
            self._require(command.activation == wanted, command, found, f"must be {wanted}")
            if command.write:
                names = _elements(named, layer, sequence, step)
                self._write(command, k, units, names, slot)
            self._emit(command, layer, sequence, step, named)
            return
        states = command.state + units + command.state_stride * position
        self._require(
            states.max() < self.config.states, command, f"state {states.max()}", f"must stay below {self.config.states}"
        )
        if command.mode == MODE_KEEP and self.config.peepholes:
            self._require(not command.write and not command.emit, command, "peepholes", "must not be written or sent")
            self.peepholes[states] = _elements(named, layer)
            return
        before = layer, sequence, step - 1
        if command.mode != MODE_ZERO:
            layer, before = self._check_states(command, partial.layer, before, states, named, guaranteed)
        if command.mode == MODE_RESET:
            self._require(layer >= 0 and not command.emit, command, "r*h", "must be of a step, and not be sent")
            if command.write:
                names = _elements(named + self.layers[layer].outputs, *before)
                self._write(command, k, units, names, slot)
            return
        self.states[states] = _elements(named, layer, sequence, step)
        self.state_token[states] = self.produced[SPACE_H] + np.arange(units.size)
        if command.write:
            self._write(command, k, units, self.states[states], slot)
            if self.config.lists and units[-1] == command.units - 1:
                self._close_list(command, slot, self.states[states])
        if command.emit:
            self._emit(command, layer, sequence, step, named)

    def _check_states(self, command, number, before, states, named, guaranteed):
        """c, and its peepholes, of what the command's units had before; returns their (layer, (layer, sequence, step)).

        ``number`` is the row block's layer: where stages lead to an initial state, c is of another one.
        """
        if self.layers[number].peephole_columns:
            found, rule = f"peepholes of layer {number}", "must be kept where its c is, in front of the first step"
            self._require((self.peepholes[states] == _elements(named, number)).all(), command, found, rule)
        layer, step = before[0], before[2] + 1
        if layer <= PRIMED:
            layer, before = self._next_stage(command, layer, self.states[states[0], 0], step)
        expected, found = _elements(named, *before), self.states[states]
        begun = self._initial(layer) if layer >= 0 else before[0]
        begins = found[:, 0] == begun
        expected[begins, :2] = begun, ANY
        if begun in (ZERO, self._primed(number, 0)):  # zeros are alike
            expected[begins, 3] = found[begins, 3]
        rule = "must be of the step before"
        self._require((found == expected).all(), command, f"c of layer {layer} for step {step}", rule)
        written, rule = (
            self.state_token[states].max() < guaranteed,
            "must be separated by the h that was written after it",
        )
        self._require(written, command, f"c of layer {layer} may not be written yet", rule)
        return layer, before

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

    def _complete(self, command, partial):
        """A finished row block must hold every product once; returns (layer, sequence, step)."""
        layer = partial.layer
        shape = self.layers[layer]
        block = f"row block {partial.block} of layer {layer}"
        for kind, vector in (("x", partial.x), ("h", partial.h)):
            found = f"{block} times {kind} that nobody wrote"
            self._require(vector is None or NOBODY not in vector, command, found, "must not be finished")
        if self._of_constants(partial, "peephole"):
            return self._alone(command, partial, PARTS["peephole"], slice(None), f"peepholes of {block}", layer)
        if self._of_constants(partial, "prime"):
            return self._stage(command, partial, block)
        without = self._gate_columns(partial, shape)
        self._take_missing_vectors(partial, shape, without)
        self._require(partial.x, command, f"x columns of {block} counted 0 times", "must be counted exactly once")
        sequence, step = partial.x
        from_zero = self.clear and step == self.first_step and shape.is_recurrent
        if self.config.list_loads and shape.is_recurrent:
            self._check_changes(command, partial, shape, without, block)
        self._check_counts(command, partial, shape, without, from_zero, block)
        self._check_vectors(command, partial, shape, from_zero)
        return layer, sequence, step

    def _take_missing_vectors(self, partial, shape, without):
        """Of a row block that has no columns of x or of h, or that meets one x at all steps: which step it is of."""
        if without.stop == shape.inputs and partial.h:  # a sum without x, of one sequence
            partial.x = max(partial.h[0], 0), partial.h[1] + 1
        if without.stop == shape.columns and partial.x:
            partial.h = partial.x[0], partial.x[1] - 1
        if shape.waits in LAST and partial.x and not shape.h_columns:  # all its steps are alike
            key = partial.layer, partial.block, partial.x[0]
            partial.x = partial.x[0], self.first_step + self.repeated[key]
            self.repeated[key] += 1
        elif shape.waits in LAST and partial.x and partial.h:
            partial.x = partial.x[0], partial.h[1] + 1

    def _check_changes(self, command, partial, shape, without, block):
        """Where a program asks for changes: those of every column must have been taken up to the step."""
        step = partial.x[1]
        steps = np.repeat([step, step - 1], [shape.inputs, shape.outputs])
        steps[without] = NOBODY
        taken = partial.steps is not None and (partial.steps[: shape.columns] == steps).all()
        rule = f"must be taken up to step {step} of x and {step - 1} of h in every column"
        self._require(taken, command, f"changes of {block}", rule)

    def _check_counts(self, command, partial, shape, without, from_zero, block):
        """Every column must have been multiplied once."""
        constants, counts = self.constants[partial.layer], partial.counts.copy()
        at = shape.columns + sum(len(c) for part, c in constants.items() if part < PARTS["prime"])
        if command.mode == MODE_RESET:
            of_reset = slice(shape.inputs + shape.outputs, shape.columns)
            found = f"columns of r*h in {block}"
            self._require(not counts[of_reset].any(), command, found, "must follow the CELL that gives r*h")
            counts[of_reset] = 1
        self._require(not counts[without].any(), command, f"zero columns of {block}", "must be left out")
        counts[without] = 1
        if shape.steps:  # in the run's steps, as often as they come
            times = np.bincount(np.arange(self.steps) % shape.steps, minlength=shape.steps)
            counts[: shape.x_columns] += 1 - np.repeat(times, shape.inputs)
        counts[at:] += 1
        if PARTS["first"] in constants and not from_zero:
            counts[at - len(constants[PARTS["first"]]) : at] += 1  # must not be there
        if from_zero:
            # Products of the zero state may be left out.
            counts[shape.inputs : shape.columns] |= counts[shape.inputs : shape.columns] == 0
        zeros = self._of_other_directions(shape, partial.block)
        counts[zeros] |= counts[zeros] == 0
        wrong = np.flatnonzero(counts != 1)
        if wrong.size:
            first = next(start for start in (shape.columns, shape.inputs, 0) if wrong[0] >= start)
            kind = {shape.columns: "bias", shape.inputs: "skip" if shape.skip else "h", 0: "x"}[first]
            times = partial.counts[wrong[0]]
            found = f"{kind} column {wrong[0] - first} of {block} counted {times} times"
            self._fail(command, found, "must be counted exactly once")

    def _check_vectors(self, command, partial, shape, from_zero):
        """h and r*h must be of the step before that of x; of a skip, x of the same step."""
        step, rule = partial.x[1], "must be of the step before"
        expected = [(partial.x[0], step - 1)] + [(ANY, step - 1), None] * from_zero
        if shape.skip:
            found = f"the network's x of step {partial.h} with h of step {partial.x}"
            self._require(partial.h == partial.x, command, found, "must be of the same step")
        found = f"h of step {partial.h} with x of step {partial.x}"
        self._require(not shape.h_columns or partial.h in expected, command, found, rule)
        found = f"r*h of step {partial.reset} with x of step {partial.x}"
        resets = shape.reset_before and command.mode != MODE_RESET
        self._require(not resets or partial.reset in expected, command, found, rule)

    def _of_other_directions(self, shape, block):
        """Which columns of [W_x | W_h] are zeros in a row block, whose units are all of one direction, (columns)."""
        units = shape.units(self.config.rows)
        last = min(shape.outputs, (block + 1) * units) - 1
        first, last = (unit * shape.directions // shape.outputs for unit in (block * units, last))
        sizes = [size for size in (shape.x_columns, shape.columns - shape.x_columns) if size]
        of = np.concatenate([np.arange(size) * shape.directions // size for size in sizes])
        return np.flatnonzero(of != first) if first == last else np.zeros(0, int)

    def _of_constants(self, partial, part):
        """Whether a sum has columns of a part that are no products of a step."""
        constants, number = self.constants[partial.layer], PARTS[part]
        return number in constants and partial.counts[self._columns_at(partial.layer, number)].any()

    def _columns_at(self, layer, part):
        """Where columns of a part that meets constants are counted."""
        constants = self.constants[layer]
        first = self.layers[layer].columns + sum(len(c) for p, c in constants.items() if p < part)
        return slice(first, first + len(constants[part]))

    def _stage(self, command, partial, block):
        """A finished row block of a stage in front of the first step: its pre-activations, and nothing else."""
        layer, part = partial.layer, PARTS["prime"]
        size = len(self.constants[layer][part]) // self.layers[layer].start.stages
        stage = int(np.flatnonzero(partial.counts[self._columns_at(layer, part)])[0]) // size
        columns = slice(stage * size, (stage + 1) * size)
        return self._alone(command, partial, part, columns, f"stage {stage} of {block}", self._primed(layer, stage))

    def _alone(self, command, partial, part, columns, of, name):
        """A finished row block with some columns of a part once, and nothing else; what its units are called."""
        wanted = np.zeros_like(partial.counts)
        wanted[self._columns_at(partial.layer, part)][columns] = 1
        self._require(
            self.clear and (partial.counts == wanted).all(),
            command,
            f"columns of {of}",
            "must be counted exactly once, with nothing else, in a run from zero state",
        )
        return name, ANY, self.first_step - 1

    def _next_stage(self, command, stage, found, step):
        """Name of c behind a stage, and of the c that it must start from; ``stage`` names the first or the second."""
        sent = command.emit or command.write
        self._require(not sent, command, "h of a stage", "must not be written, and not be sent")
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


def _elements(numbers, *of):
    """Names of elements of the same layer, or of the same layer, sequence and step."""
    names = np.empty((len(numbers), len(of) + 1), dtype=int)
    names[:, :-1], names[:, -1] = of, numbers
    return names
