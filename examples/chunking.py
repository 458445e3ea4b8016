"""Does real-time chunking need the Jacobian? Paired episodes of a fork, with a delay.

    python examples/chunking.py

A chunk is computed while the one before is played, so its first actions are no longer its own.
Chunks that are sampled without regard to that may go round the disc on the other side. The velocity
is a network's, or the one of a mixture of the demonstrations, whose Jacobian has no error.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import tyro
from fork import (
    chunks_of,
    demonstrations,
    HORIZON,
    LENGTH,
    mixture_policy,
    network_policy,
    RADIUS,
    SPEED,
    START,
)

import flowguide
from flowguide.results import means, success

REPLAN = 4  # A chunk is asked for after so many steps, or after `delay` if that is later.
SHAKE = 0.005  # Of the point in each step, so that looking again pays.
SAMPLES = 16
NAMES = ("jump", "apart", "off the data")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Plays the episodes, and prints a table for each field and delay."""

    fields: tuple[str, ...] = ("network", "mixture")
    """Velocity fields: trained by flow matching, or in closed form."""

    delays: tuple[int, ...] = (0, 4, 8)
    """How many actions are played while a chunk is computed, at most 8."""

    caps: tuple[float, ...] = (5.0, 10.0, 20.0)
    """Of the weight: 5 in the paper, 10 in LeRobot."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Of demonstrations and networks."""

    episodes: int = 400
    """Episodes of each seed. All arms have the same starts, shakes and noise."""

    demonstrations: int = 64
    """How many there are."""

    updates: int = 10_000
    """Of the network."""


def arms(caps: tuple[float, ...]) -> dict[str, Any]:
    """What is compared, by name."""
    found: dict[str, Any] = {"no coherence": []}
    for cap in caps:
        weight = flowguide.RealTimeWeight(cap=cap)
        found[f"exact Jacobian, cap {cap:g}"] = flowguide.qgf_jacobian(weight)
        found[f"dropped Jacobian, cap {cap:g}"] = flowguide.qgf(weight)
    return {**found, f"nearest of {SAMPLES}": flowguide.best_of_n(SAMPLES)}


