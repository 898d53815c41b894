"""Small scenarios for the self-test."""

from tests.sim.scenarios import network_scenario


def small_scenario(vectors=3, steps=5, seed=1, sizes=(3, 10), head=4, **config):
    """A random network, its program and image, a load and some runs, the first from zero state."""
    return network_scenario(seed, sizes, vectors * [steps], head, **config)
