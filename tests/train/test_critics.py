"""Critics on a walk along a line, where every value has a closed form."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import flowguide as fg
from flowguide import nn
from flowguide.data import Windows
from flowguide.diagnose import MixtureVelocity
from flowguide.train import (
    Bootstrapped,
    DecoupledIQL,
    IQL,
    NoiseConditioned,
    ReturnRegression,
    train,
)

from .test_train import chain_dataset, promotion_as_optax_needs_it as promotion_as_optax_needs_it

GAMMA = 0.9
STATES = jnp.arange(-2.0, 4.0)[:, None]
RIGHT, LEFT = jnp.ones((1, 1)), -jnp.ones((1, 1))


class WalkRight(eqx.Module):
    """A field whose flow ends at +1, whatever it starts from."""

    def __call__(self, t, action, observation):
        return (1 - action) / jnp.maximum(1 - t, 0.05)


def make_critic(key, noisy=False, **options):
    return nn.critic_ensemble(2, 1, (1, 1), (64, 64), noisy=noisy, key=key, **options)


def values(critic, action):
    return np.asarray(jax.vmap(critic, (0, None))(STATES, action))


def exact_values(move_right):
    """The action values, by iterating the Bellman equation until nothing changes.

    `move_right` is the probability of going right from then on.
    """
    states = np.arange(-2, 4)
    reward, mask = np.where(states == 3, 0.0, -1.0), (states != 3).astype(float)
    right = left = value = np.zeros(6)
    for _ in range(500):
        right, left = (
            reward + GAMMA * mask * value[np.clip(states + move, -2, 3) + 2] for move in (1, -1)
        )
        value = move_right * right + (1 - move_right) * left
    return right, left


def test_a_bootstrapped_critic_learns_the_value_of_its_policy(key):
    policy = fg.FlowPolicy(WalkRight(), (1, 1), num_steps=20)
    np.testing.assert_allclose(policy(jnp.zeros(1), key=key), 1.0, atol=0.06)
    learner = Bootstrapped(make_critic, policy, target_rate=0.05, optimiser=optax.adam(1e-3))
    windows = Windows(chain_dataset(), 1, GAMMA)
    critic = train(learner, windows, steps=4000, batch_size=128, key=key).result(learner)
    # The data walk at random: the values are the policy's, not the data's.
    right, left = exact_values(move_right=1.0)
    np.testing.assert_allclose(values(critic, RIGHT), right, atol=0.3)
    np.testing.assert_allclose(values(critic, LEFT)[1:], left[1:], atol=0.3)


def test_a_bootstrapped_critic_of_the_guided_policy_is_higher(key):
    """A policy that goes either way: with best-of-n in the target its values rise."""

    def either_way(t, action, observation):
        return (jnp.sign(action) - action) / jnp.maximum(1 - t, 0.05)

    policy = fg.FlowPolicy(either_way, (1, 1), num_steps=20)
    windows = Windows(chain_dataset(), 1, GAMMA)
    found = []
    for guidance in (None, [fg.best_of_n(8)]):
        learner = Bootstrapped(
            make_critic, policy, guidance, target_rate=0.05, optimiser=optax.adam(1e-3)
        )
        critic = train(learner, windows, steps=3000, batch_size=128, key=key).result(learner)
        found.append(values(critic, RIGHT)[1:5])
    np.testing.assert_allclose(found[0], exact_values(0.5)[0][1:5], atol=0.7)
    np.testing.assert_allclose(found[1], exact_values(1.0)[0][1:5], atol=0.5)
    # One step from the goal there is nothing to gain.
    assert np.all(found[1][:3] > found[0][:3] + 0.3)


def test_a_critic_of_the_datas_next_actions_learns_the_value_of_the_data(key):
    learner = Bootstrapped(make_critic, None, target_rate=0.05, optimiser=optax.adam(1e-3))
    windows = Windows(chain_dataset(2000), 1, GAMMA, next_actions=True)
    critic = train(learner, windows, steps=4000, batch_size=256, key=key).result(learner)
    right, left = exact_values(move_right=0.5)
    np.testing.assert_allclose(values(critic, RIGHT), right, atol=0.35)
    np.testing.assert_allclose(values(critic, LEFT)[1:], left[1:], atol=0.35)
    with pytest.raises(ValueError, match="Windows.*next_actions=True"):
        train(learner, Windows(chain_dataset(20), 1, GAMMA), steps=1, batch_size=8, key=key)
    with pytest.raises(ValueError, match="guidance guides a policy, and policy is None"):
        Bootstrapped(make_critic, None, fg.best_of_n(2))


def make_decoupled(expectile, distil_expectile):
    iql = IQL(
        lambda key: make_critic(key, reduction="mean"),
        lambda key: nn.ValueMLP(1, (64, 64), key=key),
        expectile,
        target_rate=0.05,
        optimiser=optax.adam(1e-3),
    )

    def make_chunk_critic(key):
        return nn.critic_ensemble(2, 1, (3, 1), (64, 64), reduction="mean", key=key)

    return DecoupledIQL(make_chunk_critic, iql, 1, distil_expectile)


def test_a_decoupled_critic_is_that_of_the_data_at_the_mean(key):
    """Of means all through, the long chunks change nothing: the value of the data, as SARSA's."""
    learner = make_decoupled(0.5, 0.5)
    windows = Windows(chain_dataset(2000), 3, GAMMA)
    critic = train(learner, windows, steps=3000, batch_size=256, key=key).result(learner)
    right, left = exact_values(move_right=0.5)
    np.testing.assert_allclose(values(critic, RIGHT), right, atol=0.35)
    np.testing.assert_allclose(values(critic, LEFT)[1:], left[1:], atol=0.35)


