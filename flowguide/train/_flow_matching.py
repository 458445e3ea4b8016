from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._checks import as_positive_int
from .._velocity import VelocityField
from ..data import Batch
from ._learner import (
    AbstractLearner,
    apply_gradient,
    check_rate,
    init_state,
    LearnerState,
    mean_loss,
)


def flow_matching_loss(
    velocity: VelocityField,
    observation: PyTree,
    action: Float[Array, "*action"],
    noise: Float[Array, "*action"],
    t: Float[Array, ""],
) -> Float[Array, ""]:
    r"""$\lVert v(t, a_t, o) - (a - \epsilon) \rVert^2$ averaged over the action's entries.

    $a_t = (1 - t)\,\epsilon + t\,a$ is a point on the straight line from noise to action.

    **Arguments:**

    - `velocity`: a velocity field.
    - `observation`, `action`: one pair from the data.
    - `noise`: of the action's shape.
    - `t`: a time in [0, 1].

    **Returns:**

    The loss of this one sample, shape `()`.

    Source: flow matching, Lipman et al. (arXiv 2210.02747); see `flowguide.FlowPolicy`.
    """
    predicted = velocity(t, noisy_action(action, noise, t), observation)
    return jnp.mean((predicted - (action - noise)) ** 2)


def noisy_action(
    action: Float[Array, "*action"], noise: Float[Array, "*action"], t: Float[Array, ""]
) -> Float[Array, "*action"]:
    """The point of the straight line from noise (`t = 0`) to action (`t = 1`)."""
    return (1 - t) * noise + t * action


def sample_times(key: PRNGKeyArray, count: int, num_steps: int | None) -> Float[Array, " count"]:
    """Times at which a flow is trained: uniform on [0, 1], or on the grid `{0, ..., n} / n`."""
    if num_steps is None:
        return jr.uniform(key, (count,))
    return jr.randint(key, (count,), 0, num_steps + 1) / jnp.float32(num_steps)


def sample_noise(
    key: PRNGKeyArray, action: Float[Array, "batch *action"], num_steps: int | None
) -> tuple[Float[Array, "batch *action"], Float[Array, " batch"]]:
    """The noise and the time at which each action of a batch is trained."""
    noise_key, time_key = jr.split(key)
    return jr.normal(noise_key, action.shape), sample_times(time_key, len(action), num_steps)


class FlowMatching(AbstractLearner):
    """Behaviour cloning of a velocity field by flow matching.

    Goal-conditioned cloning is the same on batches of `flowguide.data.GoalWindows`.

    **Arguments:**

    - `make_velocity`: a callable from a key to a velocity field, an `equinox.Module`.
    - `optimiser`: an optax optimiser; schedules and gradient clipping are part of it.
    - `num_steps`: None to train at uniform times; n to train on the grid `{0, 1/n, ..., 1}`, which
        the published QGF code does with the number of its sampling steps.
    - `average_rate`: None, or the rate at which an average of the weights follows them after each
        update (1 - decay); the average is then what was learnt.

    **Raises:**

    `ValueError` for a number of steps or a rate that makes no sense.
    """

    make_velocity: Callable[[PRNGKeyArray], VelocityField]
    optimiser: optax.GradientTransformation = optax.adam(3e-4)
    num_steps: int | None = None
    average_rate: float | None = None

    def __check_init__(self):
        if self.num_steps is not None:
            as_positive_int("num_steps", self.num_steps)
        if self.average_rate is not None:
            check_rate("average_rate", self.average_rate)

    def init(self, key: PRNGKeyArray) -> LearnerState:
        averaged = self.average_rate is not None
        return init_state(self.make_velocity(key), self.optimiser, averaged=averaged)

    def update(
        self, state: LearnerState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[LearnerState, dict[str, Array]]:
        noise, t = sample_noise(key, batch.action, self.num_steps)

        @eqx.filter_value_and_grad
        def loss(velocity):
            return mean_loss(
                lambda *sample: flow_matching_loss(velocity, *sample),
                batch.weight,
                *(batch.observation, batch.action, noise, t),
            )

        value, gradient = loss(state.model)
        rate = self.average_rate or 0.0
        return apply_gradient(state, gradient, self.optimiser, rate), {"loss": value}

    def result(self, state: LearnerState) -> VelocityField:
        return state.model if state.average is None else state.average
