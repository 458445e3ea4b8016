from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._cost import Cost
from .._critic import Critic
from .._policy import AbstractPolicy, AbstractWrapper, Acted, Trace
from .._pytree import PyTree
from .._weight import as_number
from .base import AbstractGuidance
from .methods import qgf


class TrustRegionPolicy(AbstractWrapper):
    """A guided policy that stays near the unguided one. Made by `flowguide.trust_region`.

    **Attributes:**

    - `policy`: the guided policy.
    - `centre`: the policy that the guidance was given, of whose actions its own are kept near.
    """

    policy: AbstractPolicy
    centre: AbstractPolicy
    guidance: "TrustRegion"
    critic: Critic | None = None

    def _act(self, noise: Float[Array, "*noise"], observation: PyTree) -> Acted:
        acted = self.policy.act(noise, observation)
        # What was prepared for the guided policy serves the one below it.
        centre = self.centre.from_noise(noise, observation)
        return Acted(self._pulled_back(acted.action, centre), acted.dropped)

    def _trace(self, noise: Float[Array, "*noise"], observation: PyTree) -> Trace:
        """The guided path; only its finished `action` is the one that was pulled back."""
        trace = self.policy.trace(noise, observation)
        centre = self.centre.from_noise(noise, observation)
        return eqx.tree_at(lambda t: t.action, trace, self._pulled_back(trace.action, centre))

    def costs(self) -> tuple[Cost, Cost] | None:
        guided, centre = self.policy.costs(), self.centre.costs()
        return guided and centre and (guided[0], guided[1] + centre[1])

    def _pulled_back(
        self, guided: Float[Array, "*action"], unguided: Float[Array, "*action"]
    ) -> Float[Array, "*action"]:
        # Between two actions within the bounds, so within them too.
        difference = guided - unguided
        radius = self.guidance.radius.astype(difference.dtype)
        square = jnp.sum(difference**2)
        is_far = square > radius**2
        # The root of a square that is 0 would have no gradient.
        distance = jnp.sqrt(jnp.where(is_far, square, 1))
        return jnp.where(is_far, unguided + (radius / distance) * difference, guided)


class TrustRegion(AbstractGuidance):
    """The guidance that `flowguide.trust_region` makes."""

    guidance: Any
    radius: Array

    def __call__(self, policy: AbstractPolicy, critic: Critic | None) -> TrustRegionPolicy:
        guided = self.guidance(policy, critic)
        if guided.noise_shape != policy.noise_shape:
            raise ValueError(
                "A trust region compares actions from the same noise, but the guided policy's "
                f"noise_shape is {guided.noise_shape} and the unguided one's {policy.noise_shape}. "
                "Put best_of_n after it: [trust_region(...), best_of_n(4)]."
            )
        # Its guidance has become the policy: only the radius is left of it.
        radius = TrustRegion(None, self.radius)
        return TrustRegionPolicy(policy=guided, centre=policy, guidance=radius, critic=critic)


def trust_region(guidance: Any = None, radius: ArrayLike = 0.5) -> TrustRegion:
    r"""Keeps guided actions within a distance of the unguided ones from the same noise.

    $$a = a_u + \min\!\Big(1, \frac{r}{\lVert a_g - a_u \rVert}\Big) (a_g - a_u)$$

    Where guidance would go further, the action is the last one on the way that is near enough.

    ```python
    near = flowguide.trust_region(flowguide.qgf(weight=0.3), radius=0.5)
    flowguide.guide(policy, critic, near)
    ```

    **Arguments:**

    - `guidance`: any that leaves the policy's noise as it is; by default `flowguide.qgf()`.
    - `radius`: $r \ge 0$, the Euclidean distance of whole actions (chunks included). An array leaf.

    **Returns:**

    A guidance. Costs the guided action and the unguided one.

    **Raises:**

    `TypeError` for a guidance that cannot be called; `ValueError` for a radius that is no number,
    `equinox.EquinoxRuntimeError` for one below 0.
    When applied: `ValueError` for a guidance that changes the noise, such as best_of_n.

    Source: ours; the ball of trust-region methods, in the space of actions.
    """
    if guidance is None:
        guidance = qgf()
    if not callable(guidance):
        raise TypeError(f"guidance must be a guidance, such as flowguide.qgf(), got {guidance!r}.")
    limit = as_number("radius", radius)
    if limit.ndim != 0:
        raise ValueError(f"radius must be one number, got {radius!r}.")
    message = "flowguide.trust_region: radius must be at least 0."
    return TrustRegion(guidance, eqx.error_if(limit, limit < 0, message))