def test_a_decoupled_critic_is_as_optimistic_as_its_expectiles(key):
    """The data walk at random, and the best three steps from where they are lead to the goal."""
    windows = Windows(chain_dataset(2000), 3, GAMMA)
    found = []
    for distil_expectile in (0.5, 0.97):
        learner = make_decoupled(0.5, distil_expectile)
        critic = train(learner, windows, steps=4000, batch_size=256, key=key).result(learner)
        found.append(values(critic, RIGHT))
    # From 0 and 1 to the right, three steps are enough, whatever comes after them.
    best = exact_values(move_right=1.0)[0]
    np.testing.assert_allclose(found[1][2:5], best[2:5], atol=0.4)
    assert np.all(found[1][:4] > found[0][:4] + 0.3)
    with pytest.raises(ValueError, match=r"distil_expectile must be in \(0, 1\), got 1.0"):
        make_decoupled(0.5, 1.0)


def test_a_decoupled_critic_needs_chunks_that_are_long_enough(key):
    learner = make_decoupled(0.5, 0.5)
    learner = DecoupledIQL(learner.make_chunk_critic, learner.iql, 4)
    with pytest.raises(ValueError, match="A short chunk has 4 actions.*have only 3"):
        train(learner, Windows(chain_dataset(20), 3, GAMMA), steps=1, batch_size=8, key=key)


def test_pessimism_is_the_mean_less_the_spread(key):
    pessimism = fg.Pessimism(0.5)
    np.testing.assert_allclose(pessimism(jnp.array([1.0, 3.0])), 2 - 0.5 * 1)
    # Equal values have no spread, and a gradient all the same.
    np.testing.assert_allclose(jax.grad(pessimism)(jnp.array([2.0, 2.0])), [0.5, 0.5])
    critic = make_critic(key, reduction=pessimism)
    members = critic.members(jnp.zeros(1), RIGHT)
    np.testing.assert_allclose(critic(jnp.zeros(1), RIGHT), pessimism(members))


