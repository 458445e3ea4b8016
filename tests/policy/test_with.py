"""`with_weight` and `with_critic`: as if a policy had been guided with that."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import pytest

import flowguide as fg

from ..helpers import (
    method,
    METHODS,
    mlp_critic,
    mlp_policy,
    observation,
    ready,
    WEIGHTED,
    without_typechecker,
)

OBSERVATIONS = jnp.linspace(-1.0, 1.0, 28).reshape(4, 7)


def half(t):
    return 0.5 * t


WEIGHTS = {
    "a number": 0.7,
    "an array": jnp.array([0.1, 0.0, 2.0]),
    "of t": half,
    "Kappa of observations": fg.Kappa(2.0, OBSERVATIONS, num_actions=4),
    "Kappa here": fg.Kappa(2.0),
    "Relative": fg.Relative(0.3, skip_first=True),
    "Normalised": fg.Normalised(0.3),
    "RealTimeWeight": fg.RealTimeWeight(0.3),
    "ScoreWeight": fg.ScoreWeight(fg.WeightInterval(0.3, 0.2, 0.7)),
}

AROUND = {
    "alone": [],
    "best_of_n": [fg.best_of_n(2)],
    "beam": [fg.beam(2)],
    "noise_ascent": [fg.noise_ascent(0.1, steps=1)],
    "grad_step in best_of_n": [fg.grad_step(0.1), fg.best_of_n(2)],
    "a trust region of best_of_n": [fg.trust_region(fg.grad_step(0.1)), fg.best_of_n(2)],
}


def same(a, b):
    return bool(eqx.tree_equal(a, b))


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("name", WEIGHTED)
def test_with_weight_is_guiding_with_it(key, name, weight):
    policy, critic, guidance = ready(name, key)
    guided, new = fg.guide(policy, critic, guidance), WEIGHTS[weight]
    if name == "cfg" and callable(new):
        message = "weight must be a number or an array"
        with without_typechecker(), pytest.raises(ValueError, match=message):
            fg.with_weight(guided, new)
        return
    if name == "agf" and "Kappa" in weight:
        with pytest.raises(ValueError, match="Kappa compares values of actions"):
            fg.with_weight(guided, new)
        return
    found = fg.with_weight(guided, new)
    assert same(found, fg.guide(policy, critic, method(name, new)))
    assert not same(found, guided) and same(guided, fg.guide(policy, critic, guidance))


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("weight", ["a number", "Kappa of observations", "Kappa here"])
def test_inside_wrappers(key, weight, around):
    policy, critic = mlp_policy(key), mlp_critic(key)
    rest, new = AROUND[around], WEIGHTS[weight]
    found = fg.with_weight(fg.guide(policy, critic, [fg.qgf(0.3), *rest]), new)
    assert same(found, fg.guide(policy, critic, [fg.qgf(new), *rest]))


@pytest.mark.parametrize("weight", ["a number", "Kappa of observations"])
def test_of_a_trust_region(key, weight):
    policy, critic = mlp_policy(key), mlp_critic(key)
    guided = fg.guide(policy, critic, fg.trust_region(fg.qgf(0.3), 0.2))
    new = WEIGHTS[weight]
    expected = fg.guide(policy, critic, fg.trust_region(fg.qgf(new), 0.2))
    assert same(fg.with_weight(guided, new), expected)


def test_of_guided_action_flow_it_is_one_over_beta(key):
    policy, critic, _ = ready("guided_action_flow", key)
    guided = fg.guide(policy, critic, fg.guided_action_flow(4.0))
    found = fg.with_weight(guided, 0.5)
    assert same(found, fg.guide(policy, critic, fg.guided_action_flow(2.0)))


def test_no_weight_and_several_weights(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    none = [
        policy,
        fg.guide(policy, critic, fg.best_of_n(2)),
        fg.guide(policy, critic, "grad_step"),
    ]
    for guided in none:
        with pytest.raises(ValueError, match=r"the one weight .* this has 0:\s+FlowPolicy"):
            fg.with_weight(guided, 0.1)
    for several in ([fg.qgf(), fg.ood(0.2)], [fg.qgf(0.1), fg.ood(0.2), fg.best_of_n(2)]):
        guided = fg.guide(policy, critic, several)
        with pytest.raises(ValueError, match=r"this has 2:(.|\n)*qgf(.|\n)*ood\(weight=0.2\)"):
            fg.with_weight(guided, 0.1)
    with without_typechecker(), pytest.raises(ValueError, match="must be a real number"):
        fg.with_weight(fg.guide(policy, critic, "qgf"), "much")  # pyright: ignore[reportArgumentType]


def test_a_new_number_recompiles_nothing(key):
    traced = []

    def critic(observation, action):
        traced.append(1)
        return jnp.sum(action * observation[:3])

    guided = fg.guide(mlp_policy(key), critic, "qgf", weight=0.1)
    noise, o = jr.normal(key, (3,)), observation(key)
    guided.from_noise(noise, o)
    before = len(traced)
    for weight in (0.2, jnp.array(0.3), 1):
        fg.with_weight(guided, weight).from_noise(noise, o)
    assert len(traced) == before > 0


@pytest.mark.parametrize("name", METHODS)
def test_with_critic_is_guiding_by_it(key, name):
    policy, critic, guidance = ready(name, key)
    if name == "cfg":
        with pytest.raises(ValueError, match="and this has none"):
            fg.with_critic(fg.guide(policy, None, guidance), mlp_critic(key))
        return
    other = ready(name, jr.fold_in(key, 5))[1]
    found = fg.with_critic(fg.guide(policy, critic, guidance), other)
    assert same(found, fg.guide(policy, other, guidance))
    assert not same(found, fg.guide(policy, critic, guidance))


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("weight", ["a number", "Kappa of observations", "Kappa here"])
def test_with_critic_inside_wrappers(key, weight, around):
    """Every critic is the other one, and units are measured anew, by the other one."""
    policy, critic, other = mlp_policy(key), mlp_critic(key), mlp_critic(jr.fold_in(key, 1))
    guidances = [fg.qgf(WEIGHTS[weight]), fg.ood(0.2), *AROUND[around]]
    found = fg.with_critic(fg.guide(policy, critic, guidances), other)
    assert same(found, fg.guide(policy, other, guidances))


def test_with_critic_leaves_a_conditioned_policy_its_condition(key):
    policy, _, conditioned = ready("cfg", key)
    critic, other = mlp_critic(key), mlp_critic(jr.fold_in(key, 1))
    found = fg.with_critic(fg.guide(policy, critic, [conditioned, fg.qgf(0.1)]), other)
    assert same(found, fg.guide(policy, other, [conditioned, fg.qgf(0.1)]))


def test_critics_that_do_not_fit_are_refused(key):
    policy, critic, guidance = ready("robust_q", key)
    with pytest.raises(ValueError, match="needs a flowguide.NoiseConditionedCritic"):
        fg.with_critic(fg.guide(policy, critic, guidance), mlp_critic(key))
    policy, critic, guidance = ready("guided_action_flow", key)
    with pytest.raises(ValueError, match="flowguide.Ensemble"):
        fg.with_critic(fg.guide(policy, critic, guidance), lambda o, a: a.sum())
    for guided in (policy, fg.guide(ready("cfg", key)[0], None, "cfg")):
        with pytest.raises(ValueError, match=r"this has none:\s+FlowPolicy"):
            fg.with_critic(guided, critic)
    with without_typechecker(), pytest.raises(TypeError, match="critic must be a callable"):
        fg.with_critic(fg.guide(policy, critic, "qgf"), None)  # pyright: ignore[reportArgumentType]


class Mean(fg.AbstractPolicy):
    """A policy of one's own around another one, with a critic."""

    policy: fg.AbstractPolicy
    critic: fg.Critic

    @property
    def bounds(self):
        return self.policy.bounds

    @property
    def noise_shape(self):
        return (2, *self.policy.noise_shape)

    def from_noise(self, noise, observation):
        return jnp.mean(jnp.stack([self.policy.from_noise(n, observation) for n in noise]), axis=0)

    def trace(self, noise, observation):
        return self.policy.trace(noise[0], observation)


def test_inside_a_policy_of_ones_own(key):
    policy, critic, other = mlp_policy(key), mlp_critic(key), mlp_critic(jr.fold_in(key, 1))

    def guided(weight, critic):
        return fg.guide(policy, critic, [fg.qgf(weight), Mean, fg.grad_step(0.1)])

    assert same(fg.with_weight(guided(0.1, critic), 0.2), guided(0.2, critic))
    assert same(fg.with_critic(guided(0.1, critic), other), guided(0.1, other))
