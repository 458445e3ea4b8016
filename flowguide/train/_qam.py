import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import as_positive_int
from .._critic import Critic, value_of
from .._policy import FlowPolicy, Prepared, raw_observation
from .._velocity import VelocityField
from ..data import Batch
from ._critic import mean_size
from ._learner import (
    AbstractLearner,
    apply_gradient,
    copied,
    init_state,
    LearnerState,
    mean_loss,
    weighted_mean,
)
from ._memoryless import lean_adjoint, memoryless_path, noise_scale, step_times


class QAM(AbstractLearner):
    r"""A cloned flow policy, tuned to a frozen critic by adjoint matching (QAM).

    $$\frac1n \sum_i \Big\lVert \frac{2\,(v - v_0)(t_i, a_i, s)}{\sigma(t_i)} +
      \sigma(t_i)\, \tilde a_i \Big\rVert^2, \qquad
      \tilde a_n = -\tau\, \nabla_a \frac{Q(s, a_n)}{\overline{|Q|}}, \qquad
      \sigma(t) = \sqrt{\frac{2\,(1 - t + h)}{t + h}}$$

    averaged over the action's entries, along a path $a_0, \dots, a_n$ of the memoryless SDE of $v$
    as it is. $\tilde a$ is the lean adjoint, carried backwards from the end of the path through the
    frozen field $v_0$: no gradient goes through the steps of $v$. Where the loss is least and steps
    are small, the policy samples $\pi(a \mid s) \exp(\tau\, Q(s, a) / \overline{|Q|})$, which is
    what guidance aims at, too.

    **Arguments:**

    - `policy`: the frozen flow policy, unguided. Its velocity field is where $v$ begins.
    - `critic`: the frozen critic, asked about clipped actions: outside of the bounds it has no
        gradient.
    - `temperature`: $\tau$ at least 0, an inverse temperature. Values count in units of their mean
        size in a batch, so that it does not depend on the critic's scale; published values are per
        unit of the critic. At 0 the policy stays as it is.
    - `optimiser`: an optax optimiser.
    - `num_steps`: $n = 1 / h$, by default the policy's. Few are coarse: a Gaussian of standard
        deviation 0.5 moves by 74% of what it should of 10 steps, and by 93% of 50; one of 0.05 by
        146% and 100%.

    **Returns:**

    Of `result`: the policy as it was given, with the field that was learnt.

    **Raises:**

    `ValueError` for a temperature that is not finite or below 0, a number of steps that makes no
    sense, or a policy that is guided, no `flowguide.FlowPolicy`, or has no parameters.

    Source: Q-learning with adjoint matching, Li et al. (arXiv 2601.14234); adjoint matching,
    Domingo-Enrich et al. (arXiv 2409.08861). The published code takes the last step with $v_0$ and
    the Jacobian of the adjoint a step later; here the adjoint is that of the steps which are taken.
    """

    policy: FlowPolicy
    critic: Critic
    temperature: float = 10.0
    optimiser: optax.GradientTransformation = optax.adam(3e-4)
    num_steps: int | None = None

    def __check_init__(self):
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be finite and at least 0, got {self.temperature}.")
        if self.num_steps is not None:
            as_positive_int("num_steps", self.num_steps)
        policy: Any = self.policy
        if not isinstance(policy, FlowPolicy) or policy.guidance:
            raise ValueError(
                f"policy must be an unguided flowguide.FlowPolicy, got {type(policy).__name__}"
                f"{' with guidance' if isinstance(policy, FlowPolicy) else ''}."
            )
        if not jax.tree.leaves(eqx.filter(policy.velocity, eqx.is_inexact_array)):
            raise ValueError(
                "policy.velocity has no parameters to train: expected an equinox.Module with "
                f"floating-point arrays, got {policy.velocity!r}."
            )

    def init(self, key: PRNGKeyArray) -> LearnerState:
        del key  # It begins where the policy is.
        # Copied: an update consumes the state, and the frozen field is asked again.
        return init_state(copied(self.policy.velocity), self.optimiser)

    def update(
        self, state: LearnerState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[LearnerState, dict[str, Array]]:
        keys = jr.split(key, len(batch.weight))
        tuned = self.tuned(state.model)
        samples = jax.vmap(lambda *each: self.path(tuned, *each))(batch.observation, keys)
        prepared, actions, values, gradients = samples
        scale = -self.temperature / mean_size(values, batch.weight)
        ends = scale * gradients

        @eqx.filter_value_and_grad
        def loss(velocity):
            def of_sample(*sample):
                return self.matching_loss(self.tuned(velocity), *sample)

            return mean_loss(of_sample, batch.weight, prepared, actions, ends)

        found, gradient = loss(state.model)
        losses = {"loss": found, "value": weighted_mean(values, batch.weight)}
        return apply_gradient(state, gradient, self.optimiser), losses

    def path(
        self, tuned: FlowPolicy, observation: Any, key: PRNGKeyArray
    ) -> tuple[Prepared, Float[Array, "m *action"], Float[Array, ""], Float[Array, "*action"]]:
        """A path of the policy as it is, and the critic's value and gradient at its end."""
        noise_key, path_key = jr.split(key)
        prepared = self.policy.prepare(observation)
        noise = jr.normal(noise_key, self.policy.noise_shape)
        actions = memoryless_path(tuned, prepared, noise, self.steps, path_key)

        def value(action):
            return value_of(self.critic, raw_observation(prepared), self.policy.clip(action))

        return prepared, actions, *jax.value_and_grad(value)(actions[-1])

    def matching_loss(
        self,
        tuned: FlowPolicy,
        prepared: Prepared,
        actions: Float[Array, "m *action"],
        end: Float[Array, "*action"],
    ) -> Float[Array, ""]:
        """The loss of one path, of which the adjoint at the end is given."""

        def of_step(t, action, adjoint):
            sigma = noise_scale(t, 1 / self.steps)
            fields = (each.vector_field(t, action, prepared) for each in (tuned, self.policy))
            change = jnp.subtract(*fields)
            return jnp.mean((2 * change / sigma + sigma * adjoint) ** 2)

        adjoints = lean_adjoint(self.policy, prepared, actions, end)
        return jnp.mean(jax.vmap(of_step)(step_times(self.steps), actions[:-1], adjoints))

    def tuned(self, velocity: VelocityField) -> FlowPolicy:
        """The policy with another field."""
        return dataclasses.replace(self.policy, velocity=velocity)

    @property
    def steps(self) -> int:
        return self.num_steps or self.policy.num_steps

    def result(self, state: LearnerState) -> FlowPolicy:
        return self.tuned(state.model)
