"""Policies, critics and tables of methods that the tests are crossed with.

Observation and action sizes differ everywhere: equal ones would hide a swapped argument.
"""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax

import flowguide as fg
from flowguide import nn

OBSERVATION_SIZE = 7
ACTION_SHAPES = [(3,), (2, 3)]
HIDDEN = (16, 16)

GRADIENT_METHODS = {
    "qgf": fg.qgf,
    "qgf_jacobian": fg.qgf_jacobian,
    "ode": fg.ode,
    "bptt": fg.bptt,
    "ood": fg.ood,
    "qgf_regularised": fg.qgf_regularised,
    "qgf_orthogonal": fg.qgf_orthogonal,
    "posterior": fg.posterior,
}

# One guidance of each kind, and combinations of them.
GUIDANCES = {
    **{name: make(0.3) for name, make in GRADIENT_METHODS.items()},
    "qgf array weight": fg.qgf(jnp.array([0.1, 0.0, 2.0])),
    "qgf weight of t": fg.qgf(lambda t: 1 - t),
    "qgf clipped": fg.qgf(0.3, shaping=optax.clip_by_global_norm(0.1)),
    "qgf gated": fg.qgf(0.3, gate=fg.DisagreementGate(scale=2.0, floor=0.1)),
    "qgf of the score": fg.qgf(fg.ScoreWeight(0.3, cap=5.0)),
    "qgf in an interval": fg.qgf(fg.WeightInterval(0.3, 0.2, 0.7)),
    "guided_action_flow": fg.guided_action_flow(2.0, scale=2.0, floor=0.1),
    "trust_region": fg.trust_region(fg.qgf(0.3), radius=0.2),
    "best_of_n": fg.best_of_n(3),
    "beam": fg.beam(3, keep=2, levels=(0.3, 0.6)),
    "noise_ascent": fg.noise_ascent(0.1, steps=2),
    "grad_step": fg.grad_step(0.1, steps=2),
    "grad_step sign": fg.grad_step(0.1, steps=2, sign=True),
    "qgf then best_of_n": [fg.qgf(0.3), fg.best_of_n(3)],
    "qgf then beam": [fg.qgf(0.3), fg.beam(2, levels=(0.5,))],
    "qgf then qgf_jacobian": [fg.qgf(0.3), fg.qgf_jacobian(0.2)],
}

SOLVERS = {
    "Euler": diffrax.Euler(),
    "Heun": diffrax.Heun(),
    "Midpoint": diffrax.Midpoint(),
    "Tsit5": diffrax.Tsit5(),
}


class Affine(eqx.Module):
    """The field `matrix a + drift o`, whose flow has a closed form."""

    matrix: jax.Array
    drift: jax.Array

    def __call__(self, t, action, observation):
        del t
        return self.matrix @ action + self.drift @ observation


class Quadratic(eqx.Module):
    """The critic `-|a - target(o)|^2 / 2`."""

    target: jax.Array

    def __call__(self, observation, action):
        return -jnp.sum((action - self.target @ observation) ** 2) / 2


def mlp_policy(key, action_shape=(3,), **options) -> fg.FlowPolicy:
    velocity = nn.VelocityMLP(OBSERVATION_SIZE, action_shape, HIDDEN, key=key)
    return fg.FlowPolicy(velocity, action_shape, **options)


def mlp_critic(key, action_shape=(3,), num_members=3, **options) -> fg.Ensemble:
    return nn.critic_ensemble(
        num_members, OBSERVATION_SIZE, action_shape, HIDDEN, key=key, **options
    )


def affine_policy(key, size=3, **options) -> Any:
    """Unbounded, so that closed forms hold without a clip."""
    matrix_key, drift_key = jr.split(key)
    velocity = Affine(
        0.5 * jr.normal(matrix_key, (size, size)), jr.normal(drift_key, (size, OBSERVATION_SIZE))
    )
    options = {"low": -jnp.inf, "high": jnp.inf, **options}
    return fg.FlowPolicy(velocity, (size,), **options)


def quadratic_critic(key, size=3) -> Quadratic:
    return Quadratic(jr.normal(key, (size, OBSERVATION_SIZE)))


def observation(key) -> jax.Array:
    return jr.normal(key, (OBSERVATION_SIZE,))


def python_loop(policy, noise, observation, guidance_term):
    """Euler steps in a Python loop: the brute force that everything else is compared with."""
    action, steps = noise, policy.num_steps
    for i in range(steps):
        velocity = policy.velocity(jnp.asarray(i / steps), action, observation)
        action = action + (velocity + guidance_term(i, action, velocity)) / steps
    return policy.clip(action)
