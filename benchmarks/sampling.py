"""Times guided sampling against a plain-JAX loop of the same arithmetic, and against the hardware.

Networks of the paper's shapes, observation 28, action 25 (5 x 5), two critics joined by min, 10
Euler steps. `ood` and `qgf` are also timed against the formulation of the published code: whole
batches, both critics stacked under one vmap, one `lax.scan`. Networks are arguments of what is
compiled, in all of them.

    python benchmarks/sampling.py
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from measure import interleaved, matrix_product, print_machine, ratio

import flowguide
from flowguide import nn

OBSERVATION, ACTION, STEPS, MEMBERS = 28, (25,), 10, 2
WEIGHT = 0.1


@dataclasses.dataclass(frozen=True)
class Settings:
    """Times guided sampling for each network, method and batch size."""

    networks: tuple[str, ...] = ("256x3", "512x4")
    """Width and number of hidden layers."""

    batches: tuple[int, ...] = (1, 50, 256)
    """Batch sizes."""

    methods: tuple[str, ...] = ("unguided", "ood", "qgf", "qgf_jacobian", "ode", "bptt")
    """Methods, of those that flowguide.guide knows, and "unguided"."""

    critics: tuple[str, ...] = ("separate",)
    """How flowguide's two critics are held: "separate", "stacked" or both."""

    seconds: float = 15.0
    """Seconds of measuring for each network and batch size."""

    warm: int = 1
    """Calls before each that is timed; 0 to find the networks outside the processor's cache."""


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


def plain_loop(method: str) -> Callable[..., Any]:
    """`sample(networks, noise, observations)` in plain JAX, critics as they are held."""

    def sample(networks, noise, observations):
        term = plain_term(method, *networks)
        if method == "bptt":
            action = noise
            for i in range(STEPS):
                action = action + term(i, action, observations) / STEPS
        else:
            action = jax.lax.fori_loop(
                0, STEPS, lambda i, a: a + term(i, a, observations) / STEPS, noise
            )
        return jnp.clip(action, -1, 1)

    return sample


def published_loop(method: str) -> Callable[..., Any]:
    """The same as the published code has it (github.com/zhouzypaul/qgf, `agents/qgf.py`)."""

    def network(mlp, x):
        *hidden, out = mlp.layers
        for layer, norm in zip(hidden, mlp.norms, strict=True):
            x = x @ layer.kernel + layer.bias
            if norm is not None:
                mean = jnp.mean(x, -1, keepdims=True)
                variance = jnp.maximum(jnp.mean(x * x, -1, keepdims=True) - mean * mean, 0)
                x = (x - mean) * (jax.lax.rsqrt(variance + norm.epsilon) * norm.scale) + norm.bias
            x = jax.nn.gelu(x, approximate=True)
        return x @ out.kernel + out.bias

    def sample(networks, noise, observations):
        velocity, critic = networks
        arrays, static = eqx.partition(critic.critics.mlp, eqx.is_array)

        def value(a):
            x = jnp.concatenate([observations, a], -1)

            def one(arrays):
                return network(eqx.combine(arrays, static), x)[..., 0]

            return jnp.sum(jnp.min(jax.vmap(one)(arrays), axis=0))

        def step(a, i):
            t = jnp.ones(len(a)) * (i / STEPS)
            times = jax.vmap(nn.sinusoidal_embedding)(t)
            v = network(velocity.mlp, jnp.concatenate([observations, a, times], -1))
            clean = a if method == "ood" else jnp.clip(a + (1 - t)[:, None] * v, -1, 1)
            return a + (v + WEIGHT * jax.grad(value)(clean)) / STEPS, None

        return jnp.clip(jax.lax.scan(step, noise, jnp.arange(STEPS))[0], -1, 1)

    return sample


def guided_sample(guided: Any, noise: Any, observations: Any) -> Any:
    return jax.vmap(guided.from_noise)(noise, observations)


def compiled(sample: Callable[..., Any], networks: Any, *inputs: Any) -> Callable[[], Any]:
    """A call of `sample(networks, *inputs)`, with the networks' arrays as arguments."""
    arrays, static = eqx.partition(networks, eqx.is_array)
    call = jax.jit(lambda arrays, *inputs: sample(eqx.combine(arrays, static), *inputs))
    return partial(call, arrays, *inputs)


