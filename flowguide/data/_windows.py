import abc
import warnings
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._checks import as_positive_int
from .._pytree import PyTree
from ._dataset import Dataset


class Batch(eqx.Module):
    """Windows of `horizon` actions, each with its return.

    **Attributes:** (for one window; a batch has a leading axis)

    - `observation`: the state that the window starts from, shape `(observation,)`, or a dictionary
        of arrays as the dataset's; with goals, state and goal one after the other.
    - `action`: its actions, shape `(horizon, action)`.
    - `reward`: the discounted sum of its rewards, up to the first end of the task, shape `()`.
    - `discount`: the factor of the bootstrap, `gamma ** horizon`, 0 if the task ended within.
    - `next_observation`: the state after its last action, like `observation`.
    - `weight`: how much the window counts in a loss, shape `()`.
    - `next_action`: the actions that follow it in the data, like `action`, where a sampler gives
        them, and None elsewhere. Meaningless where `discount` is 0.
    """

    observation: PyTree
    action: Float[Array, "*batch horizon action"]
    reward: Float[Array, "*batch"]
    discount: Float[Array, "*batch"]
    next_observation: PyTree
    weight: Float[Array, "*batch"]
    next_action: Float[Array, "*batch horizon action"] | None = None


class AbstractSampler(eqx.Module):
    """Anything that batches are drawn from, on the device and inside the training loop."""

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray, batch_size: int) -> "Batch | dict[str, Batch]":
        """A batch, with replacement. The same key gives the same batch."""


class PerLearner(AbstractSampler):
    """A batch of its own for each learner of a `flowguide.train.Jointly`, by name.

    **Arguments:**

    - `samplers`: a dictionary of samplers, such as `{"policy": ..., "critic": ...}`.
    """

    samplers: dict[str, AbstractSampler]

    def sample(self, key: PRNGKeyArray, batch_size: int) -> dict[str, Batch]:
        # By name, as JAX orders dictionaries: else compiled and not, keys would go to others.
        named = zip(sorted(self.samplers), jr.split(key, len(self.samplers)), strict=True)
        batches: Any = {name: self.samplers[name].sample(k, batch_size) for name, k in named}
        return batches


Returns = Literal["n_step", "monte_carlo", "success_to_go"]


