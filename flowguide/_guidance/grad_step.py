import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._checks import as_positive_int
from .._cost import Cost
from .._critic import Critic, critic_gradient
from .._policy import AbstractPolicy, AbstractWrapper, Acted, raw_observation, Trace
from .._pytree import PyTree
from .._weight import as_number
from .base import AbstractGuidance, needed


class GradStepPolicy(AbstractWrapper):
    """A policy whose finished actions climb a critic. Made by `flowguide.grad_step`."""

    policy: AbstractPolicy
    critic: Critic
    guidance: "GradStep"

    def _act(self, noise: Float[Array, "*noise"], observation: PyTree) -> Acted:
        acted = self.policy.act(noise, observation)
        action, dropped = self._climb(acted.action, observation)
        return Acted(action, jnp.maximum(acted.dropped, dropped))

    def _trace(self, noise: Float[Array, "*noise"], observation: PyTree) -> Trace:
        """The path of the policy below; only its finished `action` is the climbed one."""
        trace = self.policy.trace(noise, observation)
        action, _ = self._climb(trace.action, observation)
        return eqx.tree_at(lambda t: t.action, trace, action)

    def _climb(
        self, action: Float[Array, "*action"], observation: PyTree
    ) -> tuple[Float[Array, "*action"], Float[Array, ""]]:
        """The action that is reached, and the share of steps that were not taken."""
        guidance, observation = self.guidance, raw_observation(observation)
        low, high = (jnp.asarray(bound, action.dtype) for bound in self.bounds)

        def step(action, _):
            gradient = critic_gradient(self.critic, observation, action).gradient
            direction = jnp.sign(gradient) if guidance.sign else gradient
            move = jnp.asarray(guidance.step_size, action.dtype) * direction
            # As in gradient guidance: a gradient that is not finite moves nothing.
            is_finite = jnp.all(jnp.isfinite(move))
            moved = jnp.clip(action + jnp.where(is_finite, move, 0), low, high)
            return moved, jnp.where(is_finite, 0.0, 1.0)

        action, dropped = jax.lax.scan(step, action, length=guidance.steps)
        return action, jnp.mean(dropped)

    def costs(self) -> tuple[Cost, Cost] | None:
        costs = self.policy.costs()
        if costs is None:
            return None
        return costs[0], costs[1] + Cost(critic_gradients=self.guidance.steps)


class GradStep(AbstractGuidance):
    """The guidance that `flowguide.grad_step` makes."""

    step_size: Array
    steps: int = eqx.field(static=True)
    sign: bool = eqx.field(static=True)

    def __call__(self, policy: AbstractPolicy, critic: Critic | None) -> GradStepPolicy:
        return GradStepPolicy(policy, needed(critic, "grad_step"), self)


def grad_step(step_size: ArrayLike = 0.1, steps: int = 1, sign: bool = False) -> GradStep:
    r"""Gradient ascent on the finished action: $a \leftarrow \mathrm{clip}(a + \eta \nabla Q)$.

    **Arguments:**

    - `step_size`: $\eta$, a number or an array that broadcasts to the action; an array leaf.
    - `steps`: how many steps, at least 1. The action is clipped to the policy's bounds at each.
    - `sign`: climb along the sign of the gradient, so that `step_size` is in units of the action.

    **Returns:**

    A guidance for any policy. Costs `steps` critic gradients after the action is sampled.

    **Raises:**

    `ValueError` if `steps` is not an integer of at least 1, or `step_size` is no number.

    Source: the gradient-step baseline of QGF (arXiv 2606.11087); see `flowguide.qgf`.
    """
    step_size = as_number("step_size", step_size)
    return GradStep(step_size, as_positive_int("steps", steps), bool(sign))
