import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._checks import as_positive_int
from .._cost import Cost
from .._critic import Critic, value_of
from .._estimate import pulled_back
from .._policy import AbstractPolicy, AbstractWrapper, Acted, FlowPolicy, raw_observation, Trace
from .._pytree import PyTree
from .._weight import as_number
from .base import AbstractGuidance, needed


class NoiseAscentPolicy(AbstractWrapper):
    """A policy whose noise climbs a critic. Made by `flowguide.noise_ascent`."""

    policy: AbstractPolicy
    critic: Critic
    guidance: "NoiseAscent"

    def _act(self, noise: Float[Array, "*noise"], observation: PyTree) -> Acted:
        noise, dropped = self._climb(noise, observation)
        acted = self.policy.act(noise, observation)
        return Acted(acted.action, jnp.maximum(acted.dropped, dropped))

    def _trace(self, noise: Float[Array, "*noise"], observation: PyTree) -> Trace:
        """The path from the noise that was reached."""
        noise, _ = self._climb(noise, observation)
        return self.policy.trace(noise, observation)

    def _climb(
        self, noise: Float[Array, "*noise"], observation: PyTree
    ) -> tuple[Float[Array, "*noise"], Float[Array, ""]]:
        """The noise that is reached, and the share of steps that were not taken."""
        guidance = self.guidance
        length = jnp.linalg.norm(noise.ravel())

        @jax.grad
        def gradient_at(noise):
            action = self.policy.from_noise(noise, observation)
            return value_of(self.critic, raw_observation(observation), action)

        def step(noise, _):
            move = guidance.step_size.astype(noise.dtype) * gradient_at(noise)
            # As in gradient guidance: a gradient that is not finite moves nothing.
            is_finite = jnp.all(jnp.isfinite(move))
            moved = noise + jnp.where(is_finite, move, 0)
            if guidance.keep_length:
                reached = jnp.linalg.norm(moved.ravel())
                moved = moved * (length / jnp.where(reached > 0, reached, 1))
            return moved, jnp.where(is_finite, 0.0, 1.0)

        noise, dropped = jax.lax.scan(step, noise, length=guidance.steps)
        return noise, jnp.mean(dropped)

    @property
    def _again(self) -> int:
        """How often the way back computes the flow again."""
        policy = self.policy
        while isinstance(policy, AbstractWrapper):
            policy = policy.policy
        return policy.flow_cost().again if isinstance(policy, FlowPolicy) else 1

    def costs(self) -> tuple[Cost, Cost] | None:
        costs = self.policy.costs()
        if costs is None:
            return None
        once, each = costs
        climb = (1 + self._again) * each + pulled_back(each) + Cost(critic_gradients=1)
        return once, self.guidance.steps * climb + each


class NoiseAscent(AbstractGuidance):
    """The guidance that `flowguide.noise_ascent` makes."""

    step_size: Array
    steps: int = eqx.field(static=True)
    keep_length: bool = eqx.field(static=True)

    def __call__(self, policy: AbstractPolicy, critic: Critic | None) -> NoiseAscentPolicy:
        return NoiseAscentPolicy(policy, needed(critic, "noise_ascent"), self)


def noise_ascent(
    step_size: ArrayLike = 0.1, steps: int = 4, keep_length: bool = True
) -> NoiseAscent:
    r"""Gradient ascent on the noise itself: $z \leftarrow z + \eta \nabla_z Q(o, \pi(z, o))$.

    The action stays one that the policy makes from some noise, however far the noise climbs; with
    its length kept, from noise as long as noise is.

    **Arguments:**

    - `step_size`: $\eta$, a number or an array that broadcasts to the noise; an array leaf.
    - `steps`: how many steps, at least 1.
    - `keep_length`: scale the noise back to its length after each step. Gaussian noise of many
        entries has nearly the same length always, and a flow has not learnt from any other.

    **Returns:**

    A guidance for any policy that can be differentiated in its noise (and twice, by
    `adjoint=diffrax.DirectAdjoint()`, if the guided policy is differentiated in its turn). Costs
    `steps` actions with their backward pass and `steps` critic gradients, and one more action.

    **Raises:**

    `ValueError` if `steps` is not an integer of at least 1, or `step_size` is no number.

    Source: D-Flow, Ben-Hamu et al. (arXiv 2402.14017), with plain gradient steps.
    """
    step_size = as_number("step_size", step_size)
    return NoiseAscent(step_size, as_positive_int("steps", steps), bool(keep_length))
