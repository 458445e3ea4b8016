"""Adjoint matching on a bandit whose cloned policy is one Gaussian, where everything is linear."""

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
from flowguide.train import FQL, QAM, train
from flowguide.train._memoryless import lean_adjoint, memoryless_path

from ..helpers import without_typechecker
from .test_rivals import bandit, MixtureVelocityOfChunks, OFFSET, SLOPE, STATE
from .test_train import promotion_as_optax_needs_it as promotion_as_optax_needs_it

MEAN, STD = 0.2, 0.5
NUM_STEPS = 50


class Tabular(eqx.Module):
    """The cloned field, and an affine change of its own at each step."""

    shift: jax.Array
    slope: jax.Array

    def __init__(self, num_steps=NUM_STEPS):
        self.shift, self.slope = jnp.zeros((num_steps, 1, 2)), jnp.zeros(num_steps)

    def __call__(self, t, action, observation):
        step = jnp.round(t * len(self.slope)).astype(int)
        change = self.shift[step] + self.slope[step] * action
        return MixtureVelocityOfChunks()(t, action, observation) + change


def make_policy(num_steps=NUM_STEPS):
    return fg.FlowPolicy(Tabular(num_steps), (1, 2), num_steps=num_steps, low=-99.0, high=99.0)


def curved(curvature):
    def critic(observation, action):
        assert observation.shape == (3,) and action.shape == (1, 2)
        return OFFSET + action[0] @ SLOPE - curvature * jnp.sum(action**2) / 2

    return critic


@pytest.fixture(scope="module")
def windows():
    return bandit(np.zeros((50, 2)))


def tuned(critic, temperature, windows, key, num_steps=NUM_STEPS):
    optimiser = optax.adam(optax.cosine_decay_schedule(0.05, 400))
    learner = QAM(make_policy(num_steps), critic, temperature, optimiser)
    return train(learner, windows, steps=400, batch_size=32, key=key).result(learner)


@pytest.mark.parametrize("curvature", [0.0, 2.0])
def test_samples_are_of_the_cloned_policy_times_the_exponential_of_the_critic(
    key, windows, curvature
):
    strength = 2.0
    policy = tuned(curved(curvature), strength * OFFSET, windows, key)
    actions = fg.sample(policy, jnp.zeros((4000, 3)), key=key)[:, 0]
    # Of N(m, s^2) times exp(strength (slope a - curvature a^2 / 2)): the mean size of the values is
    # within 2% of the offset.
    precision = 1 / STD**2 + strength * curvature
    mean = (MEAN / STD**2 + strength * np.asarray(SLOPE)) / precision
    assert np.abs(mean - MEAN).max() > 0.15 and (curvature == 0 or precision**-0.5 < 0.75 * STD)
    # Of 50 steps 8% of the shift is missing, and 3% of the deviation; that of 4000 samples is 1%.
    np.testing.assert_allclose(actions.mean(0), mean, atol=0.035)
    np.testing.assert_allclose(actions.std(0), precision**-0.5, rtol=0.06)