class Windows(AbstractSampler):
    """All windows of `horizon` actions that lie within one episode, sampled on the device.

    **Arguments:**

    - `dataset`: the episodes. Without a task, rewards and discounts are NaN: a policy can
        learn from them, and a critic's loss stops the training.
    - `horizon`: the number of actions in a window (the action chunk).
    - `discount`: gamma, for each step.
    - `returns`: what `reward` and `discount` of a window are:
        - `"n_step"`: the sum over the window, and the factor of the bootstrap after it;
        - `"monte_carlo"`: the sum to the end of the task or of the episode, and 0: nothing is left
            to bootstrap. An episode that was cut off counts as one that ended there.
        - `"success_to_go"`: `gamma ** (steps until success)`, 0 where none follows in the episode,
            and 0. Source: Guided Action Flow (arXiv 2607.02092).
    - `every`: windows start at every so many steps of an episode: where a policy that plays `every`
        actions of each chunk chose the next.
    - `next_actions`: give each window the actions that follow it. Windows that no whole window
        follows are left out, unless the task ends within them.

    **Raises:**

    `ValueError` if no episode is long enough, the discount is outside [0, 1], or returns are asked
    of a dataset without a task. Episodes that are too short are left out, counted and warned of.
    """

    dataset: Dataset
    starts: Int[Array, " N"]
    count: Int[Array, ""]
    to_go: Float[Array, " N"] | None
    horizon: int = eqx.field(static=True)
    discount: float = eqx.field(static=True)
    next_actions: bool = eqx.field(static=True)

    def __init__(
        self,
        dataset: Dataset,
        horizon: int = 1,
        discount: float = 0.99,
        *,
        returns: Returns = "n_step",
        every: int = 1,
        next_actions: bool = False,
    ):
        self.dataset = dataset
        self.horizon = as_positive_int("horizon", horizon)
        if not 0 <= discount <= 1:
            raise ValueError(f"discount must be in [0, 1], got {discount}.")
        self.discount = float(discount)
        if returns not in ("n_step", "monte_carlo", "success_to_go"):
            raise ValueError(
                f"Unknown returns {returns!r}: expected 'n_step', 'monte_carlo' or 'success_to_go'."
            )
        ends = np.asarray(dataset.ends)
        num_rows = len(ends)
        rows, last = np.arange(num_rows), episode_ends(ends)
        step = rows - np.append(0, np.flatnonzero(ends) + 1)[np.cumsum(ends) - ends]
        is_start = step % as_positive_int("every", every) == 0
        is_whole = rows + self.horizon <= last
        self.next_actions = bool(next_actions)
        if self.next_actions:
            is_over = np.append(0, np.cumsum(np.asarray(dataset.task[1]) == 0))
            until = np.minimum(rows + self.horizon, num_rows)
            is_whole &= (rows + 2 * self.horizon <= last) | (is_over[until] > is_over[rows])
        starts = np.flatnonzero(is_start & is_whole)
        lengths = np.diff(np.flatnonzero(ends), prepend=-1) - 1
        if not len(starts):
            needed = 2 * self.horizon if self.next_actions else self.horizon
            raise ValueError(
                f"No episode has {needed} actions in a row: the longest has {lengths.max()}."
            )
        # Episodes without any action are padding.
        too_short = np.sum((lengths > 0) & (lengths < self.horizon))
        if too_short:
            warnings.warn(
                f"{too_short} of {len(lengths)} episodes have fewer than {self.horizon} actions: "
                "they are left out.",
                stacklevel=2,
            )
        # As long as the dataset, whatever the number of windows: slices of one size share a
        # compiled program.
        self.starts = jax.device_put(np.resize(starts, num_rows).astype(np.int32))
        self.count = jax.device_put(np.int32(len(starts)))
        self.to_go = None
        if returns != "n_step":
            rewards, masks = (np.asarray(x, np.float64) for x in dataset.task)
            if returns == "success_to_go":
                # The return of a reward for solving the task, once.
                rewards = np.asarray(dataset.solved, np.float64)
                masks = masks * (1 - rewards)
            to_go = discounted_to_go(rewards, masks, ends, self.discount)
            self.to_go = jax.device_put(to_go.astype(np.float32))

    def __len__(self) -> int:
        return int(self.count)

    def at(self, start: Int[Array, ""]) -> Batch:
        """The window that starts at a row of the dataset."""
        data = self.dataset
        if self.to_go is not None:
            reward, discount = self.to_go[start], jnp.zeros(())
        elif data.rewards is None or data.masks is None:
            reward = discount = jnp.full((), jnp.nan)
        else:
            reward, discount = n_step(
                self.slice(data.rewards, start), self.slice(data.masks, start), self.discount
            )
        return Batch(
            observation=rows_at(data.observations, start),
            action=self.slice(data.actions, start),
            reward=reward,
            discount=discount,
            next_observation=rows_at(data.observations, start + self.horizon),
            weight=jnp.ones(()),
            next_action=(
                self.slice(data.actions, start + self.horizon) if self.next_actions else None
            ),
        )

    def slice(self, rows: Array, start: Int[Array, ""]) -> Array:
        return jax.lax.dynamic_slice_in_dim(rows, start, self.horizon)

    def sample_starts(self, key: PRNGKeyArray, batch_size: int) -> Int[Array, " batch"]:
        """First rows of windows, uniformly and with replacement."""
        return self.starts[jr.randint(key, (batch_size,), 0, self.count)]

    def sample(self, key: PRNGKeyArray, batch_size: int) -> Batch:
        return jax.vmap(self.at)(self.sample_starts(key, batch_size))


def rows_at(observations: PyTree, rows: Int[Array, "*rows"]) -> PyTree:
    """Some rows of each array of observations."""
    return jax.tree.map(lambda x: x[rows], observations)


def n_step(
    rewards: Float[Array, " horizon"], masks: Float[Array, " horizon"], gamma: float
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The discounted sum of rewards up to the step that ends the task, and the bootstrap factor."""
    horizon = len(rewards)
    gammas = gamma ** np.arange(horizon, dtype=np.float32)
    # 1 until the step at which the task ends, which still counts; 0 after it.
    alive = jnp.cumprod(jnp.concatenate([jnp.ones(1, masks.dtype), masks[:-1]]))
    return jnp.sum(gammas * alive * rewards), gamma**horizon * jnp.prod(masks)


def episode_ends(ends: np.ndarray) -> np.ndarray:
    """For each row, the row on which its episode ends. Shape `(N,)`."""
    return np.flatnonzero(ends)[np.cumsum(ends) - ends]


def discounted_to_go(
    rewards: np.ndarray, masks: np.ndarray, ends: np.ndarray, gamma: float
) -> np.ndarray:
    """Each row's return `G = r + gamma * mask * G_next`, ended by its episode. Shape `(N,)`."""
    returns = np.array(rewards)
    last = np.flatnonzero(ends)
    lengths = np.diff(last, prepend=-1)
    # All episodes at once, one step back at a time; the longest first, so that those which have
    # ended are no longer looked at.
    order = np.argsort(-lengths, kind="stable")
    last, lengths = last[order], lengths[order]
    going = np.searchsorted(-lengths, -np.arange(1, lengths[0]), side="left")
    for steps_back, count in enumerate(going, start=1):
        rows = last[:count] - steps_back
        returns[rows] += gamma * masks[rows] * returns[rows + 1]
    return returns
