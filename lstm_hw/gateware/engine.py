"""Engine: the units, their queues and the run, without the bus protocols of the top level."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from ..machine.config import EngineConfig
from ..machine.isa import INSTRUCTION_BITS, MODE_LINEAR, PROGRAM_BITS, REGISTER_BITS, UNITS
from ..machine.latency import CONTROL_LEAD, DEADLOCK_CYCLES, QUEUE_DEPTH, SKEW
from ..machine.registers import CLIPPED_PLACES, CODE_BITS, COUNTER_BITS, COUNTERS, ErrorCode
from .axi import Axi4Read
from .cell_unit import CellUnit, output_beat_layout
from .clipped_counter import ClippedCounter
from .group_judge import GroupJudge
from .input_unit import InputUnit, x_beat_layout
from .lane_group import LaneArray, control_layout, picking_fields
from .lift import Lift
from .list_path import ListPath
from .load_path import LoadPath
from .mac_unit import MacUnit
from .output_hold import OutputHold
from .packet_join import PacketJoin
from .queue import Queue
from .sequencer import Sequencer
from .timeout import Timeout
from .vector_memory import VectorMemory
from .watchdog import Watchdog
from .x_gate import XGate


class LanePath(wiring.Component):
    """From the issued column to the head of the lane chain: operand fetch and the skew of the control fields."""

    def __init__(self, config: EngineConfig, issue: data.StructLayout):
        self.config = config
        self.vectors = VectorMemory(config)
        ports = {
            name: member
            for name, member in self.vectors.signature.members.items()
            if "write" in name or name[:4] in ("i_h_", "i_x_")
        }
        super().__init__({"i_issue": In(issue), "i_issued": In(1), "o_control": Out(control_layout(config)), **ports})

    def elaborate(self, platform) -> Module:
        m = Module()
        config, issue = self.config, self.i_issue
        m.submodules.vectors = vectors = self.vectors
        for name in self.signature.members:
            if name[:4] in ("i_h_", "i_x_"):
                m.d.comb += getattr(vectors, name).eq(getattr(self, name))
        m.d.comb += [
            vectors.i_valid.eq(self.i_issued),
            vectors.i_address.eq(issue.operand),
            vectors.i_space.eq(issue.space),
            vectors.i_rotate.eq(issue.rotate),
        ]
        operands = vectors.o_operands
        if config.factor_bits > config.element_bits:
            m.submodules.lift = lift = Lift(config)
            m.d.comb += [
                lift.i_valid.eq(self.i_issued),
                lift.i_address.eq(issue.operand),
                lift.i_space.eq(issue.space),
                lift.i_operands.eq(operands),
            ]
            if len(config.lifts) > 1:
                m.d.comb += lift.i_lift.eq(issue.lift)
            operands = lift.o_operands
        m.d.comb += self.o_control.operands.eq(operands)
        stored = [issue.store & issue.mask[k] for k in range(config.contexts)]
        finished = [issue.finish & issue.mask[k] for k in range(config.contexts)]
        sources = {
            "weight": issue.weight,
            "source": issue.source,
            "first": issue.first,
            "store": Cat(stored),
            "finish": Cat(finished),
            "target": issue.target,
            **({"place": issue.place} if config.lists else {}),
            **{name: issue[name] for name in picking_fields(config)},
        }
        for name, value in sources.items():
            for stage in range(CONTROL_LEAD + SKEW[name]):
                delayed = Signal(len(value), name=f"{name}_{stage}")
                m.d.sync += delayed.eq(value)
                value = delayed
            if name == "weight" and config.lists:
                value = value + vectors.o_index  # of the entry, which is there a cycle after its column's request
            m.d.comb += self.o_control[name].eq(value)
        return m


class Engine(wiring.Component):
    """Sequencer, load path, lanes, cell unit and vector memory, and the control of a run.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    i_start, i_clear, i_entry, i_steps, i_weights, i_timeout, i_timeout_streams, i_sequence, i_ignore_tlast, i_join
        Start of a run and its arguments; from ``i_weights`` on they are stable during the run. ``i_weights`` has an
        address for each weight port; ``i_sequence`` says that tlast of x ends the run's whole sequence,
        ``i_ignore_tlast`` that it says nothing; with ``i_join`` the outputs of the run are one packet.
    i_abort : In(1)
        Give the run up; held until it is over.
    i_program_write, i_program_address, i_program_data
        Write port of the program memory.
    o_busy : Out(1)
        From the cycle after ``i_start`` until the run is over and the weight ports are quiet.
    o_done : Out(1)
        Pulse: the last output was taken and nothing is under way.
    o_error, o_error_code, o_error_address, o_error_port : Out
        Pulse: the run failed. It stops; the state of h and c is lost. The beats that the memory owes, the output that
        is offered and the x that is left over come first, unless nothing moves for ``DEADLOCK_CYCLES`` cycles.
    o_count : Out(a counter a name in COUNTERS)
    o_clipped, o_clipped_flags : Out(one 32-bit counter a place in CLIPPED_PLACES), Out(one bit a place)
        Where they are counted: values of the run that were rounded to what their format does not hold, at most
        2**32 - 1, and whether there was one. Complete in the cycle behind ``o_done``.
    i_x, o_y : streams of x and of outputs
    bus : list of AXI4 read masters, the weight ports
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self.mac = MacUnit(config)
        self.lanes = LaneArray(config)
        self.cell = CellUnit(config)
        if config.lists:
            self.lists = ListPath(config)
        super().__init__(
            {
                "i_start": In(1),
                "i_clear": In(1),
                "i_entry": In(PROGRAM_BITS),
                "i_steps": In(REGISTER_BITS),
                "i_weights": In(config.axi_address_bits).array(config.axi_ports),
                "i_timeout": In(32),
                "i_timeout_streams": In(32),
                "i_sequence": In(1),
                "i_ignore_tlast": In(1),
                "i_join": In(1),
                "i_abort": In(1),
                "i_program_write": In(1),
                "i_program_address": In(PROGRAM_BITS),
                "i_program_data": In(INSTRUCTION_BITS),
                "o_busy": Out(1),
                "o_done": Out(1),
                "o_error": Out(1),
                "o_error_code": Out(CODE_BITS),
                "o_error_address": Out(64),
                "o_error_port": Out(bits_for(config.axi_ports - 1)),
                "o_count": Out(data.StructLayout({name.lower(): COUNTER_BITS for name in COUNTERS})),
                **(
                    {
                        "o_clipped": Out(data.StructLayout({place: 32 for place in CLIPPED_PLACES})),
                        "o_clipped_flags": Out(data.StructLayout({place: 1 for place in CLIPPED_PLACES})),
                    }
                    if config.count_clipped
                    else {}
                ),
                "i_x": In(stream.Signature(x_beat_layout(config))),
                "o_y": Out(stream.Signature(output_beat_layout())),
                "bus": Out(Axi4Read(config.axi_address_bits, config.axi_data_bits)).array(config.axi_ports),
            }
        )

    def elaborate(self, platform) -> Module:
        # The sequencer feeds each unit through a queue. Weights go from the load path to the lanes, elements of x and h
        # from the input unit and the cell unit to the lane path, columns from the MAC unit along it to the lanes, sums
        # from the lanes to the cell unit. Only tokens say who may go on. A failed run resets all of it but what those
        # outside know of: the load units, an output that is offered, and where the x of a run ends.
        m = Module()
        config = self.config
        restart = Signal()  # puts every unit back to its reset state after a failed run, in its last cycle
        stopping = Signal()
        idle = Signal()
        units_reset = ResetInserter(restart)
        sequencer = Sequencer(config)
        mac, lanes, cell = self.mac, self.lanes, self.cell
        path, load, inputs = LanePath(config, mac.o_issue.shape()), LoadPath(config), InputUnit(config)
        for name, unit in (
            ("sequencer", sequencer),
            ("mac_unit", mac),
            ("lanes", lanes),
            ("cell_unit", cell),
            ("lane_path", path),
            ("input_unit", inputs),
        ):
            m.submodules[name] = units_reset(unit)
        if config.lists:
            m.submodules.list_path = units_reset(self.lists)
        m.submodules.load_path = load
        m.submodules.x_gate = gate = XGate(config)
        m.submodules.packet_join = join = units_reset(PacketJoin())
        m.submodules.output_hold = hold = OutputHold(output_beat_layout())
        if config.sparse_h:
            m.submodules.group_judge = judge = units_reset(GroupJudge(config))
            self._connect_groups(m, sequencer, cell, judge)
        if config.list_loads:
            self._connect_changes(m, sequencer)
        quiet = [sequencer.o_running == 0, mac.o_idle, cell.o_idle, inputs.o_idle, load.o_idle]
        quiet += [self.lists.o_idle] if config.lists else []
        for name, unit in zip(UNITS, (inputs, load, mac, cell), strict=True):
            source = getattr(sequencer, f"o_{name}")
            m.submodules[f"{name}_queue"] = units_reset(queue := Queue(source.payload.shape(), QUEUE_DEPTH))
            wiring.connect(m, source, queue.i)
            wiring.connect(m, queue.o, unit.i)
            quiet.append(queue.o_empty)
        m.d.comb += idle.eq(Cat(quiet).all())
        m.d.sync += join.i_ended.eq(idle)

        self._connect_start(m, sequencer, mac, cell, stopping)
        self._connect_weights(m, sequencer, load, mac, lanes, stopping)
        self._connect_vectors(m, sequencer, gate, inputs, path, mac, cell, join, hold)
        self._connect_sums(m, path, mac, lanes, cell, restart)
        m.d.comb += [
            load.i_restart.eq(restart),
            hold.i_clear.eq(restart),
            gate.i_start.eq(self.i_start),
            gate.i_sequence.eq(self.i_sequence),
            gate.i_ignore_tlast.eq(self.i_ignore_tlast),
            gate.i_drop.eq(stopping),
        ]
        watchdog, late = self._watch(m, load, inputs, sequencer, mac, cell, stopping)
        self._run(m, idle & join.o_empty, load, gate, inputs, sequencer, watchdog, late, stopping, restart)
        self._count(m, mac, load)
        if config.count_clipped:
            self._count_clipped(m, cell)
        return m

    def _connect_start(self, m, sequencer, mac, cell, stopping):
        """Program and arguments."""
        m.d.comb += [
            sequencer.i_start.eq(self.i_start),
            sequencer.i_entry.eq(self.i_entry),
            sequencer.i_clear.eq(self.i_clear),
            sequencer.i_steps.eq(self.i_steps[: self.config.register_bits]),
            sequencer.i_stop.eq(stopping),
            sequencer.i_write.eq(self.i_program_write),
            sequencer.i_write_address.eq(self.i_program_address),
            sequencer.i_write_data.eq(self.i_program_data),
            mac.i_clear.eq(self.i_start),
            mac.i_clear_h.eq(self.i_start & self.i_clear),
            cell.i_clear.eq(self.i_start),
        ]

    def _connect_weights(self, m, sequencer, load, mac, lanes, stopping):
        """From memory to the weight buffer."""
        for port, bus in enumerate(load.bus):
            wiring.connect(m, bus, wiring.flipped(self.bus[port]))
            m.d.comb += [load.i_weights[port].eq(self.i_weights[port]), lanes.i_fill[port].eq(load.o_fill[port])]
        m.d.comb += [
            load.i_start.eq(self.i_start),
            load.i_timeout.eq(self.i_timeout),
            load.i_stop.eq(stopping),
            mac.i_fresh.eq(load.o_fresh),
        ]
        if not self.config.streams:
            return
        m.d.comb += [load.i_release.eq(mac.o_release), mac.i_ring_word.eq(load.o_ring_word)]
        for unit in (load, mac):
            m.d.comb += [unit.i_ring.eq(sequencer.o_ring), unit.i_ring_base.eq(sequencer.o_ring_base)]

    def _connect_vectors(self, m, sequencer, gate, inputs, path, mac, cell, join, hold):
        """Elements of x from the stream and of h from the cell unit to the operands, h also to the output stream."""
        wiring.connect(m, wiring.flipped(self.i_x), gate.i)
        wiring.connect(m, gate.o, inputs.i_x)
        wiring.connect(m, cell.o, join.i)
        wiring.connect(m, join.o, hold.i)
        wiring.connect(m, hold.o, wiring.flipped(self.o_y))
        m.d.comb += [
            join.i_join.eq(self.i_join),
            inputs.i_unmarked.eq(self.i_sequence | self.i_ignore_tlast),
            inputs.i_buffers.eq(sequencer.o_buffers),
            inputs.i_buffers_count.eq(sequencer.o_buffers_count),
            inputs.i_free.eq(mac.o_free_x),
            path.i_h_write.eq(cell.o_h_write),
            path.i_h_bank.eq(cell.o_h_bank),
            path.i_h_address.eq(cell.o_h_address),
            path.i_h_data.eq(cell.o_h_data),
        ]
        if self.config.lists:
            self._connect_lists(m, inputs, path, mac, cell)
            return
        m.d.comb += [
            mac.i_x.eq(inputs.o_elements),
            path.i_x_write.eq(inputs.o_write),
            path.i_x_address.eq(inputs.o_address),
            path.i_x_data.eq(inputs.o_data),
            mac.i_h.eq(cell.o_signal),
        ]

    def _connect_lists(self, m, inputs, path, mac, cell):
        """Elements of x and h become lists on their way to the operands."""
        lists = self.lists
        m.d.comb += [
            lists.i_start.eq(self.i_start),
            lists.i_clear.eq(self.i_clear),
            lists.i_x.value.eq(inputs.o_data[0]),
            lists.i_x.address.eq(inputs.o_address),
            lists.i_x.threshold.eq(inputs.o_threshold),
            lists.i_x.first.eq(inputs.o_first),
            lists.i_x.last.eq(inputs.o_last),
            lists.i_x.token.eq(1),
            lists.i_x_valid.eq(inputs.o_write),
            lists.i_h.eq(cell.o_element),
            lists.i_h_valid.eq(cell.o_h_write & ~cell.o_plain if self.config.chains else cell.o_h_write),
            path.i_x_write.eq(lists.o_x_write),
            path.i_x_address.eq(lists.o_x_address),
            path.i_x_entry.eq(lists.o_x_entry),
            path.i_h_list_write.eq(lists.o_h_write),
            path.i_h_list_address.eq(lists.o_h_address),
            path.i_h_list_entry.eq(lists.o_h_entry),
            mac.i_x.eq(lists.o_x),
            mac.i_h.eq(lists.o_h | (cell.o_signal & cell.o_plain) if self.config.chains else lists.o_h),
        ]
        if self.config.walks:
            m.d.comb += [
                lists.i_h_layer.eq(cell.o_layer),
                mac.i_x_length.eq(lists.o_x_length),
                mac.i_h_lengths.eq(lists.o_h_lengths),
                lists.i_x_taken.eq(mac.o_x_taken),
            ]

    def _new_h(self, sequencer, new):
        """The h that a CELL brings, when its command is taken."""
        cell = sequencer.o_cell
        return [
            new.comes.eq(cell.valid & cell.ready & (cell.payload.mode != MODE_LINEAR)),
            new.first.eq(cell.payload.target),
            new.elements.eq(cell.payload.units),
        ]

    def _new_x(self, sequencer, new):
        """The x that an INPUT brings."""
        inputs = sequencer.o_input
        return [
            new.comes.eq(inputs.valid & inputs.ready),
            new.first.eq(inputs.payload.target),
            new.elements.eq(inputs.payload.elements),
        ]

    def _connect_groups(self, m, sequencer, cell, judge):
        """Elements of h to the judge of its groups, which the sequencer asks."""
        m.d.comb += [
            judge.i.eq(cell.o_element),
            judge.i_valid.eq(cell.o_h_write & ~cell.o_plain if self.config.chains else cell.o_h_write),
            *self._new_h(sequencer, judge.i_new),
            judge.i_group.eq(sequencer.o_group),
            sequencer.i_known.eq(judge.o_known),
            sequencer.i_kept.eq(judge.o_kept),
        ]

    def _connect_changes(self, m, sequencer):
        """What changed, which the sequencer asks."""
        lists = self.lists
        m.d.comb += [
            *self._new_x(sequencer, lists.i_new_x),
            *self._new_h(sequencer, lists.i_new_h),
            lists.i_part.eq(sequencer.o_group),
            lists.i_of_x.eq(sequencer.o_of_x),
            sequencer.i_known.eq(lists.o_known),
            sequencer.i_kept.eq(lists.o_kept),
        ]

    def _connect_sums(self, m, path, mac, lanes, cell, restart):
        """Columns to the lanes, finished sums to the cell unit."""
        arrived = Signal(lanes.drained_delay)
        m.d.sync += arrived.eq(Mux(restart, 0, Cat(lanes.o_drain.valid, arrived)))
        m.d.comb += [
            path.i_issue.eq(mac.o_issue),
            path.i_issued.eq(mac.o_issued),
            lanes.i_control.eq(path.o_control),
            lanes.i_drain.eq(cell.o_drain),
            cell.i_arrived.eq(arrived[-1]),
            cell.i_drained.eq(lanes.o_drained),
            cell.i_finished.eq(mac.o_finished),
            mac.i_finish_free.eq(cell.o_finish_free),
        ]

    def _watch(self, m, load, inputs, sequencer, mac, cell, stopping):
        """Watchdog, of a run that rests and of one that does not come to its end, and the time-out of the streams."""
        m.submodules.watchdog = watchdog = Watchdog(DEADLOCK_CYCLES)
        m.submodules.timeout = timeout = Timeout()
        gives = self.o_y.valid & self.o_y.ready
        inside = (sequencer.o_running & ~sequencer.o_waiting) | mac.o_busy | cell.o_h_write.any()
        outside = load.o_waiting | inputs.i_x.ready | self.o_y.valid
        # What both see is a cycle old, which spares a path through all units to their reset.
        m.d.sync += [
            watchdog.i_moves.eq(Mux(stopping, load.o_moves | gives, inside)),
            watchdog.i_outside.eq(~stopping & outside),
        ]
        m.d.comb += timeout.i_cycles.eq(self.i_timeout_streams)
        m.d.sync += [
            timeout.i_waiting.eq(self.o_busy & (inputs.i_x.ready | self.o_y.valid)),
            timeout.i_progress.eq((self.i_x.valid & self.i_x.ready) | gives),
        ]
        return watchdog, timeout.o_expired

    def _run(self, m, idle, load, gate, inputs, sequencer, watchdog, late, stopping, restart):
        """Run states: idle, running, and after an error failed and stopping, until nothing is owed or left over."""
        # Whether there is an error is told beside its code, which takes longer.
        code = Signal(CODE_BITS)
        address = Signal(64)
        fails = Signal()
        m.d.comb += fails.eq(
            load.o_error.any()
            | inputs.o_misplaced
            | gate.o_early
            | sequencer.o_illegal
            | self.i_abort
            | late
            | watchdog.o_expired
            | (idle & gate.o_surplus)
        )
        with m.If(load.o_error != 0):
            m.d.comb += [code.eq(load.o_error), address.eq(load.o_error_address)]
        with m.Elif(inputs.o_misplaced | gate.o_early):
            m.d.comb += code.eq(ErrorCode.TLAST)
        with m.Elif(sequencer.o_illegal):
            m.d.comb += code.eq(ErrorCode.ILLEGAL)
        with m.Elif(self.i_abort):
            m.d.comb += code.eq(ErrorCode.ABORTED)
        with m.Elif(late):
            m.d.comb += code.eq(Mux(self.o_y.valid, ErrorCode.TIMEOUT_Y, ErrorCode.TIMEOUT_X))
        with m.Elif(watchdog.o_expired):
            m.d.comb += code.eq(ErrorCode.DEADLOCK)
        with m.Elif(idle & gate.o_surplus):
            m.d.comb += code.eq(ErrorCode.SURPLUS)
        m.d.sync += [
            self.o_error.eq(0),
            self.o_error_code.eq(code),
            self.o_error_address.eq(address),
            self.o_error_port.eq(load.o_error_port),
        ]
        with m.FSM() as fsm:
            m.d.comb += self.o_busy.eq(~fsm.ongoing("idle"))
            with m.State("idle"):
                with m.If(self.i_start):
                    m.next = "starting"
            with m.State("starting"):
                m.next = "running"
            with m.State("running"):
                m.d.comb += watchdog.i_running.eq(1)
                with m.If(fails):
                    m.d.sync += self.o_error.eq(1)
                    m.next = "failed"
                with m.Elif(idle):
                    m.d.comb += self.o_done.eq(1)
                    m.next = "idle"
            with m.State("failed"):  # the watchdog begins anew
                m.d.comb += stopping.eq(1)
                m.next = "stopping"
            with m.State("stopping"):
                m.d.comb += [stopping.eq(1), watchdog.i_running.eq(1)]
                with m.If((load.o_quiet & ~self.o_y.valid & gate.o_settled) | watchdog.o_expired):
                    m.d.sync += restart.eq(1)
                    m.next = "stopped"
            with m.State("stopped"):  # in which the units are reset, by a flip-flop that drives nothing else
                m.d.comb += [stopping.eq(1), self.o_done.eq(1)]
                m.d.sync += restart.eq(0)
                m.next = "idle"

    def _count(self, m, mac, load):
        """The counters of a run; they keep their values until the next start."""
        events = {
            "cycles": self.o_busy,
            "busy": mac.o_busy,
            "stall_weights": mac.o_stall_weights,
            "stall_h": mac.o_stall_h,
            "stall_x": mac.o_stall_x,
            "stall_output": mac.o_stall_output,
            "empty": mac.o_empty & self.o_busy,
            "read_beats": load.o_beats,
        }
        for name in COUNTERS:
            counter = Signal(COUNTER_BITS, name=f"count_{name.lower()}")
            event = Signal(len(events[name.lower()]), name=f"event_{name.lower()}")
            with m.If(self.i_start):
                m.d.sync += [counter.eq(0), event.eq(0)]
            with m.Else():
                m.d.sync += [event.eq(events[name.lower()]), counter.eq(counter + event)]
            m.d.comb += self.o_count[name.lower()].eq(counter)

    def _count_clipped(self, m, cell):
        """Values beyond their format, by place; kept like the counters."""
        for place in CLIPPED_PLACES:
            m.submodules[f"clipped_{place}"] = counter = ClippedCounter(len(cell.o_clipped[place]))
            m.d.comb += [
                counter.i_clear.eq(self.i_start),
                counter.i.eq(cell.o_clipped[place]),
                self.o_clipped[place].eq(counter.o),
                self.o_clipped_flags[place].eq(counter.o_any),
            ]