def stacked(critic: flowguide.Ensemble) -> flowguide.Ensemble:
    """The same critics, each array with a leading axis."""
    arrays, static = zip(*(eqx.partition(c, eqx.is_array) for c in critic.critics), strict=True)
    together = jax.tree.map(lambda *xs: jnp.stack(xs), *arrays)
    return flowguide.Ensemble(eqx.combine(together, static[0]), critic.reduction)


def operations(method: str, hidden: tuple[int, ...]) -> float:
    """Floating-point operations in the matrix products of one action, backward passes included."""

    def products(sizes):
        return 2.0 * sum(a * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))

    policy = products((OBSERVATION + 25 + 16, *hidden, 25))
    # A gradient in the input: the products of the forward pass, and as many backward.
    critic = 2 * MEMBERS * products((OBSERVATION + 25, *hidden, 1))
    rollouts = sum(STEPS - k for k in range(STEPS))
    return {
        "unguided": STEPS * policy,
        "ood": STEPS * (policy + critic),
        "qgf": STEPS * (policy + critic),
        "qgf_jacobian": STEPS * (2 * policy + critic),
        "ode": STEPS * (policy + critic) + rollouts * policy,
        "bptt": STEPS * (policy + critic) + 2 * rollouts * policy,
    }[method]


def measure(settings: Settings, hidden: tuple[int, ...], batch: int) -> None:
    velocity = nn.VelocityMLP(OBSERVATION, ACTION, hidden, key=jax.random.key(0))
    separate = nn.critic_ensemble(
        MEMBERS, OBSERVATION, ACTION, hidden, stacked=False, key=jax.random.key(1)
    )
    held = {"separate": separate, "stacked": stacked(separate)}
    policy = flowguide.FlowPolicy(velocity, ACTION, num_steps=STEPS)
    noise = jax.random.normal(jax.random.key(2), (batch, *ACTION))
    observations = jax.random.normal(jax.random.key(3), (batch, OBSERVATION))
    product, product_operations = matrix_product()
    calls: dict[str, Callable[[], Any]] = {"product": product}
    rows = []
    for method in settings.methods:
        plain = compiled(plain_loop(method), (velocity, separate), noise, observations)
        calls[f"{method} plain"] = plain
        if method in ("ood", "qgf"):
            networks = velocity, held["stacked"]
            published = compiled(published_loop(method), networks, noise, observations)
            calls[f"{method} published"] = published
        for how in settings.critics if method != "unguided" else settings.critics[:1]:
            guided = policy
            if method != "unguided":
                guided = flowguide.guide(policy, held[how], method, weight=WEIGHT)
            ours = compiled(guided_sample, guided, noise, observations)
            difference = jnp.max(jnp.abs(ours() - plain()))
            # The time embedding turns one rounding of t into 1e-3 radians.
            assert difference < 5e-3, f"{method} differs from the plain loop by {difference}"
            calls[f"{method} {how}"] = ours
            rows.append((method, how))
    times = interleaved(calls, settings.seconds, warm=settings.warm)
    peak = product_operations / np.median(times["product"])
    name = f"{hidden[0]}x{len(hidden)}"
    print(f"{name}, batch {batch}, matrix-product peak {peak / 1e9:.0f} GFLOP/s, ", end="")
    print(f"{len(times['product'])} rounds; medians [quartiles of the ratios]")
    columns = f"{'of plain':>18} {'of published':>18} {'of qgf':>18}"
    print(f"{'method':>14} {'critics':>9} {'ms':>9} {'of peak':>8} {columns}")
    for method, how in rows:
        ours = times[f"{method} {how}"]
        share = operations(method, hidden) * batch / np.median(ours) / peak
        others = (f"{method} plain", f"{method} published", f"qgf {how}")
        ratios = [ratio(ours, times[other]) if other in times else "" for other in others]
        shown = " ".join(f"{each:>18}" for each in ratios)
        print(f"{method:>14} {how:>9} {np.median(ours) * 1e3:9.3f} {share:8.0%} {shown}")
    print(flush=True)


def main(settings: Settings) -> None:
    print_machine()
    for network in settings.networks:
        width, depth = map(int, network.split("x"))
        for batch in settings.batches:
            measure(settings, (width,) * depth, batch)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
