import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg

from ..helpers import affine_policy, mlp_critic, mlp_policy, observation, python_loop


def test_equals_the_formula_by_hand(key):
    policy = affine_policy(key, num_steps=4)
    # Its own reduction is the minimum, which Guided Action Flow does not use.
    critic = mlp_critic(key)
    o, noise = observation(key), jr.normal(key, (3,))

    def term(i, action, velocity):
        clean = policy.clip(action + (1 - i / 4) * velocity)
        members, slopes = jax.vmap(
            lambda k: jax.value_and_grad(lambda a: critic.members(o, a)[k])(clean)
        )(jnp.arange(3))
        gradient = slopes.mean(0)
        gradient = gradient * jnp.minimum(1, 0.05 / jnp.linalg.norm(gradient))
        return jnp.maximum(0.2, jnp.exp(-3 * members.std())) * gradient / 0.5

    expected = python_loop(policy, noise, o, term)
    guided = fg.guide(
        policy, critic, "guided_action_flow", beta=0.5, max_norm=0.05, scale=3.0, floor=0.2
    )
    np.testing.assert_allclose(guided.from_noise(noise, o), expected, atol=1e-5)


def test_is_qgf_with_parts(key):
    policy, critic = mlp_policy(key), mlp_critic(key, reduction="mean")
    o, noise = observation(key), jr.normal(key, (3,))
    paper = fg.guided_action_flow(4.0, max_norm=None, scale=2.0)
    parts = fg.qgf(0.25, gate=fg.DisagreementGate(2.0))
    actions = [fg.guide(policy, critic, each).from_noise(noise, o) for each in (paper, parts)]
    np.testing.assert_allclose(actions[0], actions[1], atol=1e-6)


def test_refuses_one_critic_and_beta_zero(key):
    with pytest.raises(ValueError, match="mean of members.*such as those of a flowguide.Ensemble"):
        fg.guide(mlp_policy(key), lambda o, a: jnp.sum(a), "guided_action_flow")
    with pytest.raises(eqx.EquinoxRuntimeError, match="beta must be above 0"):
        fg.guided_action_flow(0.0)
