"""Layers that wait for h of all steps below: the stack falls into phases, each a loop of steps of its own.

What the layers of a phase make is kept, as many h as a run may have steps. The next phase reads them from the first
step on, from the last one back, or the last one again and again, in as many steps as x has or in a number of its own;
how far that is from the first, its *reach*, a register counts.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate

from ..machine.arrangement import LAST, WAITS
from ..machine.isa import SPACE_H
from .layer import Frame
from .resident_layer import ResidentLayer
from .stack import StackPlanner
from .sums import as_sum


class WaitingLayer(ResidentLayer):
    """The first layer of a phase: its x are h of one step or of two, in pieces of a step and direction each."""

    def _sources(self):
        (source,) = super()._sources()
        pieces = source.elements // self.parts // self._piece
        return [replace(source, elements=self._piece * self.parts)] * pieces

    @property
    def _piece(self):
        """Elements of x that are of one step and direction."""
        below = self.layer.inputs // WAITS[self.layer.waits]
        return below // 2 if self.layer.waits in ("apart", "both") else below

    def _x_vector(self, tile, step, column, number):
        """Of the h of all steps, which are there: of the step or the one as far from the end, or of the last one."""
        ends = {"ends": (0, 1), "last": (1,), "twice": (1, 1)}.get(self.layer.waits, (0, 1, 1, 0))
        other = ends[column // self._piece]
        element = column % self.below.layer.outputs
        first = self.below.h + self.reach if other else self.below.h_before(number + 1)
        return {"space": SPACE_H, "operand": first + element}


class PhasePlanner(StackPlanner):
    """A stack whose layers take their steps together, or in phases where some of them wait."""

    def among(self, number: int) -> tuple[tuple[list[int], list[int]], int, int]:
        """Of the layers that take their steps together with one: the tokens that each recurrent one makes in a step,
        and each linear one but the head; its place among them; and the steps whose h it keeps, for one that waits."""
        phases, last = self.network.phases, len(self.network.phases) - 1
        firsts = list(accumulate(map(len, phases), initial=0))
        phase = min(last, bisect_right(firsts, number) - 1)
        linear = self.network.linear[:-1] if phase == last else ()
        sizes = [s.outputs * (1 + s.reset_before) for s in phases[phase]], [s.outputs for s in linear]
        above = phases[phase + 1][0].waits if phase < last and number + 1 == firsts[phase + 1] else ""
        return sizes, number - firsts[phase], {"": 0, **dict.fromkeys(LAST, 2)}.get(above, self.network.kept)

    def _run(self):
        if not self.network.waits:
            super()._run()
            return
        b, rest = self.b, list(self.layers)
        b.entry("run")
        b.emit("BUFFERS", count=self.layers[0].buffers)
        phases = [[rest.pop(0) for _ in shapes] for shapes in self.network.phases]
        phases[-1] += self.heads if not self.heads_behind else ()
        done, reach = b.since_zero(), as_sum(0)
        for head in self.heads_behind:
            head.done = done
        for _ in b.cleared():
            pass
        for phase, following in zip(phases, (*phases[1:], None), strict=True):
            reach = self._phase(phase, following, reach, done)
        self._end()

    def _phase(self, layers, following, reach, done):
        """All steps of layers that take them together: as many as x has, or as the last h is repeated. Where one reads
        what is ``reach`` elements behind the first h of those before, as far from the last step as it is from the
        first; the reach of those that follow."""
        b, waits = self.b, layers[0].layer.waits
        for layer in layers:
            layer.begin()
            layer.reach, layer.done = reach, done
        self._zero(layers, sum(layers[0].tail))
        next_reach = b.variable(layers[-1].zero_at) if following else None
        repeats = self.network.repeats if layers[0].number >= self.network.repeating else 0
        counts = None if following else done
        for step in b.each(repeats, counts=counts) if repeats else b.steps(counts):
            for layer in layers:
                layer.done = step if following else done
                layer.frame(Frame(step, step, as_sum(1), None, None, None))
            for end, kept, back in ((next_reach, layers[-1], False), (reach, layers[0].below, True)):
                if end is not None and kept and (not back or waits not in LAST):
                    b.advance(end, (kept.kept - 1 if back else 1) * kept.stride, kept.kept * kept.stride)
        if following:
            b.await_tokens(SPACE_H, sum(layers[0].tail))
        return next_reach
