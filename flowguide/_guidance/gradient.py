"""The one gradient guidance. Three published methods, written as combinations of its parts:

ood  = GradientGuidance(NoisyAction(), DroppedJacobian(), weight)       # QFQL
qgf  = GradientGuidance(OneStepEstimate(), DroppedJacobian(), weight)   # QGF
bptt = GradientGuidance(RolloutEstimate(), ExactJacobian(), weight)     # through the flow
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float

from .._cost import Cost
from .._critic import Critic, critic_at, critic_gradient, MeanOfMembers, members_of
from .._estimate import AbstractEstimate
from .._jacobian import AbstractJacobian
from .._policy import Flow, FlowCost, FlowPolicy
from .._velocity import VelocityStep
from .._weight import (
    as_number,
    as_weight,
    bind_weight,
    is_active,
    Kappa,
    prepare_weight,
    resume_weight,
    times_weight,
    weight_at,
    weight_cost,
    WeightLike,
    WeightPoint,
)
from .base import AbstractFlowGuidance, needed


class GradientGuidance(AbstractFlowGuidance):
    r"""Adds the critic's gradient to the velocity of a flow policy.

    $$v'(t, a, o) = v(t, a, o) + w(t)\, \mathrm{gate} \cdot
      \mathrm{shaping}\!\left(J^\top \nabla Q(o, \hat a)\right)$$

    where $\hat a$ is the `estimate` of the clean action and $J$ its Jacobian in $a$, treated as
    `jacobian` says. All named gradient methods are settings of this class.

    **Arguments:**

    - `estimate`: the clean action at which the critic is differentiated.
    - `jacobian`: how that gradient is carried back to the noisy action.
    - `weight`: a number, an array that broadcasts to the action, a callable from `t` to either, or
        a rule such as `flowguide.Kappa` or `flowguide.Relative`. Numbers are in velocity units per
        unit of critic gradient: the useful size follows the critic's scale. None for
        `flowguide.Kappa()`, which follows that scale by itself. Numbers and arrays are leaves:
        changing them recompiles nothing, and a batch is one `vmap`.
    - `shaping`: a stateless `optax.GradientTransformation`, applied to the gradient, such as
        `optax.clip_by_global_norm(1.0)`.
    - `gate`: a callable from the values `(K,)` of a critic's members to a factor.
    - `mean_of_members`: ask the mean of the critic's members, whatever it makes of them itself.
    - `temperature`: $\tau > 0$, in units of the critic: of several clean actions
        $\tau \log \frac1K \sum_k e^{Q(o, \hat a_k) / \tau}$ counts, so that the better ones count
        more. None for their mean. An array leaf.
    - `debug`: raise where the guidance is not finite, instead of leaving that step unguided.

    **Raises:**

    `ValueError` for parts of the wrong kind, a shaping with a state, or a temperature for an
    estimate of one clean action. `equinox.EquinoxRuntimeError` for a temperature that is not above
    0. When applied: for a policy
    that is no flow policy, or a gate with a critic that has no members.
    """

    estimate: AbstractEstimate
    jacobian: AbstractJacobian
    weight: Any
    shaping: optax.GradientTransformation | None
    gate: Callable[[Array], Array] | None
    mean_of_members: bool = eqx.field(static=True)
    temperature: Array | None
    debug: bool = eqx.field(static=True)

    def __init__(
        self,
        estimate: AbstractEstimate,
        jacobian: AbstractJacobian,
        weight: WeightLike | None = None,
        *,
        shaping: optax.GradientTransformation | None = None,
        gate: Callable[[Array], Array] | None = None,
        mean_of_members: bool = False,
        temperature: ArrayLike | None = None,
        debug: bool = False,
    ):
        if gate is not None and not callable(gate):
            raise ValueError(f"gate must be a callable from (K,) values to a factor, got {gate!r}.")
        self.estimate = estimate
        self.jacobian = jacobian
        self.weight = Kappa() if weight is None else as_weight(weight)
        self.shaping = _stateless(shaping)
        self.gate = gate
        self.mean_of_members = mean_of_members
        self.temperature = None
        if temperature is not None:
            if estimate.is_single:
                raise ValueError(
                    "temperature weighs several clean actions, and the estimate has one: "
                    f"{estimate!r}."
                )
            number = as_number("temperature", temperature)
            message = "flowguide: temperature must be above 0."
            self.temperature = eqx.error_if(number, number <= 0, message)
        self.debug = debug

    def check(self, policy: FlowPolicy, critic: Critic | None) -> None:
        self.estimate.check(policy, needed(critic, "Gradient guidance"))
        reads_members = self.gate is not None or self.mean_of_members
        if reads_members and not callable(getattr(critic, "members", None)):
            raise ValueError(
                "A gate, and the mean of members, read the values of all members of a critic, such "
                f"as those of a flowguide.Ensemble, but the critic is {critic!r}."
            )

    def bind(self, policy: FlowPolicy, critic: Critic | None) -> "GradientGuidance":
        return self._weighted(bind_weight(self.weight, policy, critic))

    def prepare(self, flow: Flow, critic: Critic | None) -> Any:
        return prepare_weight(self.weight, flow, critic)

    def step(
        self,
        flow: Flow,
        critic: Critic | None,
        weight: Any,
        t: Array,
        action: Float[Array, "*action"],
    ) -> VelocityStep:
        t, weight = jnp.asarray(t), resume_weight(self.weight, weight)
        inputs = self._weighted(weight), flow, critic, t, action

        def guided() -> VelocityStep:
            if self.jacobian.is_derivative and self.estimate.twice is not None:
                return _step_with_own_gradient(inputs).step
            return _step(inputs).step

        active = is_active(weight, t)
        if active is True:
            return guided()
        # A step of the flow below has NaN where there is no guidance, as this one has then.
        return jax.lax.cond(active, guided, lambda: flow.step(t, action))

    def guided_step(
        self, flow: Flow, critic: Critic, t: Array, action: Float[Array, "*action"]
    ) -> VelocityStep:
        """The step with the weight of this guidance, which is that of one action."""
        clean_action, below, pullback = self.jacobian(lambda a: self.estimate(flow, t, a), action)
        term, value = self._term(critic, flow, t, clean_action, below.velocity, pullback)
        if not self.estimate.is_single:
            clean_action = jnp.mean(clean_action, axis=0)
        is_finite = jnp.all(jnp.isfinite(term))
        if self.debug:
            term = eqx.error_if(term, ~is_finite, "flowguide: the guidance term is not finite.")
        term = jnp.where(is_finite, term, 0)
        return VelocityStep(
            velocity=below.velocity + term,
            guidance=below.guidance + term,
            clean_action=clean_action,
            value=value,
            is_finite=is_finite & below.is_finite,
        )

    def step_cost(self, flow: FlowCost, t: float) -> Cost:
        if not is_active(self.weight, t):
            return flow.velocity(t)
        estimate = self.estimate.cost(flow, t) + self.jacobian.cost(self.estimate, flow, t)
        return estimate + self.estimate.gradient_cost

    def prepare_cost(self, flow: FlowCost) -> Cost:
        return weight_cost(self.weight, flow)

    def _weighted(self, weight: Any) -> "GradientGuidance":
        return eqx.tree_at(lambda g: g.weight, self, weight)

    def _term(
        self,
        critic: Critic,
        flow: Flow,
        t: Array,
        clean_action: Float[Array, "*clean"],
        velocity: Float[Array, "*action"],
        pullback: Callable[[Array], Float[Array, "*action"]],
    ) -> tuple[Float[Array, "*action"], Float[Array, ""]]:
        """The term that is added to the velocity, and the critic's value at the clean action.

        `pullback` takes a gradient of the clean action's shape to one of the noisy action's.
        """
        cleanness = jnp.asarray(self.estimate.cleanness(t))
        asked = MeanOfMembers(critic) if self.mean_of_members else critic

        def at(clean_action):
            return critic_gradient(asked, flow.observation, clean_action, cleanness)

        if self.estimate.is_single:
            at_clean = at(clean_action)
            value = at_clean.value
            gradient: Any = pullback(at_clean.gradient)
        else:
            at_each = jax.vmap(at)(clean_action)
            value, weights = self._together(at_each.value)
            gradient = pullback(jax.vmap(jnp.multiply)(weights, at_each.gradient))
        if self.shaping is not None:
            gradient, _ = self.shaping.update(gradient, self.shaping.init(gradient))
        factor = weight_at(self.weight, WeightPoint(t, velocity, gradient))
        if self.gate is not None:
            at_t = critic_at(critic, cleanness)
            factor = factor * self._trust(at_t, flow, clean_action).astype(factor.dtype)
        return times_weight(factor, gradient), value

    def _together(self, values: Float[Array, " K"]) -> tuple[Float[Array, ""], Float[Array, " K"]]:
        """The one value of several, and its derivative in each."""
        if self.temperature is None:
            return jnp.mean(values), jnp.full_like(values, 1 / len(values))
        temperature = self.temperature.astype(values.dtype)
        scaled = values / temperature
        value = temperature * (jax.nn.logsumexp(scaled) - math.log(len(values)))
        return value, jax.nn.softmax(scaled)

    def _trust(self, critic: Critic, flow: Flow, clean_action: Array) -> Array:
        assert self.gate is not None

        def at(clean_action):
            return members_of(critic, flow.observation, clean_action)

        if self.estimate.is_single:
            members = at(clean_action)
        else:
            members = jnp.mean(jax.vmap(at)(clean_action), axis=0)
        if len(members) < 2:
            raise ValueError(
                "A gate reads the values of all members of a critic, and one value disagrees with "
                "nobody: expected at least 2 members, such as a flowguide.Ensemble has, of "
                f"{critic!r}."
            )
        return jnp.asarray(self.gate(members))


def _stateless(shaping: Any) -> Any:
    if shaping is None:
        return None
    if not isinstance(shaping, optax.GradientTransformation):
        raise ValueError(
            "shaping must be an optax.GradientTransformation, such as "
            f"optax.clip_by_global_norm(1.0), got {shaping!r}."
        )
    state = jax.eval_shape(shaping.init, jax.ShapeDtypeStruct((), jnp.float32))
    if jax.tree.leaves(state):
        raise ValueError(
            "shaping must have no state: the steps of a flow are no updates of an optimiser, and "
            f"optax.adam would turn guidance round. Its state is {state}."
        )
    return shaping


class _Step(eqx.Module):
    """A step whose every array is one of floats, as a derivative of one's own needs it."""

    velocity: Array
    guidance: Array
    clean_action: Array
    value: Array
    is_finite: Array

    @property
    def step(self) -> VelocityStep:
        floats = dataclasses.asdict(self) | {"is_finite": self.is_finite > 0.5}
        return VelocityStep(**floats)


