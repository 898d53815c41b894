"""What planners share that stream the weights of one LSTM layer."""

from ..errors import ConfigError
from ..machine.isa import REGISTER_BITS, SPACE_CONSTANT
from ..machine.layout import Tile
from ..machine.plan import Plan
from ..machine.program import ProgramBuilder


class StreamingPlanner:
    """Sizes of a layer on an engine, and the short sequences of instructions that every such planner needs.

    Parameters
    ----------
    network : Network
        One LSTM layer.
    config : EngineConfig

    Attributes
    ----------
    layer : LayerShape
    blocks : int
        Row blocks of the layer.
    units : int
        Hidden units of a row block.
    newest : int
        Hidden units of the last row block, which may be fewer.
    builder : ProgramBuilder
    needs : dict
        What the schedule needs of fields of the engine, once it has asked for it.

    Raises
    ------
    ConfigError
        The network has several layers.
    """

    def __init__(self, network, config):
        if len(network.layers) != 1:
            raise ConfigError(
                "network", f"{len(network.layers)} layers", "must be a single LSTM layer for this schedule"
            )
        self.network, self.config = network, config
        self.layer = network.layers[0]
        self.blocks, self.units = self.layer.blocks(config.rows), config.units_per_block
        self.newest = self.layer.outputs - (self.blocks - 1) * self.units
        self.builder = ProgramBuilder()

    def _require(self, **needs):
        """ConfigError unless each field of the engine is at least what is needed."""
        self.needs = needs
        for field, need in needs.items():
            found = getattr(self.config, field)
            if found < need:
                raise ConfigError(f"engine.{field}", found, f"must be at least {need} for this schedule")

    def _ring_words(self, held):
        """Least words of a ring of which ``held`` must be there at once: a burst has to find room behind them."""
        return held + -(-self.config.max_burst // self.config.beats_per_word)

    def _finished(self, sequences=1, **fields):
        """HALT, and the plan; ``fields`` are further ones of Plan. ConfigError when the program is too long."""
        self.builder.emit("HALT")
        program = self.builder.build(self.config.program_length)
        return Plan(
            self.config,
            self.network,
            self.name,
            program,
            self.image,
            sequences,
            y_order=self._y_order,
            needs=self.needs,
            **fields,
        )

    def _y_order(self, steps, first_step):
        """Pieces of h in the order in which a run sends them: row blocks, ascending."""
        return [self._piece(step, row) for step in range(steps) for row in range(self.blocks)]

    def _piece(self, step, row):
        """(step, first unit, units) of a row block."""
        return step, row * self.units, self.newest if row == self.blocks - 1 else self.units

    def _set(self, register, value):
        self.builder.emit("SET", register=register, value=value)

    def _add(self, register, value, limit=0):
        if value or limit:
            self.builder.emit("ADD", register=register, value=value & (1 << REGISTER_BITS) - 1, limit=limit)

    def _toggle(self, register, size):
        """To the other one of two buffers."""
        self._add(register, size, limit=2 * size)

    def _await(self, space, tokens):
        """Wait for tokens and take them."""
        self.builder.await_tokens(space, tokens)

    def _free_x(self):
        self.builder.emit("MAC", columns=1, slots=1, free=1, comment="an x buffer is free")

    def _cell(self, more, **fields):
        """CELL of a row block; register ``more`` is zero for the last one, which may have fewer units.

        Without a register the row block is never the last one.
        """
        fields = dict.fromkeys(("write", "signal", "emit", "last"), 1) | fields
        if more is None or self.newest == self.units:
            self.builder.emit("CELL", units=self.units, **fields)
            return
        with self.builder.when(more):
            self.builder.emit("CELL", units=self.units, **fields)
        with self.builder.unless(more, "the last row block is not full"):
            self.builder.emit("CELL", units=self.newest, **fields)

    def _each_tile(self, columns, width, body):
        """``body(columns)`` for tile after tile of at most ``width`` columns, in a loop where there are several."""
        whole, rest = divmod(columns, width)
        with self.builder.repeat(whole):
            body(width)
        if rest:
            body(rest)


class ResidentBiasPlanner(StreamingPlanner):
    """A planner whose bias stays on chip, in the first words, and whose sums wait in accumulator entry 1 + row block.

    The last column of the bias can finish the sums of a row block: then no other MAC has to be the last one.

    Attributes
    ----------
    bias : list of (Tile, exponent)
    bias_words : int
    """

    def __init__(self, network, config):
        super().__init__(network, config)
        self.bias, column = [], 0
        for exponent, columns in self.layer.bias_columns:
            self.bias.append((Tile(0, "bias", 0, self.blocks, column, columns), exponent))
            column += columns
        self.bias_words = self.blocks * column

    def _load_entry(self, words):
        """The ``load`` entry: that many words from the start of the image, resident."""
        self.builder.entry("load")
        self.builder.emit("LOAD", beats=words * self.config.beats_per_word, comment="resident words")
        self.builder.emit("HALT")

    def _mac(self, mask, **fields):
        self.builder.emit("MAC", mask=mask, **{"slots": 1, "load": 1} | fields)

    def _start_sums(self, mask, finish=True, register=0, **source):
        """Sums of all row blocks, in entries from 1 + ``register`` on: bias, on zero or on ``source``.

        Without the last column of the bias if that is to finish the sums.
        """
        source = source or {"hold": 1}
        for tile, exponent in self.bias[: len(self.bias) - finish]:
            self._mac(
                mask,
                weight=self.blocks * tile.first_column,
                space=SPACE_CONSTANT,
                operand=exponent,
                columns=tile.columns,
                slots=self.blocks,
                store=1,
                target=1,
                target_reg=register,
                **source,
            )
            source = {"source": 1, "source_reg": register}

    def _finish_sums(self, mask, row):
        """The last column of the bias, added to the sums of the row block in register ``row``."""
        tile, exponent = self.bias[-1]
        self._mac(
            mask,
            weight=self.blocks * tile.first_column,
            weight_reg=row,
            space=SPACE_CONSTANT,
            operand=exponent,
            columns=1,
            source=1,
            source_reg=row,
            finish=1,
        )