@pytest.mark.parametrize("returns", ["monte_carlo", "success_to_go"])
def test_returns_are_regressed(key, returns):
    windows = Windows(chain_dataset(400), 1, GAMMA, returns=returns)
    learner = ReturnRegression(make_critic, optax.adam(1e-3))
    critic = train(learner, windows, steps=3000, batch_size=128, key=key).result(learner)
    starts = windows.starts[: len(windows)]
    batch = jax.vmap(windows.at)(starts)
    for state in (0.0, 2.0, 3.0):
        for action in (RIGHT, LEFT):
            chosen = (batch.observation[:, 0] == state) & (batch.action[:, 0, 0] == action[0, 0])
            expected = np.mean(np.asarray(batch.reward)[np.asarray(chosen)])
            # The minimum of two members lies a little below their mean.
            found = critic.members(jnp.full(1, state), action).mean()
            np.testing.assert_allclose(found, expected, atol=0.25)


def test_returns_that_need_bootstrapping_are_refused(key):
    learner = ReturnRegression(make_critic)
    with pytest.raises(FloatingPointError, match="'loss' is not finite at update 1"):
        train(learner, Windows(chain_dataset(20), 1, GAMMA), steps=5, batch_size=8, key=key)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_noise_conditioned_critic_is_the_mean_over_clean_actions(key, temperature):
    """The data are +1 and -1 in equal parts. Of a noisy action, Bayes' rule says how likely each
    is, and the critic is the mean of their values, or the soft one."""

    def clean(observation, action):
        return 2.0 * action[0, 0] + 1.0

    optimiser = optax.adam(optax.cosine_decay_schedule(3e-3, 2000))
    learner = NoiseConditioned(
        clean, lambda k: make_critic(k, noisy=True), optimiser, temperature=temperature
    )
    windows = Windows(chain_dataset(), 1, GAMMA)
    critic: Any = train(learner, windows, steps=2000, batch_size=128, key=key).result(learner)
    assert isinstance(critic, fg.NoiseConditionedCritic)
    for t in (0.0, 0.3, 0.6):
        for noisy in (-0.6, 0.1, 0.8):
            # a_t = (1 - t) noise + t a, so the log odds of +1 are 2 t a_t / (1 - t)^2.
            odds = 2 * t * noisy / (1 - t) ** 2
            expected = 2 * np.tanh(odds / 2) + 1
            if temperature:
                likely = np.array([1.0, np.exp(odds)]) / (1 + np.exp(odds))
                soft = np.exp(temperature * np.array([-1.0, 3.0])) @ likely
                expected = np.log(soft) / temperature
            ensemble: Any = critic.critic
            found = ensemble.members((jnp.zeros(1), jnp.float32(t)), jnp.full((1, 1), noisy)).mean()
            np.testing.assert_allclose(found, expected, atol=0.3)
    np.testing.assert_allclose(critic(jnp.zeros(1), RIGHT), 3.0, atol=0.3)


def test_soft_values_guide_to_the_policy_times_their_exponential(key):
    """Two ways, at -1 and 1, whose values differ by 2: the better one is e^(2 tau) times as likely,
    and its actions go tau s^2 further. By the plain mean, guided alike, they go too far."""
    std, temperature = 0.3, 1.5
    velocity = MixtureVelocity([-1.0, 1.0], std)
    policy = fg.FlowPolicy(velocity, (1,), num_steps=100, low=-9.0, high=9.0)

    def value(timed, action, is_soft):
        t = timed[1]
        variance = (1 - t) ** 2 + (t * std) ** 2
        ways = jnp.array([-1.0, 1.0])
        likely = jax.nn.softmax(-((action[0] - t * ways) ** 2) / (2 * variance))
        means = ways + t * std**2 * (action[0] - t * ways) / variance
        # The variance within a way is the same everywhere, and has no gradient.
        soft = jax.nn.logsumexp(temperature * means, b=likely) / temperature
        return soft if is_soft else likely @ means

    weight = fg.ScoreWeight(temperature, cap=100.0)
    for is_soft in (True, False):
        critic = fg.NoiseConditionedCritic(partial(value, is_soft=is_soft))
        guided = fg.guide(policy, critic, fg.robust_q(weight))
        actions = np.asarray(fg.sample(guided, jnp.zeros((4000, 3)), key=key))
        reached = actions[actions > 0].mean()
        if is_soft:
            share = np.exp(2 * temperature) / (1 + np.exp(2 * temperature))
            np.testing.assert_allclose(np.mean(actions > 0), share, atol=0.02)
            np.testing.assert_allclose(reached, 1 + temperature * std**2, atol=0.02)
        else:
            assert reached > 1.2