_Inputs = tuple[GradientGuidance, Flow, Any, Array, Array]


def _step(inputs: _Inputs) -> _Step:
    guidance, flow, critic, t, action = inputs
    step = guidance.guided_step(flow, critic, t, action)
    return _Step(
        *(step.velocity, step.guidance, step.clean_action, step.value),
        step.is_finite.astype(action.dtype),
    )


# `bptt` has a derivative inside, and diffrax's fast adjoint can be differentiated once only.
# So the field runs on the fast adjoint, and only its own gradient is taken through the slow one.
_step_with_own_gradient = eqx.filter_custom_vjp(_step)


@_step_with_own_gradient.def_fwd
def _(perturbed, inputs):
    del perturbed
    return _step(inputs), None


@_step_with_own_gradient.def_bwd
def _(residuals, cotangent, perturbed, inputs):
    del residuals
    moving, fixed = eqx.partition(inputs, perturbed)

    def slow(moving):
        guidance, *rest = eqx.combine(moving, fixed)
        twice = guidance.estimate.twice
        return _step((eqx.tree_at(lambda g: g.estimate, guidance, twice), *rest))

    step, pullback = eqx.filter_vjp(slow, moving)
    # Nothing has come back to most parts of a step.
    (gradient,) = pullback(
        jax.tree.map(
            lambda x, g: jnp.zeros_like(x) if g is None else g,
            *(step, cotangent),
            is_leaf=lambda x: x is None,
        )
    )
    return gradient
