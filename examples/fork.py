"""A point goes round a disc, on either side: demonstrations, and two flow policies of them.

An action is a velocity, and a chunk has 16 of them. Demonstrations choose a side at random, and
where they begin nothing shows which.
"""

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import flowguide
from flowguide import nn, train
from flowguide.data import from_arrays, Windows

HORIZON, LENGTH = 16, 48
SPEED = 1 / 16  # How far the point moves forward in a step: the unit of actions.
START, RADIUS = -1.5, 0.35


def demonstrations(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions `(count, steps + 1, 2)` and actions `(count, steps, 2)`.

    They go on for a chunk after the last step of an episode, so that each step begins a chunk.
    """
    rng = np.random.default_rng(seed)
    steps = LENGTH + HORIZON
    moves = SPEED * (1 + 0.1 * rng.normal(size=(count, steps)))
    x = np.cumsum(np.pad(moves, ((0, 0), (1, 0)), constant_values=0), axis=1) + START
    side = rng.choice([-1.0, 1.0], size=(count, 1))
    height = 0.6 + 0.05 * rng.normal(size=(count, 1))
    wobble = np.zeros_like(x)
    wobble[:, 0] = 0.03 * rng.normal(size=count)
    for i in range(steps):
        wobble[:, i + 1] = 0.9 * wobble[:, i] + 0.01 * rng.normal(size=count)
    around = np.where(abs(x) < 1, (1 + np.cos(np.pi * x)) / 2, 0)
    positions = np.stack([x, side * height * around + wobble], axis=-1)
    return positions, np.diff(positions, axis=1) / SPEED


def chunks_of(positions: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each chunk begins, and the chunks: those of all demonstrations, at each step."""
    starts = range(LENGTH + 1)
    begin = np.concatenate([positions[:, i] for i in starts])
    chunks = np.concatenate([actions[:, i : i + HORIZON] for i in starts])
    return begin.astype(np.float32), chunks.astype(np.float32)


def network_policy(
    positions: np.ndarray, actions: np.ndarray, seed: int, updates: int
) -> flowguide.FlowPolicy:
    """Of a network that was trained by flow matching."""
    ends = np.zeros(positions.shape[:2])
    ends[:, -1] = 1
    with warnings.catch_warnings():
        # Of actions outside [-1, 1]: this policy has no bounds.
        warnings.simplefilter("ignore")
        dataset = from_arrays(
            observations=positions.reshape(-1, 2),
            # A row for each state, and the last one's action is in no chunk.
            actions=np.pad(actions, ((0, 0), (0, 1), (0, 0))).reshape(-1, 2),
            ends=ends.reshape(-1),
        )
    learner = train.FlowMatching(
        lambda key: nn.VelocityMLP(2, (HORIZON, 2), (256, 256, 256), key=key),
        optax.adam(optax.cosine_decay_schedule(1e-3, updates)),
    )
    state = train.train(learner, Windows(dataset, HORIZON), steps=updates, key=jr.key(seed))
    return _policy(state.result(learner))


class Mixture(eqx.Module):
    """The field from noise to the demonstrations' chunks, each a Gaussian of width `std`.

    The observation is the log probability of each.
    """

    chunks: jax.Array
    std: float = 0.1

    def __call__(self, t, action, observation):
        variance = (1 - t) ** 2 + (t * self.std) ** 2
        flat, chunks = action.reshape(-1), self.chunks.reshape(len(self.chunks), -1)
        # Of the squared distances to `t * chunks` what differs from chunk to chunk.
        distance = t**2 * jnp.sum(chunks**2, axis=1) - 2 * t * chunks @ flat
        near = jax.nn.softmax(observation - distance / (2 * variance)) @ chunks
        away = (t * self.std**2 - (1 - t)) / variance
        return (near + away * (flat - t * near)).reshape(action.shape)


def mixture_policy(positions: np.ndarray, actions: np.ndarray) -> flowguide.FlowPolicy:
    """Of the demonstrations' mixture: those that began near where the point is now."""
    begin, chunks = chunks_of(positions, actions)

    def log_probability(position):
        return -jnp.sum((position - begin) ** 2, axis=1) / (2 * 0.05**2)

    return _policy(Mixture(jnp.asarray(chunks)), encode=log_probability)


def _policy(velocity: Any, **options: Any) -> flowguide.FlowPolicy:
    return flowguide.FlowPolicy(velocity, (HORIZON, 2), low=-jnp.inf, high=jnp.inf, **options)
