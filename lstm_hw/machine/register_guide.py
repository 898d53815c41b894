"""What software that drives an engine has to know beside the tables of :mod:`.registers`: text for people.

Rules of the control port, the order of start-up, and what is on the streams.
"""

from .latency import DEADLOCK_CYCLES, SETTLE_CYCLES
from .limits import VALUE_BITS
from .registers import PROGRAM, VERSION

RULES = (
    "Every register is 32 bits wide. The two low address bits are ignored; byte enables are honoured; bits outside "
    "of the listed fields read 0 and ignore writes.",
    "A read is always answered with OKAY, at an address that is not listed with 0, and changes nothing but the copies "
    "of the counters' high halves: the whole map can be dumped at any time. A write to an address that is not listed "
    "is refused.",
    "A refused write has no effect but on REFUSED, which keeps the first one until it is cleared. It is answered with "
    "OKAY, since a processor may take an error answer for a fault of its own (a Zynq-7000 raises an external abort); "
    "an engine with `bus_errors` answers SLVERR. Look at REFUSED after what may be refused: it is up to date before "
    "the answer is given.",
    "A run lasts from the write of CTRL.start until CTRL.done is set, which is when the engine has reported done and "
    "is no longer busy. During it the registers marked *locked* and the program window refuse writes.",
    "A write of 1 to CTRL.start during a run is refused, with all of that write. Only CTRL.auto_restart makes a run "
    "follow by itself; it is looked at when a run is done, and not followed after a run that met an error. CTRL.start "
    "then goes on reading 1, and CTRL.idle 0, from run to run.",
    "CTRL.done stays set until 1 is written to it, or to CTRL.start of the next run: what it reads is of the run that "
    "was started last. A run that follows by itself does not clear it. An event in the cycle of the write that clears "
    "its bit wins: the bit stays set.",
    "An event sets its bit of ISR only while the bit is enabled in IER. The interrupt output is high while "
    "GIE.enable and any bit of ISR are set.",
    "A run whose arguments are wrong, or whose weights are not there, is not begun: it is done at once, STATUS.code is "
    "STEPS, ADDRESS (and ERROR_PORT) or UNLOADED. Nothing is read, written, taken or sent, h and c stay what they are, "
    "and the counters keep the values of the run before.",
    "STATUS.loaded is set when a run with ENTRY.loads is done without an error, and cleared when such a run begins, "
    "when an instruction or a weight address is written, and by a reset: what a load left that failed never counts.",
    "IMAGE_ID tells masters that take turns whose program and weights are loaded, which CONTENT_ID does not: it is of "
    "the configuration. A master writes ENTRY of its runs and then a number of its own there once it has loaded, and "
    "finds 0 or another's before a start if anybody has written an instruction or a weight address since, has begun a "
    "load (a run with ENTRY.loads where the program has an entry `load`), or has reset the engine. It does not tell of "
    "writes to the memory that weights stream from: who loads writes the program first, as the drivers do. Nothing "
    "keeps another from loading between look and start, or two from loading at once.",
    "STATUS.code, ERROR_ADDRESS and ERROR_PORT keep the first error of a run until the next run begins.",
    "A run that fails or is aborted stops asking for weights and takes the beats that it has asked for; an output that "
    "is offered stays offered until it is taken; and x that is offered is taken and dropped, up to `tlast` with "
    f"FLAGS.sequence, else until none was offered for {SETTLE_CYCLES} cycles and no vector is cut off. Then it is "
    f"done. It is done as well when memory and output have not moved for {DEADLOCK_CYCLES} cycles: beats that come "
    "later are dropped, the output stays offered, and the source of x has to be reset.",
    "After a failed run h and c are lost; the words that stay on the chip are there unless the run was to load them.",
    "READ_BEATS is the sum over the weight ports.",
    "Values that their format does not hold are counted where they are rounded, of every value that a run computes; "
    "tanh reads a sum that is rounded apart, which does not count. Counters of a run are complete at CTRL.done.",
    "Reading the low half of a counter copies its high half: the next read of the high half returns that copy, so "
    "low, then high reads one consistent value of a running counter.",
    "The words of an instruction are collected in one staging register that all instructions share and that keeps "
    "them: write all words of one instruction, then those of the next.",
)
"""What the tables cannot say, a sentence or two each."""

