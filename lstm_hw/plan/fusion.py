"""Cell fusion: W_x serves the x products of a batch of time steps while W_h serves the steps before them.

Shi et al., "E-LSTM: Efficient Inference of Sparse LSTM on Embedded Heterogeneous System", DAC 2019, here
for dense weights. A word of W_x is held while it is multiplied by x of G time steps, and for that time memory is
free for words of W_h, which a single sequence uses once. So the two are interleaved: the G steps of a batch
go through W_h row block after row block, and in front of each row block comes a chunk of W_x for the G
steps of the *next* batch. Over a batch the time is that of the lanes or that of the memory, whichever is
longer, not the time of a phase bound by lanes plus that of a phase bound by memory.

K contexts form the x products of K steps side by side; step t is in context t mod K, with its h in
bank t mod K. Row block r of step g of a batch goes with columns g * chunk .. (g + 1) * chunk - 1 of W_x's
row block r. What is left of the columns is multiplied when the next batch's sums are started.
"""

from ..errors import ConfigError
from ..machine.isa import CLEAR_REGISTER, MODE_ZERO, SPACE_H, SPACE_X
from ..machine.layout import Image, Tile
from .streaming import ResidentBiasPlanner

OPERAND, NEXT, NOW, UNIT, LOAD_X, LOAD_H, BATCHES_LEFT = 1, 2, 3, 4, 5, 6, 7
"""Registers: x of the next batch, sums of the next batch and of the step, first unit of the row block, next words of
W_x and of W_h to load, batches behind the next one (CLEAR and STEPS are not used any more by then)."""


