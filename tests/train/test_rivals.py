"""Training-time methods on bandits, where what each aims at has a closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import flowguide as fg
from flowguide import nn
from flowguide.data import from_arrays, Windows
from flowguide.diagnose import MixtureVelocity
from flowguide.train import EDP, FAWAC, FlowMatching, FQL, train

from .test_train import promotion_as_optax_needs_it as promotion_as_optax_needs_it

SLOPE = jnp.array([0.6, -0.3])
# Far from 0, so that the mean size of values is theirs.
OFFSET = 50.0
STATE = jnp.zeros(3)


def critic(observation, action):
    """Linear in the action, of shape (1, 2)."""
    assert observation.shape == (3,) and action.shape == (1, 2)
    return OFFSET + action[0] @ SLOPE


def flat(observation, action):
    return OFFSET + 0 * jnp.sum(action)


def make_velocity(key):
    return nn.VelocityMLP(3, (1, 2), (64, 64), key=key)


def bandit(actions):
    """Episodes of one action in one state."""
    rows = np.zeros((2 * len(actions), 2))
    rows[::2] = actions
    ends = np.tile([False, True], len(actions))
    zeros = np.zeros(len(rows))
    states = np.zeros((len(rows), 3))
    return Windows(from_arrays(states, rows, zeros, 1 - zeros, ends, low=-9.0, high=9.0), 1, 0.9)


@pytest.fixture(scope="module")
def windows():
    return bandit(np.clip(np.random.default_rng(0).normal(0.2, 0.5, (4000, 2)), -9, 9))


def fields(field, points, times):
    return np.stack([jax.vmap(lambda a, t=t: field(t, a, STATE))(points) for t in times])


def test_edp_adds_the_critics_gradient_one_step_ahead(key, windows):
    """Pointwise, the best field is the cloned one and `(1 - t) d grad Q / (2 w size)`."""
    weight = 0.02
    optimiser = optax.adam(optax.cosine_decay_schedule(3e-3, 2000))
    learner = EDP(make_velocity, critic, weight, optimiser, low=-99.0, high=99.0)
    field = train(learner, windows, steps=2000, batch_size=512, key=key).result(learner)
    mixture = MixtureVelocity(jnp.array([[0.2, 0.2]]), 0.5)
    points, times = jr.normal(key, (64, 1, 2)) * 0.5, jnp.array([0.1, 0.5, 0.8])
    cloned = fields(lambda t, a, o: mixture(t, a[0], o)[None], points, times)
    slope = np.asarray(SLOPE)
    term = np.asarray(1 - times)[:, None, None, None] * 2 * slope / (2 * weight * OFFSET)
    # A network of this size is up to 0.1 from the best field after so many updates, and from the
    # cloned one too where the critic is flat.
    np.testing.assert_allclose(fields(field, points, times), cloned + term, atol=0.15)
    # The term is what it is about: without it, most points would be outside.
    assert np.abs(term).max() > 0.5


def test_fql_moves_the_teachers_action_along_the_gradient(key, windows):
    """Pointwise, the best action is the teacher's and `d grad Q / (2 alpha size)`."""
    teacher = fg.FlowPolicy(MixtureVelocityOfChunks(), (1, 2), num_steps=10, low=-99.0, high=99.0)
    moved = 2 * np.asarray(SLOPE) / (2 * 0.02 * OFFSET)
    asked_for = ((critic, 0.02, moved), (flat, 1.0, 0 * moved), (critic, np.inf, 0 * moved))
    for asked, alpha, step in asked_for:
        optimiser = optax.adam(optax.cosine_decay_schedule(3e-3, 1000))
        learner = FQL(make_velocity, teacher, asked, alpha, optimiser)
        student = train(learner, windows, steps=1000, batch_size=256, key=key).result(learner)
        assert student.num_steps == 1 and student.cost().velocities == 1
        noise = jr.normal(key, (64, 1, 2))
        found = jax.vmap(student.from_noise, (0, None))(noise, STATE)
        taught = jax.vmap(teacher.from_noise, (0, None))(noise, STATE)
        # The network's own error; the step is 0.6 and 0.3 long.
        np.testing.assert_allclose(found, np.asarray(taught) + step, atol=0.15)
        # A policy like any other: guidance goes on top.
        guided = fg.guide(student, asked, "qgf", weight=0.1)
        assert np.all(np.isfinite(guided(STATE, key=key)))


