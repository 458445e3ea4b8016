from typing import Any

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float

from .._checks import is_int
from .._cost import Cost
from .._critic import check_valued
from .._pytree import PyTree
from .._random import seed_key
from .base import AbstractWeight, as_number, WeightPoint
from .schedule import AbstractSchedule
from .unit import look_at, NUM_ACTIONS, unit_of, weight_unit

DEFAULT_KAPPA = 5.0
"""The kappa of a method without a weight; `docs/weights.md` has the evidence."""

# At the observation at hand, for every action: each one costs as much as an unguided action.
NUM_ACTIONS_HERE = 4


class Kappa(AbstractWeight):
    r"""A weight in units of the task: $w = \kappa\, u$, with the unit of `flowguide.weight_unit`.

    $$u = \frac{\mathrm{mean}_i \mathrm{Var}(a_i)}{\mathrm{sd}(Q)}$$

    over the policy's own actions. A policy whose actions are Gaussian is moved by about kappa of
    their standard deviations, whatever the scale of rewards and actions.

    With `observations` the unit is measured once, where the guidance meets policy and critic.
    Without, it is measured at the observation at hand, once for each action, from a few of the
    policy's own actions there: nothing is needed beforehand, and each of these costs an action.
    A unit from observations stays as it was measured when fields of the policy are replaced;
    `flowguide.with_weight` with a `Kappa` measures anew.

    **Arguments:**

    - `kappa`: a number; an array leaf.
    - `observations`: some that the policy meets, each leaf with a leading axis; a training run
        keeps 256 (`flowguide.load_observations`).
    - `num_actions`: how many actions are sampled at each observation, at least 2; by default 16
        with `observations`, and 4 without.

    **Raises:**

    `ValueError` for fewer than 2 actions. With `observations`, when applied: what
    `flowguide.weight_unit` raises. Without, an observation at which all values are equal is left
    unguided.
    """

    kappa: Array
    observations: PyTree
    num_actions: int = eqx.field(static=True)
    measured: Array | None

    def __init__(
        self,
        kappa: ArrayLike = DEFAULT_KAPPA,
        observations: PyTree = None,
        *,
        num_actions: int | None = None,
    ):
        if num_actions is None:
            num_actions = NUM_ACTIONS_HERE if observations is None else NUM_ACTIONS
        if not is_int(num_actions) or num_actions < 2:
            raise ValueError(
                "num_actions must be an integer of at least 2, for their spread, got "
                f"{num_actions!r}."
            )
        self.kappa, self.observations = as_number("kappa", kappa), observations
        self.num_actions, self.measured = int(num_actions), None

    def bind(self, policy: Any, critic: Any) -> "Kappa":
        check_valued(critic, "Kappa")
        if self.observations is None:
            return self
        unit = weight_unit(policy, critic, self.observations, num_actions=self.num_actions)
        return self._with(unit)

    def prepare(self, flow: Any, critic: Any) -> "Kappa":
        if self.measured is not None:
            return self
        # The same noise always: a policy stays a deterministic map from its own noise.
        key = seed_key(0)
        noises = jr.normal(key, (self.num_actions, *flow.action_shape))
        actions = jax.vmap(lambda noise: flow.finish(flow.start(noise)))(noises)
        return self._with(unit_of(*look_at(critic, actions, flow.observation)))

    def resume(self, prepared: AbstractWeight) -> AbstractWeight:
        if self.measured is not None:
            return self
        while isinstance(prepared, AbstractSchedule):
            prepared = prepared.weight
        measured = prepared.measured if isinstance(prepared, Kappa) else None
        return self if measured is None else self._with(measured)

    def cost(self, flow: Any) -> Cost:
        if self.observations is not None:
            return Cost()
        return self.num_actions * (flow.action + Cost(critic_gradients=1))

    @property
    def unit(self) -> str:
        return "local" if self.observations is None else "kappa"

    @property
    def number(self) -> Any:
        return self.kappa

    def _with(self, unit: Array) -> "Kappa":
        return eqx.tree_at(lambda k: k.measured, self, unit, is_leaf=lambda x: x is None)

    def __call__(self, point: WeightPoint) -> Float[Array, "..."]:
        if self.measured is None:
            raise ValueError(
                "This Kappa has not been measured: apply it by flowguide.guide, and prepare "
                "observations by the policy that it guides."
            )
        dtype = point.gradient.dtype
        return self.kappa.astype(dtype) * self.measured.astype(dtype)