@eqx.filter_jit
def play(policy, guidance, chunks, delay, replan: int, keys):
    """For each episode whether it succeeded, and the means over its handovers of `NAMES`."""
    kept = HORIZON - replan

    def next_chunk(left, horizon, position, key):
        keep = flowguide.coherence(left, delay=delay, horizon=horizon)
        guided = flowguide.guide(policy, keep, guidance)
        # The first noise is that of all arms.
        noise = jr.normal(key, (SAMPLES, HORIZON, 2))
        return guided.from_noise(noise if guided.noise_shape == noise.shape else noise[0], position)

    def period(carry, key):
        position, left, last, horizon = carry
        noise_key, shake_key = jr.split(key)
        new = next_chunk(left, horizon, position, noise_key)
        is_played = (jnp.arange(kept) < delay) & (horizon > 0)
        apart = jnp.sum(is_played[:, None] * (new[:kept] - left) ** 2) / jnp.maximum(2 * delay, 1)
        played = new.at[:kept].set(jnp.where(is_played[:, None], left, new[:kept]))
        before = jnp.where(delay > 0, played[jnp.maximum(delay - 1, 0)], last)
        jump = jnp.linalg.norm(played[delay] - before)
        off = jnp.min(jnp.mean((played - chunks) ** 2, axis=(1, 2)))
        found = jnp.stack([jump, jnp.sqrt(apart), jnp.sqrt(off)])
        moves = SPEED * played[:replan] + SHAKE * jr.normal(shake_key, (replan, 2))
        path = position + jnp.cumsum(moves, axis=0)
        carry = path[-1], new[replan:], played[replan - 1], kept
        return carry, (path, jnp.where(horizon > 0, found, jnp.nan))

    def episode(key):
        start_key, key = jr.split(key)
        start = jnp.array([START, 0.03 * jr.normal(start_key)])
        # Before the first chunk there is none to go on with: a horizon of 0.
        carry = start, jnp.zeros((kept, 2)), jnp.zeros(2), 0
        _, (path, found) = jax.lax.scan(period, carry, jr.split(key, LENGTH // replan))
        path = path.reshape(-1, 2)
        is_free = jnp.all(jnp.linalg.norm(path, axis=1) > RADIUS)
        is_there = (path[-1, 0] > 1) & (jnp.abs(path[-1, 1]) < 0.2)
        return is_free & is_there, jnp.nanmean(found, axis=0)

    return jax.lax.map(episode, keys, batch_size=50)


def main(settings: Settings) -> None:
    keys = jr.split(jr.key(1), settings.episodes)
    data = {seed: demonstrations(settings.demonstrations, seed) for seed in settings.seeds}
    describe(data, settings)
    for field in settings.fields:
        policies = {
            seed: mixture_policy(*each)
            if field == "mixture"
            else network_policy(*each, seed, settings.updates)
            for seed, each in data.items()
        }
        for delay in settings.delays:
            replan = max(REPLAN, delay)
            found = {}
            for name, guidance in arms(settings.caps).items():
                each = [
                    play(policy, guidance, chunks_of(*data[seed])[1], delay, replan, keys)
                    for seed, policy in policies.items()
                ]
                found[name] = tuple(np.concatenate(x) for x in zip(*each, strict=True))
            count, handovers = len(settings.seeds) * len(keys), LENGTH // replan - 1
            print(f"\n{field} field, delay {delay}, {count} episodes of {handovers} handovers")
            show(found, next(iter(policies.values())), settings)


def describe(data: dict[int, Any], settings: Settings) -> None:
    """Prints what the measures are in demonstrations."""
    jumps, off = [], []
    for seed, (positions, actions) in data.items():
        jumps.append(np.linalg.norm(np.diff(actions, axis=1), axis=-1).mean())
        _, known = chunks_of(positions, actions)
        _, others = chunks_of(*demonstrations(settings.demonstrations, seed + 1000))
        nearest = [np.min(np.mean((known - other) ** 2, axis=(1, 2))) for other in others[::50]]
        off.append(np.sqrt(nearest).mean())
    print(f"Between actions of demonstrations: jump {np.mean(jumps):.3f}.")
    print(f"Chunks of other demonstrations: off the data {np.mean(off):.3f}.")


def show(found: dict[str, Any], policy: flowguide.FlowPolicy, settings: Settings) -> None:
    """Prints a table, and the differences of the paired episodes."""
    print(f"| arm | success | {' | '.join(NAMES)} | passes |\n|---|---|---|---|---|---|")
    keep = flowguide.coherence(jnp.zeros((HORIZON, 2)))
    for name, guidance in arms(settings.caps).items():
        won, measured = found[name]
        # The critic is no network: it costs next to nothing.
        cost = flowguide.guide(policy, keep, guidance).cost().forwards(critics=0)
        mean = means(measured)
        cells = [_shown(*x) for x in zip(mean.value, mean.low, mean.high, strict=True)]
        print(f"| {name} | {success(won)} | {' | '.join(cells)} | {cost} |")
    for cap in settings.caps:
        exact, dropped = (found[f"{which} Jacobian, cap {cap:g}"] for which in ("exact", "dropped"))
        gained, lost = np.sum(exact[0] & ~dropped[0]), np.sum(dropped[0] & ~exact[0])
        both = [np.column_stack([won, measured]) for won, measured in (exact, dropped)]
        mean = means(both[0] - both[1])
        shown = [
            f"{name} {_shown(*x)}"
            for name, *x in zip(("success", *NAMES), mean.value, mean.low, mean.high, strict=True)
        ]
        print(f"Exact less dropped, cap {cap:g}: gained {gained}, lost {lost}; {', '.join(shown)}")


def _shown(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