class MixtureVelocityOfChunks(eqx.Module):
    def __call__(self, t, action, observation):
        return MixtureVelocity(jnp.array([[0.2, 0.2]]), 0.5)(t, action[0], observation)[None]


def two_ways(observation, action):
    """1 for the way to the right, 0 for the one to the left."""
    return (action[0, 0] > 0).astype(action.dtype)


def test_fawac_clones_actions_by_how_good_they_are(key):
    windows = bandit(np.random.default_rng(0).choice([-0.8, 0.8], (2000, 1)) * np.ones((1, 2)))
    optimiser = optax.adam(optax.cosine_decay_schedule(3e-3, 800))
    cloning = FlowMatching(make_velocity, optimiser)
    cloned = train(cloning, windows, steps=800, batch_size=256, key=key).result(cloning)
    policy = fg.FlowPolicy(cloned, (1, 2), num_steps=10)
    learner = FAWAC(make_velocity, policy, two_ways, 1.5, num_actions=2, optimiser=optimiser)
    field = train(learner, windows, steps=800, batch_size=256, key=key).result(learner)
    better = fg.FlowPolicy(field, (1, 2), num_steps=10)
    for found, expected in ((policy, 0.5), (better, np.exp(1.5) / (1 + np.exp(1.5)))):
        actions = fg.sample(found, jnp.zeros((2000, 3)), key=key)
        # Half of the data, and then exp(1.5) to 1.
        np.testing.assert_allclose(np.mean(actions[:, 0, 0] > 0), expected, atol=0.06)


def test_fawac_at_temperature_0_is_cloning(key, windows):
    policy = fg.FlowPolicy(make_velocity(key), (1, 2), num_steps=2)
    learners = FAWAC(make_velocity, policy, critic, 0.0), FlowMatching(make_velocity)
    fields = [
        train(learner, windows, steps=20, batch_size=32, key=key).result(learner)
        for learner in learners
    ]
    leaves = [jax.tree.leaves(eqx.filter(field, eqx.is_array)) for field in fields]
    for found, expected in zip(*leaves, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_edp_of_infinite_weight_is_cloning(key, windows):
    """At the same times and noise, which both draw alike."""
    learners = EDP(make_velocity, critic, np.inf), FlowMatching(make_velocity)
    states = [train(learner, windows, steps=20, batch_size=32, key=key) for learner in learners]
    leaves = [jax.tree.leaves(eqx.filter(state.learner.model, eqx.is_array)) for state in states]
    for found, expected in zip(*leaves, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_no_action_counts_more_than_the_cap(key, windows):
    policy = fg.FlowPolicy(make_velocity(key), (1, 2), num_steps=2)
    learner = FAWAC(make_velocity, policy, lambda o, a: 1e6 * a[0, 0], max_weight=3.0)
    batch = windows.sample(key, 64)
    plain = FlowMatching(make_velocity)
    state = learner.init(key)
    capped, free = (each.update(state, batch, key)[1]["loss"] for each in (learner, plain))
    assert 0 < capped <= 3 * free


def test_coefficients_that_make_no_sense_are_refused(key):
    policy = fg.FlowPolicy(make_velocity(key), (1, 2))
    for make, message in (
        (lambda: EDP(make_velocity, critic, 0.0), "weight must be above 0, got 0.0"),
        (lambda: FQL(make_velocity, policy, critic, -1.0), "alpha must be above 0, got -1.0"),
        (lambda: FAWAC(make_velocity, policy, critic, -1.0), "temperature must be at least 0"),
        (lambda: FAWAC(make_velocity, policy, critic, num_actions=0), "num_actions must be"),
        (lambda: FAWAC(make_velocity, policy, critic, max_weight=0.0), "max_weight must be above"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
