"""`at(t)` and `members(o, a)`: what critics know about themselves, through all that holds them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg
from flowguide._critic import critic_at, depends_on_time, members_of

from ..helpers import mlp_critic, mlp_policy, observation, quadratic_critic


class Timed(eqx.Module):
    """Of noisy actions: `slope t sum(a)`, whose gradient tells at which time it was asked."""

    slope: jax.Array

    def __call__(self, timed, action):
        o, t = timed
        return self.slope * t * jnp.sum(action) + jnp.sum(o)


def noisy(slope: Any = 1.0) -> Any:
    return fg.NoiseConditionedCritic(Timed(jnp.asarray(slope, float)))


def plain(observation, action):
    return jnp.sum(action)


def stacked(slopes) -> Any:
    return eqx.filter_vmap(noisy)(jnp.asarray(slopes))


def is_up(observation):
    return observation[0] > -100


# Each with its gradient at cleanness t.
NOISY = {
    "alone": (noisy(), lambda t: t),
    "as_critic": (fg.as_critic(noisy()), lambda t: t),
    "scaled": (2.0 * noisy(), lambda t: 2 * t),
    "sum": (noisy() + plain, lambda t: t + 1),
    "sum, the other way round": (plain + noisy(), lambda t: t + 1),
    "difference": (noisy(3.0) - 0.5 * fg.as_critic(plain), lambda t: 3 * t - 0.5),
    "sum of sums": ((noisy() + plain) / 2 - (-noisy(4.0)), lambda t: (t + 1) / 2 + 4 * t),
    "switch": (fg.Switch(is_up, noisy(), plain), lambda t: t),
    "switch, the other way round": (
        fg.Switch(lambda o: ~is_up(o), plain, noisy()),
        lambda t: t,
    ),
    "ensemble": (fg.Ensemble([noisy(), noisy(2.0), plain], "mean"), lambda t: t + 1 / 3),
    "stacked ensemble": (fg.Ensemble(stacked([1.0, 2.0, 6.0]), "mean"), lambda t: 3 * t),
    "ensemble inside": (
        fg.NoiseConditionedCritic(fg.Ensemble([Timed(jnp.array(k)) for k in (1.0, 5.0)], "mean")),
        lambda t: 3 * t,
    ),
    "ensemble of sums": (
        fg.Ensemble([noisy() + plain, fg.Switch(is_up, noisy(2.0), plain)], "mean"),
        lambda t: (t + 1 + 2 * t) / 2,
    ),
    "sum of ensembles": (
        fg.Ensemble(stacked([1.0, 3.0]), "mean") + fg.Ensemble([noisy(), plain], "mean"),
        lambda t: 2 * t + (t + 1) / 2,
    ),
}


@pytest.mark.parametrize("name", NOISY)
def test_a_critic_of_noisy_actions_is_asked_with_the_time_at_hand(key, name):
    """B3: inside a sum or an ensemble it was asked as if the action were clean."""
    critic, slope = NOISY[name]
    policy, action, o = mlp_policy(key), jr.normal(key, (3,)), observation(key)
    assert depends_on_time(critic)
    for method, asked in (("robust_q", 0.3), ("ood", 0.3), ("qgf", 1.0)):
        guided: Any = fg.guide(policy, critic, method, weight=1.0)
        guidance = guided.step(jnp.array(0.3), action, o).guidance
        np.testing.assert_allclose(guidance, np.full(3, slope(asked)), rtol=1e-5)
    # By itself it is a critic of clean actions, as wrappers ask it.
    np.testing.assert_allclose(jax.grad(critic, 1)(o, action), np.full(3, slope(1.0)), rtol=1e-5)


@pytest.mark.parametrize("name", ["sum", "stacked ensemble", "ensemble of sums"])
def test_it_works_in_loops_and_batches(key, name):
    policy = mlp_policy(key, low=-99.0, high=99.0, num_steps=4)
    critic, slope = NOISY[name]
    observations = jr.normal(key, (3, 7))
    for guidance in (fg.robust_q(2.0), [fg.robust_q(2.0), fg.best_of_n(2)]):
        found = fg.sample(fg.guide(policy, critic, guidance), observations, key=key)
        assert found.shape == (3, 3) and jnp.all(jnp.isfinite(found))
    still = fg.FlowPolicy(lambda t, a, o: jnp.zeros(3), (3,), num_steps=4, low=-99, high=99)
    guided = fg.guide(still, critic, fg.robust_q(2.0))
    # Four steps, at their own times.
    expected = 2.0 * np.mean([slope(t) for t in (0, 0.25, 0.5, 0.75)])
    np.testing.assert_allclose(
        guided.from_noise(jnp.zeros(3), jnp.zeros(2)), np.full(3, expected), rtol=1e-5
    )


@pytest.mark.parametrize(
    "critic",
    [
        plain,
        fg.as_critic(plain),
        fg.Ensemble([plain, plain]) + plain,
        fg.Switch(is_up, plain, fg.Ensemble([plain, plain])),
    ],
)
def test_critics_that_know_no_noise_are_not_for_robust_q(key, critic):
    assert not depends_on_time(critic)
    with pytest.raises(ValueError, match="robust_q .* needs a flowguide.NoiseConditionedCritic"):
        fg.guide(mlp_policy(key), critic, "robust_q")


def test_a_stacked_ensemble_of_plain_critics_is_none_either(key):
    assert not depends_on_time(mlp_critic(key)) and not depends_on_time(-mlp_critic(key))


class Own:
    """A critic of somebody else's, with the protocol and without a class of ours."""

    def __init__(self, t=1.0):
        self.t = t

    def at(self, t):
        return Own(t)

    def members(self, observation, action):
        return jnp.stack([k * self.t * jnp.sum(action) for k in (1.0, 3.0)])

    def __call__(self, observation, action):
        return jnp.mean(self.members(observation, action))


