"""The program interpreter: executes a program tile by tile in numpy, with the bits of the hardware.

It runs commands in program order. The hardware runs them in parallel, held in order by tokens; that
both give the same is what the checker proves.
"""

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError, ProgramError
from ..machine.arithmetic import CellArithmetic
from ..machine.config import EngineConfig
from ..machine.isa import (
    ACTIVATIONS,
    MODE_KEEP,
    MODE_LINEAR,
    MODE_RESET,
    MODE_ZERO,
    REGISTERS,
    SPACE_CONSTANT,
    SPACE_DELTA,
    SPACE_X,
)
from ..machine.layout import Image, Tile
from ..machine.limits import GATE_NAMES, GATES, H_GROUP, PEEPHOLES, PLACES, VALUE_BITS
from ..machine.pack import separate
from ..machine.program import Command, Program
from ..machine.shared_activation import make_exponential
from .lists import takes_changes, walks_list
from .load_timing import MemoryModel
from .timing import Timing


class Interpreter:
    """An engine in software: state survives from run to run, as in the hardware.

    Parameters
    ----------
    config : EngineConfig
    program : Program
    words : int array (words, R)
        The weight image.
    memory : MemoryModel, optional
        What the weight port meets; it matters for cycles only.
    image : Image, optional
        Where the words are in memory, if not one behind the other as they are.

    Attributes
    ----------
    timing : Timing
        Cycles and counters of the last run.
    """

    def __init__(
        self,
        config: EngineConfig,
        program: Program,
        words: np.ndarray,
        memory: MemoryModel | None = None,
        image: Image | None = None,
    ):
        self.config, self.program, self.memory = config, program, memory
        words, places = separate(np.asarray(words), config)
        self.image = np.asarray(words, dtype=np.float64)
        self.layout = image or Image((Tile(0, "x", 0, 1, 0, len(words)),))
        lanes = (config.rows, config.contexts)
        self.weights = np.zeros((config.weight_words, config.rows))
        self.windows = Windows(config, places) if config.window else None
        # Operands that lane groups have kept, where columns are split.
        self.passed = np.zeros((PLACES, config.contexts))
        self.h = np.zeros((config.contexts, config.h_elements), dtype=np.int64)
        self.x = np.zeros((config.contexts, config.x_elements), dtype=np.int64)
        self.c = np.zeros(config.states, dtype=np.int64)
        self.peepholes = np.zeros((len(PEEPHOLES), config.states), dtype=np.int64)
        self.lists = Lists(config) if config.lists else None
        self.kept = np.zeros(-(-config.h_elements // H_GROUP), dtype=bool)  # of each group of h, with sparse_h
        self.accumulators = np.zeros((config.accumulators, *lanes), dtype=np.int64)
        self.sums = np.zeros(lanes, dtype=np.int64)
        self.registers = [0] * REGISTERS
        self.activation = config.unit
        self.timing = None
        self._tokens = 0  # h tokens that the run before left

    def run(
        self,
        entry: str,
        steps: int = 1,
        clear: bool = False,
        x: np.ndarray | Sequence = (),
        progress: Callable[[int], None] | None = None,
    ) -> list[list[int]]:
        """Run from an entry to HALT.

        Parameters
        ----------
        entry : str
        steps : int
        clear : bool
        x : int array (beats, elements a beat)
            The beats of the input stream, in order.
        progress : callable, optional
            Called with the number of beats taken so far.

        Returns
        -------
        list of int lists
            The packets of the output stream.

        Raises
        ------
        InputError
            The x stream holds too few or too many beats.
        ProgramError
            The program reads or writes outside of a memory.
        """
        self.beats = np.asarray(x, dtype=np.int64).reshape(-1, self.config.x_per_beat)
        self.taken, self.progress = 0, progress
        self.finished, self.packets, self.packet = [], [], []
        self.stream = np.zeros(0, dtype=np.int64)
        self.timing = Timing(self.config, self.memory, 0 if clear else self._tokens)
        if self.lists:
            self.lists.start(clear)
        handlers = {"INPUT": self._input, "LOAD": self._load, "MAC": self._mac, "CELL": self._cell}
        for command in self.program.run(entry, steps, clear, self.registers, kept=self._is_kept):
            self.entries = None  # of the list that this command walks
            if command.op in handlers:
                handlers[command.op](command)
            self.timing.execute(command, self.entries)
        self._tokens = self.timing.h_left
        if self.taken != len(self.beats):
            raise InputError("x stream", f"{len(self.beats)} beats given, {self.taken} taken", "must be equal")
        return self.packets

    def _is_kept(self, group, of_x):
        if self.lists:
            return self.lists.is_changed(SPACE_X if of_x else SPACE_DELTA, group)
        if group >= len(self.kept):
            raise ProgramError("program", f"group {group} of h", f"must be one of {len(self.kept)}")
        return self.kept[group]

    def _slice(self, command, name, start, count, limit):
        if start + count > limit:
            raise ProgramError(
                f"program address {command.at}", f"{name} {start}..{start + count - 1}", f"must stay below {limit}"
            )
        return slice(start, start + count)

    def _input(self, command):
        per_beat = 1 if command.spread else self.config.x_per_beat
        beats = (command.repeats + 1) * -(-command.elements // per_beat)
        if self.taken + beats > len(self.beats):
            raise InputError("x stream", f"{len(self.beats)} beats", f"must have at least {self.taken + beats}")
        data = self.beats[self.taken : self.taken + beats]
        self.taken += beats
        if self.progress:
            self.progress(self.taken)
        where = self._slice(command, "x elements", command.target, beats * per_beat, self.config.x_elements)
        if self.lists:
            for vector in range(command.repeats + 1):
                first = vector * command.elements
                self.lists.encode_x(command, where.start + first, data.reshape(-1)[first : first + command.elements])
        elif command.spread:
            columns = np.minimum(np.arange(self.config.contexts), self.config.x_per_beat - 1)
            self.x[:, where] = data[:, columns].T
        else:
            self.x[command.bank, where] = data.reshape(-1)

    def _load(self, command):
        words = self.layout.loaded(command, self.config)
        if words is None:
            raise ProgramError(
                f"program address {command.at}",
                f"beats {command.offset} + {command.beats}",
                "must be whole words inside the image",
            )
        first, count = words
        if command.stream:
            self.stream = np.concatenate([self.stream, np.arange(first, first + count)])
        else:
            where = self._slice(command, "weight words", command.base, count, self.config.weight_words)
            self.weights[where] = self.image[first : first + count]
            if self.windows:
                self.windows.places[where] = self.windows.image[first : first + count]

    def _mac(self, command):
        config, count = self.config, command.slots * command.columns
        if count == 0:
            return
        if config.window and command.gather and not command.mask and not command.stream:
            self._fill(command)
            return
        if command.stream:
            where = self._slice(command, "ring words", command.weight, count, len(self.stream))
            where, stop = self.stream[where], where.stop
            words, places = self.image[where], self.windows and self.windows.image[where]
            if command.release:
                self.stream = self.stream[stop:]
        else:
            where = self._slice(command, "weight words", command.weight, count, config.weight_words)
            words, places = self.weights[where], self.windows and self.windows.places[where]
        words = words.reshape(command.slots, command.columns, -1)
        if self.windows and command.gather:
            products = self.windows.products(words, places.reshape(words.shape))
            self._fill(command)
        elif command.gather:
            products = self._split_products(command, words)
        elif walks_list(config, command.fields):
            indices, deltas = self.lists.of(command)
            self.entries, words = len(indices), words[:, indices]
            products = self._products(words, deltas[:, None] * 2.0 ** self._lift(command))
        else:
            operands = self._operands(command, command.columns)
            products = self._products(words, operands)
            if command.fill:
                self.passed[self._places(command, command.columns)] = operands
        mask = [k for k in range(config.contexts) if command.mask >> k & 1]
        if self._side_by_side(command):
            first, slots = command.source, command.slots
            sums = self.accumulators[first : first + (1 if command.hold else slots)] + products
            if command.store:
                self.accumulators[command.target : command.target + slots][..., mask] = sums[..., mask]
            if command.finish:
                self.finished.extend(self._finished(command, sums))
            self.sums = sums[-1].copy()
        else:
            self._one_by_one(command, products, mask)
        if np.abs(self.sums).max() >> (config.accumulator_bits - 1):
            raise ProgramError(
                f"program address {command.at}",
                f"sum {np.abs(self.sums).max()}",
                f"must fit {config.accumulator_bits} bits",
            )

    def _side_by_side(self, command):
        """Whether no slot of a MAC starts from what another one of it leaves."""
        if not command.load or command.source + command.slots > len(self.accumulators):
            return False
        if not command.store or (command.source == command.target and not command.hold):
            return True
        last = command.source + (1 if command.hold else command.slots)
        return last <= command.target or command.target + command.slots <= command.source

    def _one_by_one(self, command, products, mask):
        """The sums of each slot in turn."""
        for slot in range(command.slots):
            if command.load:
                self.sums = self.accumulators[command.source + (0 if command.hold else slot)].copy()
            self.sums = self.sums + products[slot]
            if command.store:
                self.accumulators[command.target + slot][:, mask] = self.sums[:, mask]
            if command.finish:
                self.finished.extend(self._finished(command, self.sums[None]))

    @staticmethod
    def _products(words, operands):
        """Sums of the columns' products of each slot: int64 array (slots, R, K)."""
        return np.matmul(words.transpose(0, 2, 1), operands).astype(np.int64)

    def _places(self, command, count):
        """Places of the operands that pass, or that all parts of the lane groups multiply."""
        return self._slice(command, "places of operands", command.fill - PLACES, count, PLACES)

    def _split_products(self, command, words):
        """As :meth:`_products`, where each part of the rows has every so manieth of the operands that have passed."""
        slots, columns, rows = words.shape
        if slots > 1:
            found = f"{slots} row blocks of split columns"
            raise ProgramError(f"program address {command.at}", found, "must be one")
        parts = self.config.split
        operands = self.passed[self._places(command, columns * parts)].reshape(columns, parts, -1)
        products = np.matmul(
            words.reshape(slots, columns, parts, -1).transpose(0, 2, 3, 1), operands.transpose(1, 0, 2)
        )
        return products.astype(np.int64).reshape(slots, rows, -1)

    def _finished(self, command, sums):
        """Row blocks (slots, R, K) as the cell unit gets them: of columns that were split, the sums of all parts."""
        if not command.gather or self.config.window:
            return sums.copy()
        added = sums.reshape(len(sums), self.config.split, -1, sums.shape[2]).sum(axis=1)
        return np.pad(added, ((0, 0), (0, sums.shape[1] - added.shape[1]), (0, 0)))

    def _fill(self, command):
        """Elements go to the window that is not in use."""
        if command.fill > min(command.slots * command.columns, self.config.window):
            rule = f"must be at most a column each, and those of a window of {self.config.window}"
            raise ProgramError(f"program address {command.at}", f"{command.fill} elements to fill", rule)
        if command.fill:
            self.windows.fill(self._operands(command, command.fill))

    def _operands(self, command, columns):
        """Operands (columns, K) as float64; products and sums of such numbers are exact in it."""
        config = self.config
        if command.space == SPACE_CONSTANT:
            exponent = command.operand & (1 << config.exponent_bits) - 1
            return np.full((columns, config.contexts), float(1 << exponent))
        if takes_changes(config, command.fields):
            deltas = self.lists.entries[command.space][1:]
            where = self._slice(command, "operands", command.operand, columns, deltas.shape[1])
            return deltas[:, where].T * 2.0 ** self._lift(command)
        bank = self.x if command.space == SPACE_X else self.h
        where = self._slice(command, "operands", command.operand, columns, bank.shape[1])
        order = (np.arange(config.contexts) + command.rotate) % config.contexts
        return bank[order, where].T * 2.0 ** self._lift(command)

    def _lift(self, command):
        """Places that operands of a MAC stand higher."""
        return self.config.lifts[min(command.lift, len(self.config.lifts) - 1)]

    def _cell(self, command):
        config = self.config
        contexts = [k for k in range(config.contexts) if command.mask >> k & 1]
        if not command.units or not contexts:
            return
        if command.mode == MODE_ZERO:
            self._write(
                command,
                contexts,
                np.zeros((command.units, len(contexts)), dtype=np.int64),
                np.zeros((command.units, len(contexts)), dtype=np.int64),
            )
            return
        gates = 1 if command.mode == MODE_LINEAR else GATES
        of_gates = config.gate_blocks and command.mode != MODE_LINEAR
        blocks = GATES * command.stride if of_gates else -(-command.units * gates // config.rows)
        if len(self.finished) < blocks:
            raise ProgramError(
                f"program address {command.at}",
                f"{len(self.finished)} finished row blocks",
                f"must be at least {blocks}",
            )
        sums = np.concatenate(self.finished[:blocks])
        if of_gates:
            sums = np.concatenate(sums.reshape(GATES, -1, sums.shape[1]).transpose(1, 0, 2))
        sums = sums[: command.units * gates][:, contexts]
        del self.finished[:blocks]
        rows, sums = sums & config.row_shifts - 1, sums >> config.row_bits
        fraction = config.shifts[command.scale] + config.preact.fraction
        preact = config.preact.requantize(sums, fraction + rows if config.row_bits else fraction)
        if command.mode == MODE_LINEAR:
            # The cell unit drains four outputs at a time, and the contexts in turn.
            outputs = self._plain(command, preact)
            if command.write:
                where = self._slice(command, "h elements", command.target, command.units, config.h_elements)
                self.h[contexts, where] = outputs.T
            for first in range(0, command.units, GATES):
                self._emit(command, outputs[first : first + GATES].T.ravel())
            self._end_packet(command)
            return
        sums = preact.reshape(command.units, GATES, len(contexts)).transpose(1, 0, 2)
        states = self._states(command, contexts)
        if config.peepholes and command.mode == MODE_KEEP:
            self.peepholes[:, states] = sums[[GATE_NAMES.index(name) for name in PEEPHOLES]]
            return
        h, c = self._units(command, *sums, self.c[states], self.peepholes[:, states])
        self._write(command, contexts, c, h)
        if command.emit:
            for unit in h:
                self._emit(command, unit)
            self._end_packet(command)

    def _plain(self, command, preact):
        """Outputs of a linear layer, as wide as the h memory or the stream, from rounded sums."""
        config, activation = self.config, ACTIVATIONS[command.activation]
        width = config.operand_bits if command.write else VALUE_BITS
        drop = 0
        if activation == "relu":
            preact = np.maximum(preact, 0)
        elif activation == "elu":
            exponential, negative = make_exponential(config.preact, config.activated), preact < 0
            behind = config.activated.fraction + 1 + config.preact.integer
            drop = np.where(negative, behind, config.preact.width) - width
            preact = np.where(negative, exponential.elu(preact), preact)
        elif activation != "none":
            preact = self.activation.compute(preact << config.preact_lift(command.scale), activation == "tanh")
            drop = config.activated.width - width
        return config.plain(width).requantize(preact, config.preact.fraction + drop)

    def _units(self, command, first, second, third, fourth, c, peepholes):
        """New h and c (units, contexts) from the four sums, in the order of ``CELL_SUMS``, and the weights of c."""
        config, lift = self.config, self.config.preact_lift(command.scale)
        a, c_fraction = config.activated.fraction, config.c_fraction(command.scale)
        fraction = max(a + c_fraction, 2 * a)

        def compute(preact, tanh):
            return self.activation.compute(preact << lift, tanh)

        if command.mode == MODE_RESET:
            second, third, fourth = first, 0 * first, 0 * first
        if config.kind == "gru":
            r, z = compute(first, False), compute(second, False)
            candidate = config.argument.requantize((third << a) + r * fourth, a + config.argument.fraction - lift)
            old, new = z * c, ((1 << a) - z) * self.activation.compute(candidate, True)
        else:
            i, f = (
                compute(self._seen(pre, weight, c), False)
                for pre, weight in zip((first, second), peepholes, strict=False)
            )
            g = compute(third, True)
            old, new = f * c, i * g
        total = (old << fraction - a - c_fraction) + (new << fraction - 2 * a)
        c = config.cell.requantize(total, fraction - c_fraction + config.cell.fraction)
        if config.kind == "lstm":
            o = compute(self._seen(fourth, peepholes[2], c), False)
            total = o * self.activation.compute(config.argument.requantize(total, fraction), True)
            fraction = 2 * a
        h_fraction = config.h_fraction(command.scale)
        return config.hidden.requantize(total, fraction - h_fraction + config.hidden.fraction), c

    def _seen(self, preact, weight, c):
        """A pre-activation that sees c, where there are peepholes: there all layers have one format of it."""
        if not self.config.peepholes:
            return preact
        widths = CellArithmetic(self.config)
        total = (preact << widths.pre_shift) + (weight * c << widths.peephole_shift)
        return self.config.argument.requantize(total, *widths.peephole.fractions)

    def _states(self, command, contexts):
        """Addresses of c (units, contexts of the mask)."""
        states = command.state + np.arange(command.units)[:, None] + command.state_stride * np.arange(len(contexts))
        if states.max() >= self.config.states:
            raise ProgramError(
                f"program address {command.at}", f"state {states.max()}", f"must stay below {self.config.states}"
            )
        return states

    def _write(self, command, contexts, c, h):
        if command.mode != MODE_RESET:
            self.c[self._states(command, contexts)] = c
        if command.write:
            where = self._slice(command, "h elements", command.target, command.units, self.config.h_elements)
            self.h[contexts, where] = h.T
            if self.lists:
                self.lists.encode_h(command, h[:, 0])
            if self.config.sparse_h:
                groups = [np.abs(h[first : first + H_GROUP, 0]) for first in range(0, len(h), H_GROUP)]
                least = command.threshold
                kept = [sizes.sum() >= least or 2 * sizes.max() > least for sizes in groups]
                self.kept[command.target // H_GROUP :][: len(kept)] = kept

    def _emit(self, command, values):
        if command.emit:
            self.packet.extend(int(v) for v in values)

    def _end_packet(self, command):
        if command.emit and command.last:
            self.packets.append(self.packet)
            self.packet = []


class Windows:
    """The two windows of operands of the lanes, and which elements of them the stored weights name.

    Parameters
    ----------
    config : EngineConfig
    image : int array (words, R)
        Places of the weight image.
    """

    def __init__(self, config: EngineConfig, image: np.ndarray):
        self.image, self.places = image, np.zeros((config.weight_words, config.rows), dtype=np.int64)
        self.halves, self.half = np.zeros((2, config.window, config.contexts)), 0

    def products(self, words: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Sums of the products of each slot, whose words (slots, columns, R) name their operands: (slots, R, K)."""
        operands = self.halves[self.half][places]
        return np.einsum("scr,scrk->srk", words, operands).astype(np.int64)

    def fill(self, operands: np.ndarray) -> None:
        """The other window gets operands (elements, K) and is the one in use."""
        self.half ^= 1
        self.halves[self.half][: len(operands)] = operands


class Lists:
    """Lists of deltas and the references behind them, as the encoders of x and h and their memories hold them.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig):
        self.entries = {
            SPACE_X: np.zeros((2, config.x_elements), dtype=np.int64),
            SPACE_DELTA: np.zeros((2, config.h_elements), dtype=np.int64),
        }
        self.spread = config.list_loads
        self.changed = {space: np.zeros(entries.shape[1], dtype=bool) for space, entries in self.entries.items()}
        self.x_reference = np.zeros(config.x_elements, dtype=np.int64)
        self.h_references = np.zeros(config.states, dtype=np.int64)
        self.x_lengths, self.h_lengths = deque(), [0] * len(config.shifts)
        self.x_from_zero = False

    def start(self, clear: bool) -> None:
        """A run starts; from zero state, the reference of its first x is zero."""
        self.x_lengths.clear()
        self.x_from_zero = clear

    def encode_x(self, command: Command, first: int, values: np.ndarray) -> None:
        """The list of a vector of x, from an element of the memory on."""
        if self.x_from_zero:
            self.x_reference[:] = 0
        self.x_from_zero = False
        reference = self.x_reference[: len(values)]
        self.x_lengths.append(self._encode(SPACE_X, first, values, reference, command.threshold))

    def encode_h(self, command: Command, values: np.ndarray) -> None:
        """The list of h of a CELL; h = 0 of a zero state is no change, and its reference is zero."""
        references = self.h_references[command.state : command.state + len(values)]
        if command.mode == MODE_ZERO:
            references[:] = 0
        length = self._encode(SPACE_DELTA, command.target, values, references, command.threshold)
        self.h_lengths[command.scale] = length

    def _encode(self, space, first, values, references, threshold):
        deltas = values - references
        changed = np.flatnonzero((deltas != 0) & (np.abs(deltas) >= threshold))
        if self.spread:  # each at its element's place
            self.entries[space][1, first : first + len(values)] = deltas
            self.changed[space][first : first + len(values)] = False
            self.changed[space][first + changed] = True
        else:
            self.entries[space][:, first : first + len(changed)] = changed, deltas[changed]
        references[changed] = values[changed]
        return len(changed)

    def is_changed(self, space: int, element: int) -> bool:
        """Whether an element of the memory changed when it came last."""
        changed = self.changed[space]
        if element >= len(changed):
            raise ProgramError("program", f"element {element}", f"must be one of {len(changed)}")
        return bool(changed[element])

    def of(self, command: Command) -> tuple[np.ndarray, np.ndarray]:
        """Elements and deltas of the list that a MAC walks: int arrays (entries,)."""
        is_x = command.space == SPACE_X
        if is_x and not self.x_lengths:
            raise ProgramError(f"program address {command.at}", "no list of x", "must follow its INPUT")
        length = self.x_lengths.popleft() if is_x else self.h_lengths[command.list]
        indices, deltas = self.entries[command.space][:, command.operand : command.operand + length]
        if len(indices) < length or indices.max(initial=0) >= command.columns:
            found = f"a list of {length} entries from {command.operand} on"
            raise ProgramError(f"program address {command.at}", found, f"must be of {command.columns} columns")
        return indices, deltas
