"""Times guided sampling against a plain-JAX loop of the same arithmetic, and against the hardware.

Networks of the paper's shape: hidden 512x4, observation 28, action 25 (5 x 5), two critics joined
by min, 10 Euler steps.

    python benchmarks/sampling.py
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from measure import interleaved, matrix_product, print_machine

import flowguide
from flowguide import nn

OBSERVATION, ACTION, HIDDEN, STEPS, MEMBERS = 28, (25,), (512,) * 4, 10, 2
WEIGHT = 0.1


@dataclasses.dataclass(frozen=True)
class Settings:
    """Times guided sampling for each method and batch size."""

    batches: tuple[int, ...] = (1, 50, 256)
    """Batch sizes."""

    methods: tuple[str, ...] = ("unguided", "ood", "qgf", "qgf_jacobian", "ode", "bptt")
    """Methods, of those that flowguide.guide knows, and "unguided"."""

    seconds: float = 15.0
    """Seconds of measuring for each batch size."""


def plain_term(method: str, velocity: Any, critic: Any) -> Callable[..., Any]:
    """`(step, actions, observations) -> velocity` of a method, for a batch, in plain JAX."""
    flow = jax.vmap(velocity, (None, 0, 0))

    def time(i):
        return jnp.float32(1 / STEPS) * i

    def value(o, a):
        return jnp.sum(jax.vmap(critic)(o, a))

    def rollout(i, a, o):
        return jax.lax.fori_loop(i, STEPS, lambda j, a: a + flow(time(j), a, o) / STEPS, a)

    def one_step(i, a, o):
        return jnp.clip(a + (1 - time(i)) * flow(time(i), a, o), -1, 1)

    gradient = jax.grad(value, argnums=1)
    if method == "unguided":
        return lambda i, a, o: flow(time(i), a, o)
    if method == "ood":
        return lambda i, a, o: flow(time(i), a, o) + WEIGHT * gradient(o, a)
    if method == "qgf":

        def qgf(i, a, o):
            v = flow(time(i), a, o)
            return v + WEIGHT * gradient(o, jnp.clip(a + (1 - time(i)) * v, -1, 1))

        return qgf
    if method == "qgf_jacobian":
        return lambda i, a, o: (
            flow(time(i), a, o) + WEIGHT * jax.grad(lambda a: value(o, one_step(i, a, o)))(a)
        )
    if method == "ode":
        return lambda i, a, o: (
            flow(time(i), a, o) + WEIGHT * gradient(o, jnp.clip(rollout(i, a, o), -1, 1))
        )

    def bptt(i, a, o):
        # A loop with a bound that is known when it is compiled: it has to be differentiated.
        def steps(a):
            for j in range(i, STEPS):
                a = a + flow(time(j), a, o) / STEPS
            return jnp.clip(a, -1, 1)

        return flow(time(i), a, o) + WEIGHT * jax.grad(lambda a: value(o, steps(a)))(a)

    return bptt


def plain_loop(method: str, velocity: Any, critic: Any) -> Callable[..., Any]:
    term = plain_term(method, velocity, critic)

    def sample(noise, observations):
        if method == "bptt":
            action = noise
            for i in range(STEPS):
                action = action + term(i, action, observations) / STEPS
        else:
            action = jax.lax.fori_loop(
                0, STEPS, lambda i, a: a + term(i, a, observations) / STEPS, noise
            )
        return jnp.clip(action, -1, 1)

    return jax.jit(sample)


def operations(method: str) -> float:
    """Floating-point operations in the matrix products of one action, backward passes included."""

    def products(sizes):
        return 2.0 * sum(a * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))

    policy = products((OBSERVATION + 25 + 16, *HIDDEN, 25))
    # A gradient in the input: the products of the forward pass, and as many backward.
    critic = 2 * MEMBERS * products((OBSERVATION + 25, *HIDDEN, 1))
    rollouts = sum(STEPS - k for k in range(STEPS))
    return {
        "unguided": STEPS * policy,
        "ood": STEPS * (policy + critic),
        "qgf": STEPS * (policy + critic),
        "qgf_jacobian": STEPS * (2 * policy + critic),
        "ode": STEPS * (policy + critic) + rollouts * policy,
        "bptt": STEPS * (policy + critic) + 2 * rollouts * policy,
    }[method]


def main(settings: Settings) -> None:
    print_machine()
    velocity = nn.VelocityMLP(OBSERVATION, ACTION, HIDDEN, key=jax.random.key(0))
    critic = nn.critic_ensemble(
        MEMBERS, OBSERVATION, ACTION, HIDDEN, stacked=False, key=jax.random.key(1)
    )
    policy = flowguide.FlowPolicy(velocity, ACTION, num_steps=STEPS)
    product, product_operations = matrix_product()
    for batch in settings.batches:
        noise = jax.random.normal(jax.random.key(2), (batch, *ACTION))
        observations = jax.random.normal(jax.random.key(3), (batch, OBSERVATION))
        calls: dict[str, Callable[[], object]] = {"product": product}
        for method in settings.methods:
            guided = policy
            if method != "unguided":
                guided = flowguide.guide(policy, critic, method, weight=WEIGHT)
            ours, plain = jax.jit(jax.vmap(guided.from_noise)), plain_loop(method, velocity, critic)
            difference = jnp.max(jnp.abs(ours(noise, observations) - plain(noise, observations)))
            # The time embedding turns one rounding of t into 1e-3 radians.
            assert difference < 5e-3, f"{method} differs from the plain loop by {difference}"
            calls[f"{method} ours"] = partial(ours, noise, observations)
            calls[f"{method} plain"] = partial(plain, noise, observations)
        times = interleaved(calls, settings.seconds)
        peak = product_operations / np.median(times["product"])
        print(f"batch {batch}, matrix-product peak {peak / 1e9:.0f} GFLOP/s, ", end="")
        print(f"{len(times['product'])} rounds, medians")
        print(f"{'method':>14} {'ms':>9} {'of peak':>8} {'of plain loop':>14} {'of qgf':>7}")
        for method in settings.methods:
            ours = times[f"{method} ours"]
            ratio = np.median(ours / times[f"{method} plain"])
            share = operations(method) * batch / np.median(ours) / peak
            to_qgf = np.median(ours / times["qgf ours"]) if "qgf ours" in times else np.nan
            print(
                f"{method:>14} {np.median(ours) * 1e3:9.3f} {share:8.0%} {ratio:14.2f} "
                f"{to_qgf:7.2f}"
            )
        print()


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
