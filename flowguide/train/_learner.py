import abc
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from ..data import Batch


class LearnerState(eqx.Module):
    """A model and its optimiser's state.

    **Attributes:**

    - `model`: an `equinox.Module`; its floating-point arrays are the parameters.
    - `optimiser`: the optax state.
    - `average`: an exponential moving average of the model, or None.
    """

    model: PyTree
    optimiser: PyTree
    average: PyTree = None


class AbstractLearner(eqx.Module):
    """Anything that learns from batches: `init(key) -> state`, `update(state, batch, key)`.

    All methods are pure, so the training loop can compile them, and `jax.vmap` train many seeds.
    """

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray) -> Any:
        """The state before the first update."""

    @abc.abstractmethod
    def update(self, state: Any, batch: Any, key: PRNGKeyArray) -> tuple[Any, dict[str, Array]]:
        """One update on a batch, and the losses it was made with."""

    @abc.abstractmethod
    def result(self, state: Any) -> PyTree:
        """What was learnt, as it is used at test time: a velocity field, a critic."""

    def losses(self, state: Any, batch: Any, key: PRNGKeyArray) -> dict[str, Array]:
        """The losses on a batch, such as one of validation data, without learning from it."""
        # Under `jax.jit` the new state is never computed, since nothing reads it.
        return self.update(state, batch, key)[1]


class Jointly(AbstractLearner):
    """Several learners side by side, by name; none sees another.

    **Arguments:**

    - `learners`: a dictionary of learners. Losses are reported as `name/loss`. All learn from the
        same batch, or each from its own if they come from a `flowguide.data.PerLearner`.
    """

    learners: dict[str, AbstractLearner]

    def init(self, key: PRNGKeyArray) -> dict[str, Any]:
        return {name: learner.init(k) for name, learner, k in self._with_keys(key)}

    def update(
        self, state: dict[str, Any], batch: Batch | dict[str, Batch], key: PRNGKeyArray
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        states, losses = {}, {}
        for name, learner, k in self._with_keys(key):
            own = batch[name] if isinstance(batch, dict) else batch
            states[name], own_losses = learner.update(state[name], own, k)
            losses |= {f"{name}/{loss}": value for loss, value in own_losses.items()}
        return states, losses

    def _with_keys(self, key: PRNGKeyArray) -> Iterator[tuple[str, AbstractLearner, PRNGKeyArray]]:
        # By name, as JAX orders dictionaries: else compiled and not, keys would go to others.
        for name, k in zip(sorted(self.learners), jr.split(key, len(self.learners)), strict=True):
            yield name, self.learners[name], k

    def result(self, state: dict[str, Any]) -> dict[str, PyTree]:
        return {name: learner.result(state[name]) for name, learner in self.learners.items()}


def init_state(
    model: PyTree, optimiser: optax.GradientTransformation, *, averaged: bool = False
) -> LearnerState:
    parameters = eqx.filter(model, eqx.is_inexact_array)
    return LearnerState(model, optimiser.init(parameters), model if averaged else None)


def apply_gradient(
    state: LearnerState,
    gradient: PyTree,
    optimiser: optax.GradientTransformation,
    average_rate: float = 0.0,
) -> LearnerState:
    """One step of the optimiser, after which the average, if there is one, follows the model."""
    parameters = eqx.filter(state.model, eqx.is_inexact_array)
    updates, optimiser_state = optimiser.update(gradient, state.optimiser, parameters)
    model = eqx.apply_updates(state.model, updates)
    average = None if state.average is None else follow(state.average, model, average_rate)
    return LearnerState(model, optimiser_state, average)


def follow(target: PyTree, model: PyTree, rate: float) -> PyTree:
    """The target, moved a step of `rate` towards the model."""
    new, static = eqx.partition(model, eqx.is_inexact_array)
    old = eqx.filter(target, eqx.is_inexact_array)
    return eqx.combine(optax.incremental_update(new, old, rate), static)


def copied(model: PyTree) -> PyTree:
    """The model in memory of its own: a state is consumed by the update that follows it."""
    return jax.tree.map(lambda x: x.copy() if eqx.is_array(x) else x, model)


def mean_loss(loss: Callable[..., Array], weights: Array, *batched: PyTree) -> Array:
    """`loss` of each sample of a batch, averaged over the samples that count.

    Divided by how much they count, and not by how many there are.
    """
    return weighted_mean(jax.vmap(loss)(*batched), weights)


def weighted_mean(values: Array, weights: Array) -> Array:
    return (values * weights).sum() / weights.sum()


def check_rate(name: str, rate: float) -> None:
    if not 0 < rate <= 1:
        raise ValueError(f"{name} must be in (0, 1], got {rate}.")
