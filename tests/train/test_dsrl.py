"""Diffusion steering on a bandit whose flow is linear in its noise: the best noise is known."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import flowguide as fg
from flowguide import nn
from flowguide._policy import SquashedGaussian
from flowguide.train import DSRL, train

from ..helpers import Calls, without_typechecker
from .test_rivals import make_velocity, STATE, windows as windows
from .test_train import promotion_as_optax_needs_it as promotion_as_optax_needs_it

MEAN, SPREAD = jnp.array([[0.2, -0.1]]), jnp.array([[0.5, 0.8]])
# Of two entries: one inside of the box, one outside.
BEST = jnp.array([[0.6, -2.0]])


class Linear(eqx.Module):
    """The field of which `MEAN + SPREAD * noise` is the action, on straight lines."""

    def __call__(self, t, action, observation):
        assert observation.shape == (3,) and action.shape == (1, 2)
        noise = (action - t * MEAN) / (1 + t * (SPREAD - 1))
        return MEAN + (SPREAD - 1) * noise


POLICY = fg.FlowPolicy(Linear(), (1, 2), num_steps=1, low=-9.0, high=9.0)


def critic(observation, action):
    return 50.0 - 4 * jnp.sum(((action - MEAN) / SPREAD - BEST) ** 2)


def make_noise_critic(key):
    return nn.critic_ensemble(2, 3, (1, 2), (32, 32), key=key)


def actor_maker(scale):
    return lambda key: nn.NoiseActor(3, (1, 2), (32,), scale=scale, key=key)


def learner(scale=1.0, target_entropy=None, policy=POLICY, asked=critic):
    optimiser = optax.adam(optax.cosine_decay_schedule(2e-2, 1000))
    return DSRL(
        *(actor_maker(scale), make_noise_critic, policy, asked),
        target_entropy=target_entropy,
        optimiser=optimiser,
    )


def trained(windows, key, **options):
    made = learner(**options)
    return train(made, windows, steps=1000, batch_size=64, key=key)


def test_the_actor_finds_the_best_noise_as_its_entropy_falls(key, windows):
    """The more entropy, the more the noise is spread; its mean is the best one in the box."""
    noise = jr.normal(key, (1000, 1, 2))
    spreads = []
    for target in (0.0, -4.0):
        state = trained(windows, key, target_entropy=target)
        made = learner(target_entropy=target)
        policy = state.result(made)
        actor = state.learner.actor.model(STATE)
        reached = -np.mean(jax.vmap(actor.log_density)(noise))
        np.testing.assert_allclose(reached, target, atol=0.5)
        found = jax.vmap(actor)(noise)
        assert jnp.all(jnp.abs(found) <= 1)
        spreads.append(np.std(found[:, 0, 0]))
        actions = jax.vmap(policy.from_noise, (0, None))(noise, STATE)
        # What the flow makes of that noise, and nothing else.
        np.testing.assert_allclose(actions, MEAN[None] + SPREAD[None] * found, atol=1e-5)
        atol = 0.25 if target == 0 else 0.1
        np.testing.assert_allclose(np.mean(found[:, 0, 0]), BEST[0, 0], atol=atol)
    assert spreads[1] < 0.5 * spreads[0]
    # The entry whose best value lies outside of the box is at its edge.
    assert np.mean(found[:, 0, 1]) < -0.9


def test_a_larger_scale_reaches_further(key, windows):
    policy = trained(windows, key, scale=2.5, target_entropy=-4.0).result(learner(2.5))
    actions = jax.vmap(policy.from_noise, (0, None))(jr.normal(key, (500, 1, 2)), STATE)
    noise = (np.mean(actions, 0) - MEAN) / SPREAD
    np.testing.assert_allclose(noise, BEST, atol=0.2)


def test_the_log_density_is_that_of_the_squashed_noise():
    """It integrates to 1, and its entropy is that of a histogram."""
    for mean, log_std in ((0.3, -0.5), (-1.0, 0.4), (6.0, -3.0)):
        squashed = SquashedGaussian(jnp.full((1,), mean), jnp.full((1,), log_std), scale=2.0)
        noise = jnp.linspace(-8, 8, 20001)[:, None]
        log_density = np.asarray(jax.vmap(squashed.log_density)(noise), np.float64)
        u = mean + np.exp(log_std) * np.asarray(noise, np.float64)[:, 0]
        np.testing.assert_allclose(jax.vmap(squashed)(noise)[:, 0], 2 * np.tanh(u), atol=1e-6)
        # Where float32 no longer tells the points apart, float64 does.
        density = np.exp(log_density)
        np.testing.assert_allclose(np.trapezoid(density, np.tanh(u)), 1, atol=1e-3)
        # By the change of variables, written out.
        normal = np.exp(-0.5 * np.asarray(noise, np.float64)[:, 0] ** 2) / np.sqrt(2 * np.pi)
        expected = normal / np.exp(log_std) * np.cosh(u) ** 2
        np.testing.assert_allclose(density, expected, rtol=1e-3)
    two = SquashedGaussian(jnp.array([0.3, -1.0]), jnp.array([-0.5, 0.4]))
    one = [SquashedGaussian(two.mean[i], two.log_std[i]) for i in range(2)]
    noise = jnp.array([0.7, -1.2])
    both = sum(each.log_density(n) for each, n in zip(one, noise, strict=True))
    np.testing.assert_allclose(two.log_density(noise), both, rtol=1e-6)


def steered(key) -> tuple[Any, Any]:
    policy = fg.FlowPolicy(make_velocity(key), (1, 2), num_steps=4)
    return policy, dataclasses.replace(policy, steer=actor_maker(1.4)(key))


def test_a_steered_policy_is_the_policy_from_another_noise(key, tmp_path):
    policy, found = steered(key)
    noise, judge = jr.normal(key, (1, 2)), make_noise_critic(key)
    start = found.steer(STATE)(noise)
    np.testing.assert_allclose(found.from_noise(noise, STATE), policy.from_noise(start, STATE))
    np.testing.assert_allclose(found.trace(noise, STATE).actions[0], start, atol=1e-6)
    fg.save(tmp_path, found, judge)
    again, _ = fg.load(tmp_path)
    assert eqx.tree_equal(again, found) and "steer=NoiseActor" in repr(again)
    # Guidance goes on top, at any weight, and is measured on what the policy does.
    by_hand = fg.guide(policy, judge, "qgf", weight=0.7).from_noise(start, STATE)
    guided: Any = fg.guide(found, judge, "qgf", weight=0.7)
    np.testing.assert_allclose(guided.from_noise(noise, STATE), by_hand, atol=1e-6)
    assert eqx.tree_equal(guided.unguided, found)
    here = fg.qgf(fg.Kappa(1.0, num_actions=6))
    prepared = fg.guide(found, judge, here).prepare(STATE)
    noises = jr.normal(jr.key(0, impl="threefry2x32"), (6, 1, 2))
    actions = jax.vmap(found.from_noise, (0, None))(noises, STATE)
    values = jax.vmap(judge, (None, 0))(STATE, actions)
    unit = np.var(actions, axis=0, ddof=1).mean() / np.std(values, ddof=1)
    np.testing.assert_allclose(prepared.weights[0].measured, unit, rtol=1e-3)


@pytest.mark.parametrize("guidance", [[], [fg.qgf(), fg.best_of_n(3)]])
def test_the_actor_is_asked_once_an_observation_and_is_paid_for(key, guidance):
    calls = Calls()
    policy, plain = steered(key)
    counted = dataclasses.replace(
        policy,
        velocity=calls.velocity(policy.velocity),
        steer=lambda o: (calls.note("actor", o), plain.steer(o))[1],
    )
    judge = make_noise_critic(key)
    guided = fg.guide(counted, judge, guidance)
    cost = fg.guide(plain, judge, guidance).cost()
    noise = jr.normal(key, guided.noise_shape)
    found = calls.of(guided.from_noise, noise, STATE)
    assert found["actor"] == 1 and found["velocities"] + 1 == cost.velocities


def test_the_policy_may_be_a_black_box(key, windows):
    """Nothing is differentiated through it, nor through the critic."""

    def field(t, action, observation):
        out = jax.ShapeDtypeStruct(action.shape, action.dtype)
        return jax.pure_callback(np.sign, out, action, vmap_method="sequential")

    def judge(observation, action):
        out = jax.ShapeDtypeStruct((), action.dtype)
        return jax.pure_callback(np.sum, out, action, vmap_method="sequential")

    policy = fg.FlowPolicy(field, (1, 2), num_steps=2)
    made = learner(policy=policy, asked=judge)
    batch = windows.sample(key, 8)
    state, losses = eqx.filter_jit(made.update)(made.init(key), batch, key)
    assert all(jnp.isfinite(loss) for loss in losses.values())
    assert not eqx.tree_equal(state.actor.model, made.init(key).actor.model)


def test_rows_that_do_not_count_change_nothing(key, windows):
    made = learner()
    state, batch, update = made.init(key), windows.sample(key, 8), eqx.filter_jit(made.update)
    strange = eqx.tree_at(lambda b: b.observation, batch, batch.observation.at[4:].add(7.0))
    weight = jnp.array([1.0] * 4 + [0.0] * 4)
    both = [
        eqx.filter(update(state, eqx.tree_at(lambda b: b.weight, each, weight), key), eqx.is_array)
        for each in (batch, strange)
    ]
    for a, b in zip(*map(jax.tree.leaves, both), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_what_makes_no_sense_is_refused(key):
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="scale must be above 0 and finite"):
            actor_maker(scale)(key)
    with pytest.raises(ValueError, match="this one is steered already"):
        learner(policy=steered(key)[1])
    with without_typechecker(), pytest.raises(ValueError, match="steer must be a callable of the"):
        dataclasses.replace(POLICY, steer=3)  # pyright: ignore[reportArgumentType]
    message = r"NoiseActor was built for one observation of shape \(3,\), got shape \(2, 3\)"
    with without_typechecker(), pytest.raises(ValueError, match=message):
        actor_maker(1.0)(key)(jnp.zeros((2, 3)))
