"""Every depth and delay of the machine: delays are cycles, and sums of named stages.

A stage is one register, or one state, that something passes through. The gateware is built with these numbers where it
can be, and tests/machine/test_latency.py measures it against all of them; cycle model and planners use the sums.
"""

from .arithmetic import CellArithmetic, Rounding, preact_rounding
from .config import EngineConfig
from .limits import GATE_NAMES, GATES, SERIAL_SLOTS
from .shared_activation import make_exponential

QUEUE_DEPTH = 4
"""Commands that wait in front of a unit."""
PENDING_LOADS = 8
"""LOADs whose beats a weight port can await."""
SPLIT_BURSTS = 2
"""Bursts that the splitter of a weight port holds ready."""
DEADLOCK_CYCLES = 4096
"""Cycles at rest that mean that a run will never end: far more than the longest pipeline holds."""

SETTLE_CYCLES = 64
"""Cycles without x after which a run that failed takes the stream of x to be empty."""

# The sequencer and the queues behind it.
START = 1
"""From the start pulse to the first fetch."""
FETCH, EXECUTE, DISPATCH = 1, 1, 1
"""States of the sequencer; a scalar instruction has no dispatch."""
SCALAR = FETCH + EXECUTE
"""From a scalar instruction to the next one."""
QUEUE = 1
"""From the dispatch of a command to its unit's taking it."""
TAKE = 1
"""From the taking of a command to its first column, beat or unit."""
TOKEN = 1
"""From the event that a token stands for to the first cycle that sees it counted."""

# Lanes: a column's fields reach the groups one after the other, as its product goes through the stages of a DSP slice.
ISSUE = 1
"""From the decision for a column to its fields on the way to the lanes."""
OPERANDS = 2
"""From a column's address of x or h to its operands: the memory, and the turn of the banks."""
WEIGHT_READ, OPERAND_REGISTER, PRODUCT, SUM = 1, 1, 1, 1
"""Stages of a lane; the last is the write of the sum, which the cycle behind it can read."""
HOP = 1
"""From a lane group to the next one."""
SKEW = {
    "weight": 0,
    "operands": WEIGHT_READ,
    "gather": WEIGHT_READ,
    "half": WEIGHT_READ,
    "fill": WEIGHT_READ,
    "into": WEIGHT_READ,
    "partial": WEIGHT_READ + OPERAND_REGISTER + PRODUCT + SUM,
    "source": WEIGHT_READ + OPERAND_REGISTER,
    "first": WEIGHT_READ + OPERAND_REGISTER + PRODUCT,
    "store": WEIGHT_READ + OPERAND_REGISTER + PRODUCT + SUM,
    "finish": WEIGHT_READ + OPERAND_REGISTER + PRODUCT + SUM,
    "target": WEIGHT_READ + OPERAND_REGISTER + PRODUCT + SUM,
    "place": WEIGHT_READ + OPERAND_REGISTER + PRODUCT + SUM,
}
"""Cycles by which a field on the way to the lanes follows ``weight``."""
CONTROL_LEAD = OPERANDS - SKEW["operands"]
"""From the fields of a column to its ``weight`` at the first lane group."""
STORED = 1
"""From the write of a sum to the first cycle that can read it."""
HAZARD_COLUMNS = SKEW["store"] + STORED - SKEW["source"]
"""Columns from the one that stores an accumulator entry to the first that may start from it."""

# Finished row blocks, on their way to the cell unit.
DRAIN_REQUEST = 1
"""From the start of a unit to its request."""
DRAINED = 2
"""From a request at a lane group to the sums behind it: memory, and the place in the chain."""
READABLE = SKEW["finish"] + STORED
"""From ``weight`` of a slot's last column at a lane group to the first request there that finds its sum."""
DRAIN_TOLD = CONTROL_LEAD + READABLE - (TOKEN + DRAIN_REQUEST)
"""From a slot's last column on its way until the cell unit may be told, whose request is then not there too soon."""
FINISH_DELAY = ISSUE + DRAIN_TOLD + TOKEN
"""From the last column of a slot to the first unit that may start."""
FREE_DELAY = TOKEN
"""From the last unit of a row block, or the end of a MAC, to who waits for the room."""

