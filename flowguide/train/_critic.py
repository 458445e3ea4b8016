from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from ._learner import apply_gradient, LearnerState, mean_loss, weighted_mean


def critic_loss(values: Float[Array, " K"], target: Float[Array, ""]) -> Float[Array, ""]:
    """The squared error of an ensemble's members against one target, summed over the members.

    Summed, so that each member's gradient does not depend on how many there are.

    **Arguments:**

    - `values`: the members' values of one observation and action, shape `(K,)`.
    - `target`: what each should have said, shape `()`.

    **Returns:**

    The loss, shape `()`, in squared units of the value.
    """
    return ((values - target) ** 2).sum()


def regress(
    state: LearnerState,
    optimiser: optax.GradientTransformation,
    observation: PyTree,
    action: Float[Array, "batch *action"],
    target: Float[Array, " batch"],
    weight: Float[Array, " batch"],
    member_loss: Callable[[Array, Array], Array] = critic_loss,
) -> tuple[LearnerState, Float[Array, ""]]:
    """One step of every member of an ensemble towards the targets of a batch."""

    @eqx.filter_value_and_grad
    def loss(critic):
        def of_sample(observation, action, target):
            return member_loss(critic.members(observation, action), target)

        return mean_loss(of_sample, weight, observation, action, target)

    value, gradient = loss(state.model)
    return apply_gradient(state, gradient, optimiser), value


def valued_loss(
    of_sample: Callable[..., tuple[Array, Array]],
    coefficient: float,
    weights: Float[Array, " batch"],
    *batched: PyTree,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """`coefficient * error - value / size`, where `of_sample` gives the critic's value of an action
    and the error against what is imitated, and the size is that of the batch's values. With an
    infinite coefficient it is the error alone."""
    values, errors = jax.vmap(of_sample)(*batched)
    value, error = weighted_mean(values, weights), weighted_mean(errors, weights)
    losses = {"loss": error, "value": value}
    if np.isinf(coefficient):
        return error, losses
    return coefficient * error - value / mean_size(values, weights), losses


def mean_size(values: Float[Array, " batch"], weights: Float[Array, " batch"]) -> Array:
    """The mean size of a batch's values: in these units no coefficient depends on their scale."""
    return jax.lax.stop_gradient(weighted_mean(jnp.abs(values), weights))