def test_a_temperature_that_makes_no_sense_is_refused():
    cases: list[tuple[dict[str, Any], str]] = [
        ({"temperature": -1.0}, "temperature must be finite and at least 0, got -1.0"),
        ({"temperature": np.inf}, "temperature must be finite and at least 0, got inf"),
        ({"max_exponent": 0.0}, "max_exponent must be above 0, got 0.0"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            NoiseConditioned(lambda o, a: jnp.sum(a), make_critic, **options)


def test_the_loss_of_soft_values_is_the_square_of_small_errors_and_a_line_of_large_ones():
    values, target = jnp.array([0.9, 1.05]), jnp.array(1.0)

    def clean(observation, action):
        return jnp.sum(action)

    for temperature in (0.0, 0.1):
        learner = NoiseConditioned(clean, make_critic, temperature=temperature)
        np.testing.assert_allclose(learner.member_loss(values, target), 0.0125, rtol=0.02)
    learner = NoiseConditioned(clean, make_critic, temperature=1.0, max_exponent=2.0)
    slope = jax.grad(lambda v: learner.member_loss(v[None], jnp.array(0.0)))
    for value in (-2.0, -3.0, -30.0):
        np.testing.assert_allclose(slope(jnp.array(value)), -2 * (np.exp(2) - 1), rtol=1e-5)


def test_robust_q_asks_at_the_time_of_the_noise(key):
    """A critic whose gradient is its time: the guidance at t is the weight times t."""
    critic = fg.NoiseConditionedCritic(lambda timed, action: timed[1] * jnp.sum(action))
    policy = fg.FlowPolicy(lambda t, a, o: jnp.zeros_like(a), (2,), num_steps=4, low=-9, high=9)
    noise = jnp.array([0.3, -0.2])
    for method in ("robust_q", "ood"):
        trace = fg.guide(policy, critic, method, weight=2.0).trace(noise, jnp.zeros(3))
        np.testing.assert_allclose(
            trace.guidance[:-1, 0], 2 * np.array([0, 0.25, 0.5, 0.75]), atol=1e-6
        )
    # Every other method asks about clean actions.
    trace = fg.guide(policy, critic, "qgf", weight=2.0).trace(noise, jnp.zeros(3))
    np.testing.assert_allclose(trace.guidance[:-1, 0], 2.0)
    with pytest.raises(ValueError, match="robust_q asks a critic about noisy actions"):
        fg.guide(policy, lambda o, a: jnp.sum(a), "robust_q")


def test_robust_q_with_a_gate(key):
    gate = fg.DisagreementGate(scale=1.0)
    policy = fg.FlowPolicy(WalkRight(), (1, 1))
    ensemble = make_critic(key, noisy=True)
    critic = fg.NoiseConditionedCritic(ensemble)
    gated = fg.guide(policy, critic, fg.robust_q(1.0, gate=gate))
    plain = fg.guide(policy, critic, fg.robust_q(1.0))
    noise, observation = jnp.zeros((1, 1)), jnp.zeros(1)
    ratio = (
        gated.trace(noise, observation).guidance[0] / plain.trace(noise, observation).guidance[0]
    )
    members = ensemble.members((observation, jnp.zeros(())), noise)
    np.testing.assert_allclose(ratio, jnp.exp(-jnp.std(members)), rtol=1e-4)
