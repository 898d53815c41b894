"""One door to Amaranth's simulator, and the stream helpers that every component bench uses.

A *bench* is an async function of the simulator context. All benches start in cycle 0; cycle n ends with the n-th
rising clock edge, and what is sampled in it is what the flip-flops see at that edge.
"""

import itertools

from amaranth import Value
from amaranth.sim import Simulator

CYCLES_LIMIT = 50_000
"""Cycles after which a bench counts as hung."""


def simulate(component, *benches, background=(), limit=CYCLES_LIMIT):
    """Run benches until all of ``benches`` have returned; those in ``background`` run beside them.

    Raises
    ------
    AssertionError
        From a bench, or because ``limit`` cycles have passed.
    """
    simulator = Simulator(component)
    simulator.add_clock(1e-6)

    async def watchdog(context):
        for _ in range(limit):
            await context.tick()
        raise AssertionError(f"the bench does not end within {limit} cycles")

    for bench in benches:
        simulator.add_testbench(bench)
    for bench in (*background, watchdog):
        simulator.add_testbench(bench, background=True)
    simulator.run()


def observe(callback, *signals):
    """Background bench: calls ``callback(cycle, *values)`` in every cycle with what the signals are at its end."""

    async def bench(context):
        # Not `async for`: a background bench is dropped in the middle, which asynchronous generators take badly.
        for now in itertools.count():
            _, _, *values = await context.tick().sample(*signals)
            callback(now, *values)

    return bench


def raw(value):
    """The bits of a view or signal, for comparisons and sampling."""
    return Value.cast(value)


def source(stream, payloads, rng, idle=0.0, offered=None, taken=None):
    """Bench that sends payloads; between two, it is idle in a cycle with probability ``idle``.

    ``offered`` and ``taken`` collect the cycles of first VALID and of the handshake.
    """

    async def bench(context):
        now = 0
        for payload in payloads:
            while idle and rng.random() < idle:
                await context.tick()
                now += 1
            context.set(stream.valid, 1)
            context.set(stream.payload, payload)
            if offered is not None:
                offered.append(now)
            done = False
            while not done:
                _, _, done = await context.tick().sample(stream.ready)
                now += 1
            if taken is not None:
                taken.append(now - 1)
            context.set(stream.valid, 0)

    return bench


def sink(stream, rng, stall=0.0, received=None, times=None):
    """Background bench that takes payloads; it is not ready in a cycle with probability ``stall``.

    ``received`` collects payloads, ``times`` the cycles of the handshakes.
    """

    async def bench(context):
        for now in itertools.count():
            ready = not (stall and rng.random() < stall)
            context.set(stream.ready, ready)
            _, _, valid, payload = await context.tick().sample(stream.valid, stream.payload)
            if ready and valid:
                if received is not None:
                    received.append(payload)
                if times is not None:
                    times.append(now)

    return bench


def monitor(stream, name="stream"):
    """Background bench: VALID is never withdrawn and the payload is stable until it is taken."""
    waiting = None

    def check(now, valid, ready, payload):
        nonlocal waiting
        assert waiting is None or (valid and payload == waiting), (
            f"{name}: {waiting:#x} was withdrawn or changed in cycle {now} before it was taken"
        )
        waiting = payload if valid and not ready else None

    return observe(check, stream.valid, stream.ready, raw(stream.payload))
