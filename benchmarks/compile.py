"""Times the first guided action, compilation included, against a plain-JAX loop.

Small networks (64x2), observation 28, action 25 (5 x 5), two critics joined by min, 10 Euler steps.
Before each call everything compiled is forgotten; there is no cache on disk. The plain loop, one
`lax.scan` over the steps, is written for `unguided`, `ood`, `qgf` and `bptt`.

    python benchmarks/compile.py
"""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from measure import print_machine, ratio

import flowguide
from flowguide import nn

OBSERVATION, ACTION, HIDDEN, STEPS, WEIGHT = 28, (25,), (64, 64), 10, 0.1


@dataclasses.dataclass(frozen=True)
class Settings:
    """Times the first guided action of each method."""

    methods: tuple[str, ...] = ("unguided", *flowguide.CATALOGUE)
    """Methods, of those that flowguide.guide knows, and "unguided"."""

    rounds: int = 9
    """How often each is compiled."""


def plain_call(method: str) -> Callable[[Any, Any, Any], Any]:
    """`sample(networks, noise, observation)` by one scan, to be compiled."""

    def sample(networks, noise, observation):
        velocity, critic = networks

        def flow(i, a):
            return velocity(jnp.float32(1 / STEPS) * i, a, observation)

        def gradient(a):
            return jax.grad(lambda a: critic(observation, a))(a)

        def finish(i, a):
            # A loop that can be differentiated has a fixed number of steps.
            def rest(a, j):
                return a + jnp.where(j >= i, flow(j, a), 0) / STEPS, None

            return jnp.clip(jax.lax.scan(rest, a, jnp.arange(STEPS))[0], -1, 1)

        def step(a, i):
            v = flow(i, a)
            if method == "ood":
                v = v + WEIGHT * gradient(a)
            if method == "qgf":
                v = v + WEIGHT * gradient(jnp.clip(a + (1 - i / STEPS) * v, -1, 1))
            if method == "bptt":
                v = v + WEIGHT * jax.grad(lambda a: critic(observation, finish(i, a)))(a)
            return a + v / STEPS, None

        return jnp.clip(jax.lax.scan(step, noise, jnp.arange(STEPS))[0], -1, 1)

    return eqx.filter_jit(sample)


def guidance_of(method: str) -> Any:
    """The method with a number for its weight: units that are measured are another cost."""
    make = flowguide.CATALOGUE[method]
    if method == "trust_region":
        return make.make(flowguide.qgf(weight=WEIGHT))
    return make.make(**({"weight": WEIGHT} if make.has_weight else {}))


def calls_of(method: str) -> dict[str, Callable[[], Any]]:
    """The first action, each time of functions that were never called."""
    key = jax.random.key(0)
    observation = jnp.zeros(OBSERVATION)
    velocity = nn.VelocityMLP(OBSERVATION, ACTION, HIDDEN, key=key)
    critic: Any = nn.critic_ensemble(
        2, OBSERVATION, ACTION, HIDDEN, stacked=False, noisy=method == "robust_q", key=key
    )
    if method == "robust_q":
        critic = flowguide.NoiseConditionedCritic(critic)
    field: Any = velocity
    if method == "cfg":
        labelled = nn.VelocityMLP(OBSERVATION, ACTION, HIDDEN, num_labels=2, key=key)
        field = flowguide.ClassifierFreeVelocity(labelled, 1, -1)
    policy = flowguide.FlowPolicy(field, ACTION, num_steps=STEPS)
    guided: Any = policy
    if method != "unguided":
        guided = flowguide.guide(policy, critic, guidance_of(method))
    noise = jax.random.normal(key, guided.noise_shape)
    calls = {"ours": partial(guided.from_noise, noise, observation)}
    if method in ("unguided", "ood", "qgf", "bptt"):
        plain = plain_call(method)
        calls["plain"] = partial(plain, (velocity, critic), noise, observation)
        difference = jnp.max(jnp.abs(calls["ours"]() - calls["plain"]()))
        assert difference < 5e-3, f"{method} differs from the plain loop by {difference}"
    return calls


def first(call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and seconds of a processor, until a call that was forgotten returns."""
    jax.clear_caches()
    eqx.clear_caches()
    wall, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(call())
    return time.perf_counter() - wall, time.process_time() - cpu


def main(settings: Settings) -> None:
    jax.config.update("jax_enable_compilation_cache", False)
    print_machine()
    print(f"{settings.rounds} rounds; medians [quartiles of the ratios]")
    print(f"{'method':>20} {'s':>7} {'of plain':>18} {'CPU: of plain':>18}")
    for method in settings.methods:
        calls = calls_of(method)
        found = {name: [] for name in calls}
        for _ in range(settings.rounds):
            for name, call in calls.items():
                found[name].append(first(call))
        times = {name: np.array(each) for name, each in found.items()}
        shown = ["", ""]
        if "plain" in times:
            shown = [ratio(times["ours"][:, i], times["plain"][:, i]) for i in (0, 1)]
        print(f"{method:>20} {np.median(times['ours'][:, 0]):7.3f} ", end="")
        print(" ".join(f"{each:>18}" for each in shown), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