# The cell unit.
ALIGN, ROUND, BOUND = 1, 1, 1
"""Stages of a rounding."""
REQUANTIZE = ALIGN + ROUND + BOUND
CELL_OPERANDS, CELL_PRODUCT = 1, 1
"""Stages of a multiplier of a cell."""
MULTIPLY = CELL_OPERANDS + CELL_PRODUCT
SLOT = 1
"""From the start of a unit's cell to its first gate in the activation unit."""
READ_C = 1
"""From the address of c to it, and with peepholes to its weights."""
CELL_SUM = 1
"""The sum of the two products that make c, and of the two that make h of a GRU."""
OUTPUT_QUEUE = 2
"""From an element at the queue in front of the output stream to the stream."""

# Streams and memories.
INPUT_WRITE = 1
"""From a beat of x to its write."""
X_TOKEN_DELAY = INPUT_WRITE + TOKEN
"""From a beat of x to the first column that may use it."""
H_TOKEN_DELAY = TOKEN
"""From the write of h to the first column that may use it."""
H_AHEAD = ISSUE + OPERANDS - 1
"""From a column to the write of the h that it may use, where that reaches the turn of the banks beside its memory."""
ENCODE = 2
"""From an element of x or h to its write into a list of deltas: its reference is read, and compared. With lists, tokens
are so much later."""
JUDGE = 2
"""From the last element of a group of h to the write of whether it is kept."""
OPEN_LIST = 1
"""From the first cycle in which a MAC's list is complete to its first column."""

# Weight ports.
SPLIT_ADD, SPLIT_CUT = 1, 1
"""The splitter: base and offset are added, a burst stands ready to be cut."""
SPLIT_DELAY = SPLIT_ADD + SPLIT_CUT
"""From the acceptance of a LOAD to its first burst in the splitter."""
SPLIT_OUT = 1
"""From a burst in the splitter to the requests."""
REQUEST = 1
"""From a burst that may be requested to ARVALID."""
BEAT, FILL = 1, 1
"""Registers behind the bus: of the port, and on the way to the lanes."""
WORD_TOKEN_DELAY = BEAT + FILL + TOKEN
"""From a beat on the bus to the first column that may use its word."""
DECODE = 4
"""From a beat to its word, through the decoder of a port that has one."""
LOADED = BEAT + 1
"""From the last beat of a LOAD on the bus to its place among those that are awaited, or to an idle port."""
CREDIT = 1
"""From ring words that become free to the weight ports."""


def in_flight(outstanding: int) -> int:
    """Bursts that a weight port has requested and not received: one more is being received, and one covers the
    turn-round of the slot that its last beat frees."""
    return outstanding + 2


def drain_latency(groups: int) -> int:
    """From a drain request to the sums at the end of a chain of lane groups."""
    return HOP * groups + DRAINED


def rounded(config: EngineConfig, rounding: Rounding) -> int:
    """Stages of a rounding in the cell unit. With a parallel cell what is rounded and bounded goes on to what takes it,
    and nothing aligns what is alike."""
    return REQUANTIZE if not config.parallel else 0 if rounding.alike else ALIGN


def multiplied(config: EngineConfig) -> int:
    """Stages of a product in the cell unit: what a multiplier of a parallel cell takes is in registers anyway."""
    return MULTIPLY - CELL_OPERANDS * config.parallel


def h_token_delay(config: EngineConfig) -> int:
    """From the write of h to the first column that may use it: less than none where columns may be ahead of it."""
    return -H_AHEAD if config.forwards_h else H_TOKEN_DELAY


