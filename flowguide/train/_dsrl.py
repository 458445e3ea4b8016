import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._critic import Critic, Ensemble, members_of, value_of
from .._policy import FlowPolicy, raw_observation
from ..data import Batch
from ..nn import NoiseActor
from ._critic import regress
from ._learner import AbstractLearner, apply_gradient, init_state, LearnerState, weighted_mean


class DSRLState(eqx.Module):
    """What `DSRL` learns, each with its optimiser's state.

    **Attributes:**

    - `actor`: of noise.
    - `noise_critic`: the value of the action that the frozen policy makes of a noise.
    - `log_temperature`: of the actor's entropy.
    """

    actor: LearnerState
    noise_critic: LearnerState
    log_temperature: LearnerState


class DSRL(AbstractLearner):
    r"""A frozen flow policy that is steered by its noise (DSRL), of which a frozen critic approves.

    $$Q_z(s, \epsilon) \leftarrow Q(s, \pi(s, \epsilon)), \qquad
      \max_p\; \mathbb{E}_{z \sim p(\cdot \mid s)} \big[ Q_z(s, z) - \alpha \log p(z \mid s) \big]$$

    with $\pi(s, \epsilon)$ the flow policy's action from the noise and $\epsilon$ Gaussian. The
    temperature $\alpha$ holds the entropy of $p$, a Gaussian squashed into a box, at its target.
    Nothing is differentiated through the policy, which may be a black box.

    **Arguments:**

    - `make_actor`: a callable from a key to a `flowguide.nn.NoiseActor`. Its `scale` is how far
        noise may go: below 1 the policy stays near its usual actions, above it goes beyond.
    - `make_noise_critic`: a callable from a key to a `flowguide.Ensemble` of
        `critic(observation, noise)`. The mean of its members counts.
    - `policy`: the frozen flow policy.
    - `critic`: the frozen critic.
    - `target_entropy`: of the actor's noise divided by its scale, in nats; None for minus half the
        number of its entries.
    - `optimiser`: an optax optimiser, of actor, noise critic and temperature.

    **Returns:**

    Of `result`: the `flowguide.FlowPolicy` with the actor as its `steer`. It is a map from Gaussian
    noise as it was, and can be guided.

    **Raises:**

    `ValueError` for a policy that is steered already.

    Source: diffusion steering, Wagenmaker et al. (arXiv 2506.15799), with the noise-aliased critic;
    the target entropy as in github.com/ColinQiyangLi/qam.
    """

    make_actor: Callable[[PRNGKeyArray], NoiseActor]
    make_noise_critic: Callable[[PRNGKeyArray], Ensemble]
    policy: FlowPolicy
    critic: Critic
    target_entropy: float | None = None
    optimiser: optax.GradientTransformation = optax.adam(3e-4)

    def __check_init__(self):
        if self.policy.steer is not None:
            raise ValueError(
                "DSRL steers a policy by its noise, and this one is steered already: expected a "
                f"policy without steer, got\n{self.policy!r}"
            )

    def init(self, key: PRNGKeyArray) -> DSRLState:
        actor_key, critic_key = jr.split(key)
        models = self.make_actor(actor_key), self.make_noise_critic(critic_key), jnp.zeros(())
        return DSRLState(*(init_state(model, self.optimiser) for model in models))

    def update(
        self, state: DSRLState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[DSRLState, dict[str, Array]]:
        policy: Any = self.policy
        noise, draws = jr.normal(key, (2, len(batch.weight), *policy.noise_shape))
        observations, values = jax.vmap(self.value)(batch.observation, noise)
        samples = observations, noise, values, batch.weight
        noise_critic, distilled = regress(state.noise_critic, self.optimiser, *samples)
        temperature = jnp.exp(state.log_temperature.model)

        @eqx.filter_value_and_grad(has_aux=True)
        def loss(actor):
            def of_sample(observation, draw):
                noise = actor(observation)
                # Before its own step, as the published code does.
                claimed = members_of(state.noise_critic.model, observation, noise(draw))
                return noise.log_density(draw), jnp.mean(claimed)

            each = jax.vmap(of_sample)(observations, draws)
            log_density, value = (weighted_mean(x, batch.weight) for x in each)
            return temperature * log_density - value, (-log_density, value)

        (actor_loss, (entropy, value)), gradient = loss(state.actor.model)
        actor = apply_gradient(state.actor, gradient, self.optimiser)
        too_much = temperature * (entropy - self._target(policy.noise_shape))
        log_temperature = apply_gradient(state.log_temperature, too_much, self.optimiser)
        losses = {"loss": distilled, "actor_loss": actor_loss, "value": value, "entropy": entropy}
        state = DSRLState(actor, noise_critic, log_temperature)
        return state, {**losses, "temperature": temperature}

    def value(
        self, observation: PyTree, noise: Float[Array, "*noise"]
    ) -> tuple[PyTree, Float[Array, ""]]:
        """What critics are asked about, and the value of the action that this noise becomes."""
        prepared = self.policy.prepare(observation)
        asked = raw_observation(prepared)
        return asked, value_of(self.critic, asked, self.policy.from_noise(noise, prepared))

    def _target(self, noise_shape: tuple[int, ...]) -> float:
        if self.target_entropy is not None:
            return self.target_entropy
        return -jnp.zeros(noise_shape).size / 2

    def result(self, state: DSRLState) -> FlowPolicy:
        return dataclasses.replace(self.policy, steer=state.actor.model)