def test_each_step_moves_by_half_its_variance_times_the_adjoint(key, windows):
    """Exactly, of however few steps: for a linear critic the adjoint is the same everywhere."""
    num_steps, strength = 5, 2.0
    # The size of values would be that of the offset but for the paths' own ends.
    level = 1e4 * OFFSET

    def critic(observation, action):
        return level + action[0] @ SLOPE

    policy = tuned(critic, strength * level, windows, key, num_steps)
    h = 1 / num_steps
    adjoint = -strength * np.asarray(SLOPE, float)
    for i in reversed(range(num_steps)):
        t = i * h
        derivative = (t * STD**2 - (1 - t)) / ((1 - t) ** 2 + (t * STD) ** 2)
        is_last = i == num_steps - 1
        adjoint = adjoint * (1 + h * (derivative if is_last else 2 * derivative - 1 / (t + h)))
        expected = -(1 - t + h) / (t + h) * adjoint
        np.testing.assert_allclose(policy.velocity.shift[i, 0], expected, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(policy.velocity.slope, 0.0, atol=1e-3)


def test_the_lean_adjoint_is_that_of_the_frozen_steps(key):
    """Step by step, by the whole Jacobian of a step as it is defined."""
    field = nn.VelocityMLP(3, (2, 2), (16,), key=key)
    policy = fg.FlowPolicy(field, (2, 2))
    num_steps = 4
    actions, end = jr.normal(key, (num_steps + 1, 2, 2)), jr.normal(key, (2, 2))
    found = lean_adjoint(policy, STATE, actions, end)
    h, adjoint = 1 / num_steps, end
    for i in reversed(range(num_steps)):

        def step(action, t=i * h, is_last=i == num_steps - 1):
            velocity = field(t, action, STATE)
            return action + h * (velocity if is_last else 2 * velocity - action / (t + h))

        adjoint = jnp.einsum("ij,ijkl->kl", adjoint, jax.jacfwd(step)(actions[i]))
        np.testing.assert_allclose(found[i], adjoint, rtol=1e-4, atol=1e-5)


def test_the_sde_ends_where_the_flow_does_and_forgets_where_it_began(key):
    policy = make_policy(200)
    noise = jr.normal(key, (4000, 1, 2))
    keys = jr.split(key, len(noise))
    paths = jax.vmap(lambda n, k: memoryless_path(policy, STATE, n, 200, k))(noise, keys)
    assert paths.shape == (4000, 201, 1, 2)
    np.testing.assert_array_equal(paths[:, 0], noise)
    # Between a flow of noise and action: of variance (1 - t)^2 + t^2 s^2, late and at the end. The
    # variance of 200 steps is 2% more, and that of 4000 paths is good to 2%.
    for i in (100, 200):
        t = i / 200
        variance = (1 - t) ** 2 + (t * STD) ** 2
        np.testing.assert_allclose(paths[:, i, 0].mean(0), t * MEAN, atol=0.03)
        np.testing.assert_allclose(paths[:, i, 0].var(0), variance, rtol=0.1)
    flow = jax.vmap(policy.from_noise, (0, None))(noise, STATE)
    np.testing.assert_allclose(paths[:, -1].mean(0), flow.mean(0), atol=0.03)
    np.testing.assert_allclose(paths[:, -1].var(0), flow.var(0), rtol=0.1)
    remembered = np.corrcoef(np.asarray(paths)[:, 0, 0, 0], np.asarray(paths)[:, -1, 0, 0])
    assert abs(remembered[0, 1]) < 0.06
    assert np.corrcoef(noise[:, 0, 0], flow[:, 0, 0])[0, 1] > 0.99


def test_the_policy_stays_as_it_is_without_a_temperature(key, windows):
    policy = dataclasses.replace(
        fg.FlowPolicy(nn.VelocityMLP(3, (1, 2), (16,), key=key), (1, 2), num_steps=3), low=-0.5
    )
    learner = QAM(policy, curved(1.0), 0.0)
    state = train(learner, windows, steps=5, batch_size=16, key=key)
    assert eqx.tree_equal(learner.result(state.learner), policy)
    # What is frozen outlives the updates, which consume their state.
    pairs = zip(*map(jax.tree.leaves, (learner.init(key).model, policy.velocity)), strict=True)
    arrays = [pair for pair in pairs if eqx.is_array(pair[0])]
    assert arrays
    for mine, frozen in arrays:
        assert mine.unsafe_buffer_pointer() != frozen.unsafe_buffer_pointer()


def test_no_update_depends_on_the_critics_scale(key, windows):
    results = []
    for scale in (1.0, 1e-3):
        critic = curved(2.0)
        learner = QAM(
            make_policy(4), lambda o, a, c=critic, s=scale: s * c(o, a), 50.0, num_steps=6
        )
        results.append(train(learner, windows, steps=5, batch_size=16, key=key).result(learner))
    assert results[0].num_steps == 4
    np.testing.assert_allclose(*(each.velocity.slope for each in results), rtol=1e-2, atol=1e-7)
    assert np.abs(results[0].velocity.shift).max() > 1e-4


def make_velocity(key):
    return nn.VelocityMLP(3, (1, 2), (64, 64), key=key)


@pytest.mark.parametrize("alpha, step", [(np.inf, 0.0), (0.02, 1.0)])
def test_one_step_is_distilled_from_the_tuned_policy(key, windows, alpha, step):
    """By FQL, of which the tuned policy is the teacher: alone with an infinite alpha, and else
    `d grad Q / (2 alpha size)` from its actions."""
    teacher = tuned(curved(0.0), 4.0 * OFFSET, windows, key, num_steps=5)
    optimiser = optax.adam(optax.cosine_decay_schedule(3e-3, 600))
    learner = FQL(make_velocity, teacher, curved(0.0), alpha, optimiser)
    student = train(learner, windows, steps=600, batch_size=128, key=key).result(learner)
    assert student.num_steps == 1
    noise = jr.normal(key, (64, 1, 2))
    found, taught, cloned = (
        np.asarray(jax.vmap(policy.from_noise, (0, None))(noise, STATE))
        for policy in (student, teacher, make_policy(5))
    )
    # The network's own error; the tuned policy is further from the cloned one.
    np.testing.assert_allclose(found, taught + step * np.asarray(SLOPE), atol=0.15)
    assert np.all((taught - cloned)[..., 0] > 0.3)


def test_what_cannot_be_tuned_is_refused(key):
    policy, critic = make_policy(), curved(0.0)
    closed = fg.FlowPolicy(MixtureVelocityOfChunks(), (1, 2))
    for make, message in (
        (lambda: QAM(policy, critic, -1.0), "temperature must be finite and at least 0, got -1.0"),
        (lambda: QAM(policy, critic, np.inf), "temperature must be finite and at least 0, got inf"),
        (lambda: QAM(policy, critic, np.nan), "temperature must be finite and at least 0, got nan"),
        (lambda: QAM(policy, critic, num_steps=0), "num_steps must be"),
        (lambda: QAM(fg.guide(policy, critic, "qgf", weight=0.1), critic), "with guidance"),
        (lambda: QAM(closed, critic), "has no parameters to train"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    best: Any = fg.guide(policy, critic, "best_of_n", n=2)
    with without_typechecker(), pytest.raises(ValueError, match="FlowPolicy, got BestOfNPolicy"):
        QAM(best, critic)