class CellLatency:
    """Delays of the cell unit, which follow from the configuration.

    A parallel cell takes all gates at once, waits for no slot, and rounds and bounds what goes on on its way.

    Parameters
    ----------
    config : EngineConfig

    Attributes
    ----------
    pieces : int
        Drain requests of a unit.
    gather : int
        From the start of a unit to that of its cell: request, drain, rounding, collection.
    gates : dict of str to int
        From the start of a cell to each of its gates, which follow one a cycle, or are there at once.
    products : int
        ... to f*c and i*g, one beside the other; of a GRU to r*n_h.
    update : int
        ... to its new c, rounded; of a GRU to n_x + r*n_h.
    tanh_slot, tanh : int
        ... to the slot of the tanh of that, a multiple of the slots of a serial cell, and to its result.
    peephole, peephole_slot : int
        With peepholes, from the start of a cell to i's sum with c, rounded, behind which f's and g itself follow, and
        to the operands of o's weight and the new c, which have a slot of their own in the multiplier of i and f. Then
        o, rounded, has the slot of the activation unit that tanh leaves; ``gates`` says when it is there.
    opened : int
        ... to o's sum with c, rounded.
    state : int
        ... to what is kept as c: of a GRU its h.
    cell : int
        ... to its h.
    total : int
        From the start of a unit to its h.
    token : int
        From the write of h to the first column that may use it.
    looked_up : int
        Of a plain output, through the activation unit, or the table of ELU if that is later.
    plain : int
        From the start of a cell to the first of the four plain outputs of a unit of a linear layer, which follow one a
        cycle: with chains through the activation unit, or as long beside it, and a rounding.
    """

    def __init__(self, config: EngineConfig):
        activation, gru, widths = config.unit.latency, config.kind == "gru", CellArithmetic(config)
        serial, multiply = not config.parallel, multiplied(config)
        self.pieces = GATES // config.drain_width
        arrived = DRAIN_REQUEST + drain_latency(config.groups) + rounded(config, preact_rounding(config))
        self.gather = arrived + self.pieces * serial
        self.gates = {name: SLOT + n * serial + activation for n, name in enumerate(GATE_NAMES)}
        self.products = self.gates["g"] + multiply
        self.update = self.products + CELL_SUM + rounded(config, widths.tanh)
        self.tanh_slot = -(-self.update // SERIAL_SLOTS) * SERIAL_SLOTS if serial else self.update + SLOT
        self.tanh = self.tanh_slot + activation
        if config.peepholes:
            self._with_peepholes(activation)
        # Behind tanh an LSTM has a product, a GRU a sum of two.
        last = max(self.tanh, self.gates["o"]) + multiply + CELL_SUM * gru
        self.state = last if gru else self.products + CELL_SUM + BOUND * config.parallel
        self.state += rounded(config, widths.c)
        self.cell = last + rounded(config, widths.h)
        self.total = self.gather + self.cell
        self.token = h_token_delay(config)
        elu = make_exponential(config.preact, config.activated).latency if config.elu else 0
        self.looked_up = max(activation, elu)
        self.plain = SLOT + self.looked_up + REQUANTIZE if config.chains else SLOT

    def _with_peepholes(self, activation):
        """Sums with c stand in front of the slots of i and f, and of o behind its new c."""
        opens = MULTIPLY + CELL_SUM + REQUANTIZE
        self.peephole = READ_C + opens
        slots = [self.peephole + n for n in range(GATE_NAMES.index("o"))]
        self.gates = {name: slot + activation for name, slot in zip(GATE_NAMES, slots, strict=False)}
        self.products = self.gates["g"] + MULTIPLY
        self.update = self.products + CELL_SUM + REQUANTIZE
        self.peephole_slot = _free_slot(self.update, [READ_C, READ_C + 1])
        self.opened = self.peephole_slot + opens
        last = _free_slot(self.opened, slots)
        self.tanh_slot = _free_slot(self.update, [*slots, last])
        self.tanh, self.gates["o"] = self.tanh_slot + activation, last + activation


def _free_slot(cycle, taken):
    """The first cycle from one on in a slot that no unit takes, where each takes those of some cycles."""
    taken = {other % SERIAL_SLOTS for other in taken}
    return next(each for each in range(cycle, cycle + SERIAL_SLOTS) if each % SERIAL_SLOTS not in taken)