class FusionPlanner(ResidentBiasPlanner):
    """Emits the ``load`` and ``run`` entries for one LSTM layer and one sequence.

    Outputs leave in packets of one row block each, step by step.

    Parameters
    ----------
    network : Network
        One LSTM layer.
    config : EngineConfig
        At least two contexts.
    steps : int
        Time steps of every run, a multiple of ``batch``.
    batch : int
        G, time steps that share a fetch of W_x, a multiple of the contexts.

    Raises
    ------
    ConfigError
        Something does not fit; the message names the field and what it needs.
    """

    name = "fusion"

    def __init__(self, network, config, steps, batch):
        super().__init__(network, config)
        if config.contexts < 2:
            raise ConfigError("engine.contexts", config.contexts, "must be at least 2: h of two steps at a time")
        if batch < 1 or batch % config.contexts:
            raise ConfigError("batch", batch, f"must be a multiple of the {config.contexts} contexts")
        if steps < 1 or steps % batch:
            raise ConfigError("steps", steps, f"must be a multiple of the batch of {batch}")
        self.steps, self.batch = steps, batch
        self.sets = batch // config.contexts  # accumulator entries a row block and batch
        self.chunk, self.rest = divmod(self.layer.inputs, batch)
        self.set_entries = self.sets * self.blocks
        self.stride = -(-self.layer.inputs // config.x_per_beat) * config.x_per_beat
        self.all = (1 << config.contexts) - 1
        self._place()

    def _place(self):
        """Image and ring; ConfigError names what does not fit."""
        layer, blocks, chunk = self.layer, self.blocks, self.chunk
        rest = Tile(0, "x", 0, blocks, self.batch * chunk, self.rest)
        chunks = [Tile(0, "x", row, 1, step * chunk, chunk) for step in range(self.batch) for row in range(blocks)]
        hidden = Tile(0, "h", 0, blocks, 0, layer.outputs)
        self.image = Image((*(tile for tile, _ in self.bias), rest, *chunks, hidden))
        self.rest_words = rest.words
        self.h_base = self.image.words - hidden.words
        self._require(
            weight_words=self.bias_words + self._ring_words(max(self.rest_words, chunk, layer.outputs)),
            accumulators=1 + 2 * self.set_entries,
            finish_entries=2,
            h_elements=layer.outputs,
            states=layer.outputs,
            x_elements=2 * self.sets * self.stride,
        )

    def plan(self):
        """The plan; ConfigError when something does not fit."""
        emit, builder, batches = self.builder.emit, self.builder, self.steps // self.batch
        self._load_entry(self.bias_words)
        builder.entry("run")
        emit("RING", base=self.bias_words)
        emit("BUFFERS", count=2 * self.batch)
        with builder.loop(count_reg=CLEAR_REGISTER, comment="only when the run starts from zero state"):
            last = 1 << self.config.contexts - 1
            emit("CELL", units=self.layer.outputs, mask=last, mode=MODE_ZERO, write=1, signal=1)
        for register in (OPERAND, NEXT, NOW, UNIT, LOAD_X, LOAD_H):
            self._set(register, 0)
        self._set(BATCHES_LEFT, batches - 1)
        self._inputs()
        self._load(self.bias_words, self.h_base - self.bias_words, comment="W_x for the first batch")
        with builder.when(BATCHES_LEFT):
            self._other_inputs()
        self._first_batch()
        with builder.repeat(batches - 1):
            self._add(BATCHES_LEFT, -1)
            if self.rest:
                self._load(self.bias_words, self.rest_words, comment="what is left of W_x")
            self._start_batch()
            with builder.when(BATCHES_LEFT, "x of the batch behind the next one"):
                self._other_inputs()
            self._batch_steps(fused=True)
            self._end_batch()
        self._batch_steps(fused=False)
        return self._finished(steps=self.steps)

    def _load(self, first, words, **fields):
        per_word = self.config.beats_per_word
        self.builder.emit("LOAD", offset=first * per_word, beats=words * per_word, stream=1, **fields)

    def _inputs(self):
        """x vectors of a batch, from OPERAND on."""
        with self.builder.repeat(self.sets):
            for bank in range(self.config.contexts):
                self.builder.emit("INPUT", bank=bank, target_reg=OPERAND, elements=self.layer.inputs, wait=1, last=1)
            self._add(OPERAND, self.stride)
        self._add(OPERAND, -self.sets * self.stride)

    def _other_inputs(self):
        self._toggle(OPERAND, self.sets * self.stride)
        self._inputs()
        self._toggle(OPERAND, self.sets * self.stride)

    def _first_batch(self):
        """x products of the first batch: nothing else can be done meanwhile."""
        self._start_batch()
        if self.chunk:
            with self.builder.repeat(self.batch):
                with self.builder.repeat(self.blocks):
                    self._x_products(slots=1, columns=self.chunk)
                    self._add(NEXT, 1)
                self._next_chunk()
        self._end_batch()

    def _start_batch(self):
        """Sums of the next batch: bias and what is left of W_x's columns."""
        with self.builder.repeat(self.sets):
            self._start_sums(self.all, finish=False, register=NEXT)
            self._add(NEXT, self.blocks)
        self._add(NEXT, -self.set_entries)
        with self.builder.repeat(self.batch):
            self._await(SPACE_X, self.layer.inputs)
        if self.rest:
            self._x_products(slots=self.blocks, columns=self.rest, operand=self.batch * self.chunk)

    def _end_batch(self):
        """All of W_x has been used for the next batch, and all of its x."""
        with self.builder.repeat(self.batch):
            self._free_x()
        size = self.sets * self.stride
        self._add(OPERAND, size - self.batch * self.chunk, limit=2 * size)
        self._toggle(NEXT, self.set_entries)

    def _x_products(self, **fields):
        """Words of W_x for all steps of the next batch; the last use releases them."""

        def products(release):
            self._mac(
                self.all,
                space=SPACE_X,
                operand_reg=OPERAND,
                source=1,
                source_reg=NEXT,
                store=1,
                target=1,
                target_reg=NEXT,
                stream=1,
                release=release,
                **fields,
            )

        with self.builder.repeat(self.sets - 1):
            products(0)
            self._add(OPERAND, self.stride)
            self._add(NEXT, self.blocks)
        products(1)
        self._add(OPERAND, (1 - self.sets) * self.stride)
        self._add(NEXT, (1 - self.sets) * self.blocks)

    def _next_chunk(self):
        self._add(NEXT, -self.blocks)
        self._add(OPERAND, self.chunk)

    def _batch_steps(self, fused):
        """The steps of a batch on W_h, with the x products of the next batch if they are ``fused``."""
        fused = fused and self.chunk > 0
        with self.builder.repeat(self.sets):
            for context in range(self.config.contexts):
                with self.builder.repeat(self.blocks):
                    self._row(context, fused)
                self._await(SPACE_H, self.layer.outputs)
                self._set(UNIT, 0)
                if fused:
                    self._next_chunk()
                if context < self.config.contexts - 1:
                    self._add(NOW, -self.blocks)
            self._add(NOW, 0, limit=2 * self.set_entries)

    def _row(self, context, fused):
        """A row block of a step: its chunk of W_x for the next batch, then all of W_h for the step itself."""
        length, per_word = self.layer.outputs, self.config.beats_per_word
        if fused:
            self._load(self.bias_words + self.rest_words, self.chunk, offset_reg=LOAD_X)
            beats = self.chunk * per_word
            self._add(LOAD_X, beats, limit=self.batch * self.blocks * beats)
        self._load(self.h_base, length, offset_reg=LOAD_H)
        self._add(LOAD_H, length * per_word, limit=self.blocks * length * per_word)
        if fused:
            self._x_products(slots=1, columns=self.chunk)
            self._add(NEXT, 1)
        self._mac(
            1 << context,
            space=SPACE_H,
            rotate=self.config.contexts - 1,
            columns=length,
            source=1,
            source_reg=NOW,
            finish=1,
            stream=1,
            release=1,
            wait=1,
        )
        self._cell(LOAD_H, mask=1 << context, state_reg=UNIT, target_reg=UNIT)  # at 0 again behind the last row block
        self._add(UNIT, self.units)
        self._add(NOW, 1)
