"""Figures that follow from cycle counters, the same for estimated and measured ones."""

from dataclasses import dataclass

STALLS = ("stall_weights", "stall_h", "stall_x", "stall_output")


@dataclass(frozen=True)
class Cycles:
    """Counters of three runs, with what is needed to make sense of them.

    Parameters
    ----------
    load, run, double : dict
        Counters (name -> cycles) of loading the weights, of a run and of one over twice the steps.
    steps : int
        Time steps of the run.
    macs : int
        Useful multiply-accumulates of the run, over all contexts.
    lanes : int
    """

    load: dict
    run: dict
    double: dict
    steps: int
    macs: int
    lanes: int

    @property
    def per_step(self):
        """Cycles of the run for each of its steps, start and end of the run included."""
        return self.run["cycles"] / self.steps

    @property
    def per_further_step(self):
        """Cycles that a longer run takes for each further step."""
        return (self.double["cycles"] - self.run["cycles"]) / self.steps

    @property
    def interstep_stalls(self):
        """Cycles for each further step in which the lanes wait between its columns or for its first one."""
        stalls = [sum(counters[name] for name in STALLS) for counters in (self.run, self.double)]
        # The end of a run may meet another phase of the cell unit and wait a few cycles less.
        return max(0.0, (stalls[1] - stalls[0]) / self.steps)

    @property
    def utilisation(self):
        """Share of all lanes' cycles of the run that form a product that the model needs."""
        return self.macs / (self.lanes * self.run["cycles"])

    def to_dict(self):
        """JSON-able values; the ratios are rounded to six digits behind the point."""
        ratios = ("per_step", "per_further_step", "interstep_stalls", "utilisation")
        return {"steps": self.steps, "macs": self.macs, "lanes": self.lanes,
                **{name: round(getattr(self, name), 6) for name in ratios},
                "run": self.run, "load": self.load, "double": self.double}