STARTUP = (
    "Hold `aresetn` low for a cycle of `aclk` or more. Then ID must read as above, VERSION must have the major "
    f"number {VERSION[0]}, and CONTENT_ID the value at the head of the Verilog: any other engine has other registers "
    "or formats.",
    "Copy `weights.bin` to memory, and compare what is there with `sha256` in `weights.json`. It holds the image of "
    "one weight port after the other, each of the same length; "
    "put each image at an address that is a multiple of AXI_DATA_BITS / 8, and that address into WEIGHTS_LO and "
    "WEIGHTS_HI, of port 1 into WEIGHTS1_LO and WEIGHTS1_HI, and so on. A word of an image is the weights of the "
    "port's rows (ROWS divided by the ports), the lowest row first, WEIGHT_BITS each, little-endian, filled up with "
    "zeros to whole beats.",
    "Write the program through the program window, instruction by instruction: word w, from 0 to "
    f"{PROGRAM.words - 1}, is bits 32 w + 31 to 32 w of what `program.json` lists as `words`, in hexadecimal.",
    "Set TIMEOUT if the memory may take longer than it says, TIMEOUT_STREAMS if the streams must not keep a run "
    "waiting for ever, and IER and GIE if the interrupt is used.",
    "If `program.json` has the entry `load`: write its value to ENTRY, 1 to STEPS and 1 to CTRL.start, and wait for "
    "CTRL.done. This run fetches the weights that stay on the chip; it takes no x and sends nothing. It is needed "
    "whenever STATUS.loaded is 0. STATUS.code must be 0.",
    "Where other masters may load too: IMAGE_ID must read 0 now. Write the value of the entry `run` to ENTRY, then a "
    "number to IMAGE_ID that is the image's own: the drivers take the first four bytes of `identity` (docs/host.md), "
    "little-endian, and 1 for 0. Before each start it must read the same; else load again.",
    "For each run: the value of the entry `run` to ENTRY, the number of time steps to STEPS, 1 to FLAGS.clear if h"
    " and c start from zero and 0 if the run goes on where the one before ended; then 1 to CTRL.start. Send x and "
    "take y while it lasts: a run whose outputs nobody takes ends after TIMEOUT_STREAMS cycles, or when 1 is written "
    "to CTRL.abort. At CTRL.done, STATUS.code must be 0; after an error a packet of y may have been cut off. A program "
    "with further entries names them in `program.json`.",
)
"""What software does, in this order."""

STREAMS = (
    "An element of x is a signed integer of OPERAND_BITS bits in the format of x that the quantised model states: "
    "the number times 2 to the power of its fraction bits, rounded. Where the quantised model lists exponents of its "
    "inputs (`input_exponents`: inputs of unlike range), each input is multiplied by 2 to the power of its own first.",
    "A beat of x holds x_per_beat elements, the first in the low bits. With one context, and where fewer sequences "
    "than contexts run, they are consecutive elements of one vector; the last beat of a vector is filled up with "
    "anything. With K contexts, element k of a beat belongs to sequence k, and elements beyond K are ignored: a "
    "vector has as many beats as elements.",
    "Without FLAGS.sequence, `tlast` is 1 on the beat that ends a vector and nowhere else; otherwise the run ends with "
    "TLAST. x of the next run may be offered from CTRL.done on: what is offered when the run is over is a vector too "
    "many, SURPLUS. One that is first offered later cannot be told from the next run's, whose last vector is then too "
    "many; FLAGS.sequence tells them apart.",
    "With FLAGS.sequence, `tlast` is 1 on the last beat of the run and nowhere else, as a DMA transfer of the whole "
    "sequence has it. Too few vectors are TLAST, too many SURPLUS, and what follows `tlast` waits for the next run.",
    "With FLAGS.ignore_tlast, `tlast` may be anything: the run takes the beats that it needs, and what is behind them "
    "waits for the next run. Too few vectors keep the run waiting (TIMEOUT_X), too many are seen by nobody; after a "
    f"failed run x is dropped until none was offered for {SETTLE_CYCLES} cycles.",
    "A vector begins with a beat of its own. Through one transfer of a DMA, vectors of an odd length lie in memory "
    "padded to whole beats; only the last one of a transfer may be cut off. A DMA that has a realignment engine and a "
    "descriptor for each vector, or part of one, sends vectors that lie side by side, from any byte on.",
    "Vectors follow in the order of time. Where groups of K sequences take turns, the vectors of one step come group"
    " after group. A schedule that needs parts of vectors in another order says so: `x_order` of its plan lists "
    "(step, first element, elements), and `tlast` still ends the last part of a vector.",
    f"A beat of y is one element: a signed integer of {VALUE_BITS} bits, h or an output of the head, in the format "
    "that the quantised model states. `tlast` ends a packet.",
    "With FLAGS.one_packet all outputs of a run are one packet, whose `tlast` is on the last beat, as one transfer of "
    "a DMA takes it. The last beat of each packet then leaves when the next one begins or the run ends, which takes up "
    "to 3 cycles more. After a run that fails the packet is not ended: the DMA has to be reset.",
    "A packet is the last layer's outputs of one time step, or the head's: element by element, and of each element "
    "the sequences 0 to K - 1 side by side; of a linear head, four elements at a time of each sequence. Packets "
    "follow in the order of time and, in it, of the groups. A head that reads the last step alone sends one packet a"
    " run. A schedule with other packets says so: `y_order` of its plan lists (step, first element, elements).",
)
"""What is on the streams."""
