"""Times flowguide's dense and normalisation layers against equinox's, in an MLP at batch 256.

Why `flowguide.nn` has layers of its own.

    python benchmarks/layers.py
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from measure import interleaved, print_machine

from flowguide import nn

BATCH, IN_SIZE, OUT_SIZE, REPEATS = 256, 53, 25, 10


@dataclasses.dataclass(frozen=True)
class Settings:
    """Times a forward pass and a gradient step of both MLPs."""

    networks: tuple[str, ...] = ("256x3", "512x4")
    """Hidden sizes, as WIDTHxDEPTH."""

    seconds: float = 15.0
    """Seconds of measuring for each network."""


class EquinoxMLP(eqx.Module):
    layers: list[eqx.nn.Linear]
    norms: list[eqx.nn.LayerNorm]

    def __init__(self, hidden: tuple[int, ...]):
        sizes = (IN_SIZE, *hidden, OUT_SIZE)
        keys = jax.random.split(jax.random.key(0), len(sizes))
        pairs = zip(sizes[:-1], sizes[1:], keys, strict=False)
        self.layers = [eqx.nn.Linear(a, b, key=key) for a, b, key in pairs]
        self.norms = [eqx.nn.LayerNorm(size) for size in hidden]

    def __call__(self, x):
        for layer, norm in zip(self.layers[:-1], self.norms, strict=True):
            x = jax.nn.gelu(norm(layer(x)))
        return self.layers[-1](x)


def calls_of(model: Any, x: jax.Array) -> dict[str, Any]:
    arrays, static = eqx.partition(model, eqx.is_array)

    def apply(arrays, x):
        return jax.vmap(eqx.combine(arrays, static))(x)

    @jax.jit
    def forward(arrays, x):
        def step(_, x):
            return x.at[:, :OUT_SIZE].add(1e-3 * apply(arrays, x))

        return jax.lax.fori_loop(0, REPEATS, step, x)

    @jax.jit
    def train(arrays, x):
        def step(_, arrays):
            gradient = jax.grad(lambda arrays: jnp.mean(apply(arrays, x) ** 2))(arrays)
            return jax.tree.map(lambda a, g: a - 1e-3 * g, arrays, gradient)

        return jax.lax.fori_loop(0, REPEATS, step, arrays)

    return {"forward": lambda: forward(arrays, x), "train": lambda: train(arrays, x)}


def main(settings: Settings) -> None:
    print_machine()
    x = jax.random.normal(jax.random.key(1), (BATCH, IN_SIZE))
    print(f"{'hidden':>8} {'pass':>8} {'flowguide ms':>13} {'equinox ms':>11} {'ratio':>6}")
    for network in settings.networks:
        width, depth = (int(number) for number in network.split("x"))
        hidden = (width,) * depth
        ours = calls_of(nn.MLP(IN_SIZE, OUT_SIZE, hidden, key=jax.random.key(0)), x)
        theirs = calls_of(EquinoxMLP(hidden), x)
        calls = {f"{name} ours": call for name, call in ours.items()}
        calls |= {f"{name} theirs": call for name, call in theirs.items()}
        times = interleaved(calls, settings.seconds)
        for name in ours:
            one, other = times[f"{name} ours"] / REPEATS, times[f"{name} theirs"] / REPEATS
            print(
                f"{network:>8} {name:>8} {np.median(one) * 1e3:13.3f} "
                f"{np.median(other) * 1e3:11.3f} {np.median(one / other):6.2f}   "
                f"({len(one)} rounds of {REPEATS})"
            )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
