import abc
from typing import Any

import equinox as eqx
import jax.random as jr
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from ..data import Batch


class LearnerState(eqx.Module):
    """A model and its optimiser's state."""

    model: PyTree
    optimiser: PyTree


class AbstractLearner(eqx.Module):
    """Anything that learns from batches: `init(key) -> state`, `update(state, batch, key)`.

    Both are pure, so the training loop can scan them, and `jax.vmap` can train many seeds.
    """

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray) -> Any:
        """The state before the first update."""

    @abc.abstractmethod
    def update(self, state: Any, batch: Batch, key: PRNGKeyArray) -> tuple[Any, dict[str, Array]]:
        """One update on a batch, and the losses it was made with."""


class Jointly(AbstractLearner):
    """Several learners on the same batches, by name; none sees another.

    **Arguments:**

    - `learners`: a dictionary of learners. Losses are reported as `name/loss`.
    """

    learners: dict[str, AbstractLearner]

    def init(self, key: PRNGKeyArray) -> dict[str, Any]:
        keys = jr.split(key, len(self.learners))
        named = zip(self.learners.items(), keys, strict=True)
        return {name: learner.init(k) for (name, learner), k in named}

    def update(
        self, state: dict[str, Any], batch: Batch, key: PRNGKeyArray
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        keys = jr.split(key, len(self.learners))
        states, losses = {}, {}
        for (name, learner), k in zip(self.learners.items(), keys, strict=True):
            states[name], found = learner.update(state[name], batch, k)
            losses |= {f"{name}/{loss}": value for loss, value in found.items()}
        return states, losses


def init_state(model: PyTree, optimiser: optax.GradientTransformation) -> LearnerState:
    return LearnerState(model, optimiser.init(eqx.filter(model, eqx.is_inexact_array)))


def apply_gradient(
    state: LearnerState, gradient: PyTree, optimiser: optax.GradientTransformation
) -> LearnerState:
    parameters = eqx.filter(state.model, eqx.is_inexact_array)
    updates, optimiser_state = optimiser.update(gradient, state.optimiser, parameters)
    return LearnerState(eqx.apply_updates(state.model, updates), optimiser_state)


def weighted_mean(losses: Array, weights: Array) -> Array:
    """The mean over the windows that count, divided by how much they count."""
    return (losses * weights).sum() / weights.sum()
