"""What an engine may have: bounds of its configuration, and numbers that all engines share."""

from .isa import BANK_BITS, OPS

RELATIVE = tuple(f"{op.name}.{field}" for op in OPS.values() if op.unit for field in op.relative)
"""Fields of commands that a register can move."""
MAX_CONTEXTS = 1 << BANK_BITS
MAX_ROWS = 1 << 14
"""More than any FPGA has multipliers for."""
MAX_BURST = 256
"""Most beats of a burst (AXI4)."""
PAGE_BYTES = 4096
"""No burst crosses a multiple of this address (AXI4)."""
FACTOR_BITS = 25
"""Widest operand of a lane, lifted: the wide port of a DSP slice."""
WEIGHT_WIDTHS = range(4, 17)
"""Widths of a stored weight."""
PAIR_BITS = 16
"""Of a pair of 8-bit lanes, the place of the upper sum: so many bits of the lower one lie below it."""
LUT_ENTRIES = 32
"""Deepest memory of sums that is LUT memory whatever else there is; block RAM takes as many entries for nothing."""
VECTOR_ENTRIES = 64
"""Most elements of h that may be LUT memory: as many as one LUT has bits."""
SUM_ROWS = 4
"""Rows whose accumulators are in the same kind of memory: those of the smallest lane group."""
BLOCK_DEPTH = 512
"""Words of a block RAM at its widest: 72 bits in a 7-series part, 36 in an ECP5."""
ROW_BITS = 3
"""Most bits of a row's own shift."""
VALUE_BITS = 16
"""Width of an element of the output stream."""
WINDOWS = (0, 4, 8, 16, 32, 64)
"""Elements that a window of operands can have."""
WINDOWS_NEED = {"lists": False, "decoder": "off"}
"""What an engine with windows must have: lists and decoders choose words."""
PLACES = 64
"""Operands that each lane group keeps where columns are split: as many as one LUT has bits."""
SPLIT_NEED = {"operand_bits": 16, "window": 0, "lists": False, "gate_blocks": False}
"""What an engine that splits columns must have: sums of pairs can not be added, and operands are picked in one way."""
DECODERS = ("off", "bitmap", "esell")
"""What a weight port can expand."""
LEAST_REGISTER_BITS = 8
"""Width of the narrowest registers of a program."""
LEAST_BEAT = 64
"""Bits of the narrowest weight port."""
FORMAT_WIDTHS = {"preact": range(16, 21), "cell": range(16, 25), "activated": range(16, 19)}
"""Widths of pre-activations, of c, which fits the wide port of a DSP slice, and of activations' results, which fit the
narrow one."""
GATES = 4
"""Sums of a hidden unit."""
GATE_NAMES = ("i", "f", "g", "o")
PEEPHOLES = ("i", "f", "o")
"""Gates that see c, where an LSTM has peepholes: o the new one."""
CELL_SUMS = {"lstm": GATE_NAMES, "gru": ("r", "z", "n_x", "n_h")}
"""Kind of recurrent cell -> its sums, as rows are stacked; of a GRU's candidate W_n x + b and U_n h + b' apart."""
LISTS_NEED = {"contexts": 1, "operand_bits": 16, "x_per_beat": 1}
"""What an engine with lists must have: an encoder takes an element a cycle, and contexts would change unlike."""
SPARSE_NEED = {"contexts": 1, "lists": False}
"""What an engine with sparse_h must have: contexts keep other groups, and lists say more."""
H_GROUP = 4
"""Elements of h that are kept or left out together."""
LISTS_OF_X = 4
"""Lists of x that may wait for their MAC."""
SERIAL_SLOTS = 5
"""Activations per hidden unit, the slots of one cell: i, f, g, o and tanh(c)."""
CELL_PHASES = {1: (0,), 2: (0, 3), 5: (0, 1, 2, 3, 4)}
"""Number of cells -> the cycles (mod 5) in which a hidden unit may start."""
