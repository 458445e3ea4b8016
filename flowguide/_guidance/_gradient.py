"""The one gradient guidance. Three published methods, written as combinations of its parts:

ood  = GradientGuidance(NoisyAction(), DroppedJacobian(), weight)       # QFQL
qgf  = GradientGuidance(OneStepEstimate(), DroppedJacobian(), weight)   # QGF
bptt = GradientGuidance(RolloutEstimate(), ExactJacobian(), weight)     # through the flow
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, PyTree

from .._checks import broadcasts_to
from .._critic import Critic, critic_gradient, Ensemble, NoiseConditionedCritic
from .._estimate import AbstractEstimate
from .._jacobian import AbstractJacobian
from .._policy import FlowPolicy
from .._schedule import as_weight, weight_at, WeightInterval
from .._velocity import AbstractGuidedVelocity, unguided_step, VelocityField, VelocityStep
from ._base import AbstractGuidance


class GradientGuidance(AbstractGuidance):
    r"""Adds the critic's gradient to the velocity of a flow policy.

    $$v'(t, a, o) = v(t, a, o) + w(t)\, \mathrm{gate} \cdot
      \mathrm{shaping}\!\left(J^\top \nabla Q(o, \hat a)\right)$$

    where $\hat a$ is the `estimate` of the clean action and $J$ its Jacobian in $a$, treated as
    `jacobian` says. All named gradient methods are settings of this class.

    **Arguments:**

    - `estimate`: the clean action at which the critic is differentiated.
    - `jacobian`: how that gradient is carried back to the noisy action.
    - `weight`: a number, an array that broadcasts to the action, or a callable from `t` to either.
        In velocity units per unit of critic gradient: the useful size follows the critic's scale.
        Numbers and arrays are leaves: changing them recompiles nothing, and a batch is one `vmap`.
    - `shaping`: an `optax.GradientTransformation`, applied to the gradient without state, such as
        `optax.clip_by_global_norm(1.0)` or `optax.normalize_by_update_norm()`.
    - `gate`: a callable from the members' values `(K,)` of an `Ensemble` to a factor.
    - `debug`: raise where the guidance is not finite, instead of leaving that step unguided.

    **Raises:**

    `ValueError` for parts of the wrong kind. When applied: for a policy that is no flow policy, or
    a gate without an `Ensemble`.
    """

    estimate: AbstractEstimate
    jacobian: AbstractJacobian
    weight: Array | Callable[[Array], Array]
    shaping: optax.GradientTransformation | None
    gate: Callable[[Array], Array] | None
    debug: bool = eqx.field(static=True)

    def __init__(
        self,
        estimate: AbstractEstimate,
        jacobian: AbstractJacobian,
        weight: ArrayLike | Callable[[Array], Array] = 1.0,
        *,
        shaping: optax.GradientTransformation | None = None,
        gate: Callable[[Array], Array] | None = None,
        debug: bool = False,
    ):
        if shaping is not None and not isinstance(shaping, optax.GradientTransformation):
            raise ValueError(
                "shaping must be an optax.GradientTransformation, such as "
                f"optax.clip_by_global_norm(1.0), got {shaping!r}."
            )
        if gate is not None and not callable(gate):
            raise ValueError(f"gate must be a callable from (K,) values to a factor, got {gate!r}.")
        self.estimate = estimate
        self.jacobian = jacobian
        self.weight = as_weight(weight)
        self.shaping = shaping
        self.gate = gate
        self.debug = debug

    def __call__(self, policy: Any, critic: Critic) -> FlowPolicy:
        if not isinstance(policy, FlowPolicy):
            raise ValueError(
                f"Gradient guidance changes a velocity field, and {type(policy).__name__} has "
                "none. It needs a flowguide.FlowPolicy: put gradient guidance before best_of_n and "
                "grad_step."
            )
        self.estimate.check(critic)
        asked = critic.critic if isinstance(critic, NoiseConditionedCritic) else critic
        if self.gate is not None and not isinstance(asked, Ensemble):
            raise ValueError(
                "A gate reads the values of all members of a flowguide.Ensemble, but the critic "
                f"is {critic!r}."
            )
        return eqx.tree_at(lambda p: p.velocity, policy, GuidedVelocity(policy, critic, self))

    def term(
        self,
        critic: Critic,
        t: Float[ArrayLike, ""],
        clean_action: Float[Array, "*clean"],
        observation: PyTree,
        pullback: Callable[[Array], Float[Array, "*action"]],
    ) -> tuple[Float[Array, "*action"], Float[Array, ""]]:
        """The term that is added to the velocity, and the critic's value at the clean action.

        `pullback` takes a gradient of the clean action's shape to one of the noisy action's. If
        there are several clean actions, their mean value counts.
        """
        cleanness = jnp.asarray(self.estimate.cleanness(t))

        def at(clean_action):
            return critic_gradient(critic, observation, clean_action, cleanness)

        if self.estimate.is_single:
            at_clean = at(clean_action)
            gradient: Any = pullback(at_clean.gradient)
        else:
            at_each = jax.vmap(at)(clean_action)
            at_clean = jax.tree.map(lambda x: jnp.mean(x, axis=0), at_each)
            gradient = pullback(at_each.gradient / len(clean_action))
        if self.shaping is not None:
            gradient, _ = self.shaping.update(gradient, self.shaping.init(gradient))
        factor = jnp.asarray(weight_at(self.weight, t), gradient.dtype)
        if self.gate is not None:
            factor = factor * self.gate(at_clean.members)
        if not broadcasts_to(factor.shape, gradient.shape):
            raise ValueError(
                f"The weight has shape {factor.shape}, which does not broadcast to the action "
                f"shape {gradient.shape}. For a batch of weights use jax.vmap."
            )
        term = jnp.broadcast_to(factor, gradient.shape) * gradient
        return term, at_clean.value


class GuidedVelocity(AbstractGuidedVelocity):
    """The velocity field of a flow policy, with a critic's gradient added."""

    policy: FlowPolicy
    critic: Critic
    guidance: GradientGuidance

    @property
    def base(self) -> VelocityField:
        return self.policy.velocity

    def step(
        self, t: Float[ArrayLike, ""], action: Float[Array, "*action"], observation: PyTree
    ) -> VelocityStep:
        weight = self.guidance.weight
        if isinstance(weight, WeightInterval):
            return jax.lax.cond(
                weight.is_inside(t),
                lambda: self._guided(t, action, observation),
                lambda: unguided_step(self.base, t, action, observation),
            )
        return self._guided(t, action, observation)

    def _guided(
        self, t: Float[ArrayLike, ""], action: Float[Array, "*action"], observation: PyTree
    ) -> VelocityStep:
        guidance = self.guidance
        clean_action, velocity, pullback = guidance.jacobian(
            lambda a: guidance.estimate(self.policy, t, a, observation), action
        )
        term, value = guidance.term(self.critic, t, clean_action, observation, pullback)
        if not guidance.estimate.is_single:
            clean_action = jnp.mean(clean_action, axis=0)
        is_finite = jnp.all(jnp.isfinite(term))
        if guidance.debug:
            term = eqx.error_if(term, ~is_finite, "flowguide: the guidance term is not finite.")
        term = jnp.where(is_finite, term, 0)
        return VelocityStep(velocity + term, term, clean_action, value, is_finite)

    def __call__(
        self, t: Float[ArrayLike, ""], action: Float[Array, "*action"], observation: PyTree
    ) -> Float[Array, "*action"]:
        inputs = (self, jnp.asarray(t), action, observation)
        if self.guidance.jacobian.is_derivative and self.guidance.estimate.twice is not None:
            return _velocity_with_own_gradient(inputs)
        return _velocity(inputs)


def _velocity(inputs: tuple[GuidedVelocity, Array, Array, PyTree]) -> Array:
    guided, t, action, observation = inputs
    return guided.step(t, action, observation).velocity


# `bptt` has a derivative inside, and diffrax's fast adjoint can be differentiated once only.
# So the field runs on the fast adjoint, and only its own gradient is taken through the slow one.
_velocity_with_own_gradient = eqx.filter_custom_vjp(_velocity)


@_velocity_with_own_gradient.def_fwd
def _(perturbed, inputs):
    del perturbed
    return _velocity(inputs), None


@_velocity_with_own_gradient.def_bwd
def _(residuals, cotangent, perturbed, inputs):
    del residuals
    moving, fixed = eqx.partition(inputs, perturbed)

    def slow(moving):
        guided, *rest = eqx.combine(moving, fixed)
        twice = guided.guidance.estimate.twice
        return _velocity((eqx.tree_at(lambda g: g.guidance.estimate, guided, twice), *rest))

    _, pullback = eqx.filter_vjp(slow, moving)
    (gradient,) = pullback(cotangent)
    return gradient