def test_the_protocol_is_all_that_is_asked(key):
    policy, action, o = mlp_policy(key), jr.normal(key, (3,)), observation(key)
    critics: list[Any] = [Own(), fg.as_critic(Own()), fg.Ensemble([Own(), Own()])]
    for critic in critics:
        step = fg.guide(policy, critic, fg.robust_q(1.0)).step(jnp.array(0.25), action, o)
        np.testing.assert_allclose(step.guidance, np.full(3, 0.5), rtol=1e-5)
    gated = fg.guide(policy, Own(), fg.ood(1.0, gate=jnp.ptp)).step(jnp.array(0.25), action, o)
    expected = 0.5 * abs(0.5 * jnp.sum(action))
    np.testing.assert_allclose(gated.guidance, np.full(3, expected), rtol=1e-5)
    both = Own() + fg.as_critic(plain)
    np.testing.assert_allclose(
        members_of(critic_at(both, 0.5), o, action), action.sum() * np.array([1.5, 2.5]), rtol=1e-5
    )


SUMS = {
    "ensemble": (lambda q, r: q, lambda q, r: q),
    "scaled": (lambda q, r: 2.0 * q, lambda q, r: 2 * q),
    "sum": (lambda q, r: q + r, lambda q, r: q + r),
    "plain in each": (lambda q, r: q - 0.5 * fg.as_critic(plain), lambda q, r: q - 0.5),
    "switch": (lambda q, r: fg.Switch(lambda o: o[0] > 1e9, q, r), lambda q, r: r),
    "switch, one plain": (lambda q, r: fg.Switch(is_up, q, plain), lambda q, r: q),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_gate_reads_the_members_of_sums(key, name):
    q, r = mlp_critic(key), mlp_critic(jr.fold_in(key, 1), stacked=False)
    make, expected = SUMS[name]
    policy, action, o = mlp_policy(key), jr.uniform(key, (3,)), observation(key)
    members = expected(q.members(o, action), r.members(o, action))
    if name == "plain in each":
        members = q.members(o, action) - 0.5 * plain(o, action)
    critic = make(q, r)
    np.testing.assert_allclose(critic.members(o, action), members, rtol=1e-4, atol=1e-5)
    gate = fg.DisagreementGate(3.0)
    free, gated = (
        fg.guide(policy, critic, fg.ood(1.0, gate=each)).step(jnp.array(0.5), action, o).guidance
        for each in (None, gate)
    )
    factor = np.exp(-3.0 * np.std(members))
    np.testing.assert_allclose(gated, factor * free, rtol=1e-4)


def test_a_gate_on_members_that_know_the_noise(key):
    critic = fg.Ensemble(stacked([1.0, 3.0]), "mean") + plain
    action, o = jnp.array([0.5, 0.25, 0.25]), observation(key)
    guided = fg.guide(mlp_policy(key), critic, fg.robust_q(1.0, gate=fg.DisagreementGate(2.0)))
    # The members' slopes are t + 1 and 3 t + 1, the sum of the action is 1.
    step = guided.step(jnp.array(0.4), action, o)
    np.testing.assert_allclose(
        step.guidance, np.full(3, (2 * 0.4 + 1) * np.exp(-2.0 * 0.4)), rtol=1e-4
    )


def test_members_of_different_numbers(key):
    two, three = mlp_critic(key, num_members=2), mlp_critic(key, num_members=3)
    o, action = observation(key), jnp.zeros(3)
    for critic in (two + three, fg.Switch(is_up, two, three)):
        # One value is one value; it is members that cannot be put together.
        assert critic(o, action).shape == ()
        message = r"need the same number of members, got \[2, 3\]"
        with pytest.raises(ValueError, match=message):
            critic.members(o, action)
        gated = fg.guide(mlp_policy(key), critic, fg.qgf(0.1, gate=fg.DisagreementGate(1.0)))
        with pytest.raises(ValueError, match=message):
            gated(o, key=key)


def test_one_member_and_a_gate(key):
    gated = fg.qgf(0.1, gate=fg.DisagreementGate(1.0))
    with pytest.raises(ValueError, match="gate.* read the values of all members of a critic"):
        fg.guide(mlp_policy(key), plain, gated)
    ones: list[Any] = [fg.as_critic(plain), fg.Ensemble([plain]), noisy() + plain]
    for critic in ones:
        guided = fg.guide(mlp_policy(key), critic, gated)
        with pytest.raises(ValueError, match="expected at least 2 members"):
            guided(observation(key), key=key)
    with pytest.raises(ValueError, match="gate.* read the values of all members of a critic"):
        fg.guide(mlp_policy(key), plain, fg.guided_action_flow())


def test_members_that_are_no_vector(key):
    class Odd:
        def members(self, observation, action):
            return jnp.sum(action)

        def __call__(self, observation, action):
            return jnp.sum(action)

    guided = fg.guide(mlp_policy(key), Odd(), fg.qgf(0.1, gate=fg.DisagreementGate(1.0)))
    with pytest.raises(ValueError, match=r"members.*returned.*expected the values of K members"):
        guided(observation(key), key=key)


def test_the_gradient_of_a_gate_where_members_agree(key):
    """B5: it was NaN, and so was every gradient through a guided policy."""
    member = quadratic_critic(key)
    policy, noise, o = mlp_policy(key), jr.normal(key, (3,)), observation(key)

    def slope(**options):
        critic = fg.Ensemble([member, member, member], "mean")
        guided = fg.guide(policy, critic, fg.qgf(0.3, **options))
        return jax.jit(jax.grad(lambda o: guided.from_noise(noise, o).sum()))(o)

    found = slope(gate=fg.DisagreementGate(2.0))
    np.testing.assert_allclose(found, slope(), atol=1e-5)
    assert jnp.all(jnp.isfinite(jax.grad(fg.DisagreementGate(2.0))(jnp.ones(3))))
    # A gate that somebody wrote has the deviation for it: pessimism has it too.
    assert jnp.all(jnp.isfinite(jax.grad(fg.Pessimism(0.5))(jnp.ones(3))))
