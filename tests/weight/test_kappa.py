"""Weights in units of the task: measured from observations, or at the observation at hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg

from ..helpers import (
    method,
    mlp_critic,
    mlp_policy,
    observation,
    OBSERVATION_SIZE,
    WEIGHTED,
    without_typechecker,
)

OBSERVATIONS = jnp.linspace(-1.0, 1.0, 6 * OBSERVATION_SIZE).reshape(6, OBSERVATION_SIZE)
GRADIENT = [name for name in WEIGHTED if fg.CATALOGUE[name].family == "gradient"]


@pytest.mark.parametrize("name", ["qgf", "bptt"])
def test_from_observations_it_is_kappa_times_the_unit(key, name):
    policy, critic = mlp_policy(key, num_steps=4), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    unit = fg.weight_unit(policy, critic, OBSERVATIONS, num_actions=5)
    expected = fg.guide(policy, critic, method(name, 0.7 * unit)).from_noise(noise, o)
    weight = fg.Kappa(0.7, OBSERVATIONS, num_actions=5)
    found = fg.guide(policy, critic, method(name, weight)).from_noise(noise, o)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.allclose(found, policy.from_noise(noise, o), atol=1e-3)


def test_the_unit_is_that_of_the_policy_below(key):
    """The second weight is measured from what the first has made of the policy."""
    policy, critic, o = mlp_policy(key), mlp_critic(key), observation(key)
    first = fg.guide(policy, critic, fg.ood(1.0))
    unit = fg.weight_unit(first, critic, OBSERVATIONS)
    assert abs(unit / fg.weight_unit(policy, critic, OBSERVATIONS) - 1) > 1e-2
    noise = jr.normal(key, (3,))
    found = fg.guide(policy, critic, [fg.ood(1.0), fg.ood(fg.Kappa(0.5, OBSERVATIONS))])
    expected = fg.guide(first, critic, fg.ood(0.5 * unit))
    np.testing.assert_allclose(found.from_noise(noise, o), expected.from_noise(noise, o), atol=1e-6)


def test_here_it_is_kappa_times_the_unit_of_a_few_actions_here(key):
    policy, critic, noise = mlp_policy(key, num_steps=4), mlp_critic(key), jr.normal(key, (3,))
    guided = fg.guide(policy, critic, fg.qgf(fg.Kappa(0.5, num_actions=6)))
    noises = jr.normal(jr.key(0, impl="threefry2x32"), (6, 3))
    for o in OBSERVATIONS[:2]:
        actions = jax.vmap(lambda n, o=o: policy.from_noise(n, o))(noises)
        values = jax.vmap(critic, (None, 0))(o, actions)
        unit = np.var(actions, axis=0, ddof=1).mean() / np.std(values, ddof=1)
        expected = fg.guide(policy, critic, fg.qgf(0.5 * unit)).from_noise(noise, o)
        np.testing.assert_allclose(guided.from_noise(noise, o), expected, atol=2e-5)


# Of their own, which do not follow the critic's scale either.
OTHER_DEFAULTS = {"qpilots", "agf"}


@pytest.mark.parametrize("name", [name for name in GRADIENT if name not in OTHER_DEFAULTS])
def test_the_default_is_kappa_here(name):
    weight = fg.CATALOGUE[name].make().weight
    assert isinstance(weight, fg.Kappa) and weight.observations is None
    assert weight.kappa == fg.DEFAULT_KAPPA
    assert fg.describe(fg.CATALOGUE[name].make(weight=fg.Kappa())) == fg.describe(
        fg.CATALOGUE[name].make()
    )


def test_conveniences_of_guide_make_a_kappa(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    for options, weight in [
        ({"kappa": 3.0}, fg.Kappa(3.0)),
        ({"kappa": 3.0, "observations": OBSERVATIONS}, fg.Kappa(3.0, OBSERVATIONS)),
        ({"weight": "auto"}, fg.Kappa()),
        ({"weight": "auto", "observations": OBSERVATIONS}, fg.Kappa(observations=OBSERVATIONS)),
    ]:
        found = fg.guide(policy, critic, "qgf", **options)
        assert eqx.tree_equal(found, fg.guide(policy, critic, fg.qgf(weight)))


def test_inside_jit(key):
    """B11: it was JAX's own error about tracers."""
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)

    @eqx.filter_jit
    def act(kappa, scale, observations):
        weight = fg.Kappa(kappa, observations)
        scaled = scale * fg.as_critic(critic)
        return fg.guide(policy, scaled, "qgf", weight=weight).from_noise(noise, o)

    weight = fg.Kappa(2.0, OBSERVATIONS)
    expected = fg.guide(policy, critic, "qgf", weight=weight).from_noise(noise, o)
    np.testing.assert_allclose(act(2.0, 1.0, OBSERVATIONS), expected, atol=1e-5)
    with pytest.raises(eqx.EquinoxRuntimeError, match=r"E\[sd\(Q\)\].* must be above 0"):
        act(2.0, 0.0, OBSERVATIONS)


def test_many_kappas_are_one_vmap(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    noise, o = jr.normal(key, (3,)), observation(key)
    many = jnp.array([0.0, 1.0, 3.0])
    for observations in (None, OBSERVATIONS):

        def act(kappa, observations=observations):
            weight = fg.Kappa(kappa, observations)
            return fg.guide(policy, critic, "qgf", weight=weight).from_noise(noise, o)

        found = jax.jit(jax.vmap(act))(many)
        assert jnp.array_equal(found[0], policy.from_noise(noise, o))
        np.testing.assert_allclose(found[2], act(3.0), atol=1e-5)


def test_where_all_values_are_equal_nothing_is_guided(key):
    def flat(observation, action):
        # Says something at some observations only.
        return jnp.where(observation[0] > 0, jnp.sum(action), 0.0)

    policy, noise = mlp_policy(key), jr.normal(key, (3,))
    guided = fg.guide(policy, flat, "qgf", weight=fg.Kappa(3.0))
    flat_here, steep_here = -jnp.ones(7), jnp.ones(7)
    unguided = policy.from_noise(noise, flat_here)
    assert jnp.array_equal(guided.from_noise(noise, flat_here), unguided)
    assert not jnp.array_equal(
        guided.from_noise(noise, steep_here), policy.from_noise(noise, steep_here)
    )
    # Nor has that a gradient of NaN.
    slope = jax.grad(lambda o: guided.from_noise(noise, o).sum())(flat_here)
    assert jnp.all(jnp.isfinite(slope))


class Chunks(eqx.Module):
    """Gaussian actions of a chunk, as wide as `scale` says: padding is wider than what counts."""

    rates: jax.Array

    def __call__(self, t, action, observation):
        return self.rates * action


def reading(rows, columns):
    def critic(observation, action):
        return jnp.sum(action[:rows, :columns]) + observation.sum()

    return critic


def test_padding_that_the_critic_does_not_read_does_not_count():
    """B16: on a chunk of 50 steps of 32 entries it was 31 times too large."""
    observations = jnp.zeros((32, OBSERVATION_SIZE))
    rates = np.log(np.full((50, 32), 5.0, np.float32))
    rates[:8, :4] = np.log(0.5)

    def unit(rates, critic):
        policy = fg.FlowPolicy(
            Chunks(jnp.asarray(rates)), rates.shape, low=-jnp.inf, high=jnp.inf, num_steps=20
        )
        return fg.weight_unit(policy, critic, observations)

    padded, alone = unit(rates, reading(8, 4)), unit(rates[:8, :4], reading(8, 4))
    # The noise is another one: a few percent.
    np.testing.assert_allclose(padded, alone, rtol=0.1)
    # Of a Gaussian and a sum: s^2 / (s sqrt(32)).
    np.testing.assert_allclose(padded, 0.5 / np.sqrt(32), rtol=0.1)


def test_nor_does_it_here(key):
    rates = jnp.zeros((4, 3)).at[2:].set(2.0)
    policy = fg.FlowPolicy(Chunks(rates), (4, 3), low=-jnp.inf, high=jnp.inf, num_steps=2)
    noise, o = jr.normal(key, (4, 3)), observation(key)
    noises = jr.normal(jr.key(0, impl="threefry2x32"), (4, 4, 3))[:, :2, :2]
    unit = np.var(noises, axis=0, ddof=1).mean() / np.std(noises.sum(axis=(1, 2)), ddof=1)
    guided = fg.guide(policy, reading(2, 2), "qgf", weight=fg.Kappa(3.0))
    shift = guided.from_noise(noise, o) - policy.from_noise(noise, o)
    np.testing.assert_allclose(shift[:2, :2], np.full((2, 2), 3 * unit), rtol=1e-4)
    assert not np.any(np.asarray(shift[2:])) and not np.any(np.asarray(shift[:, 2]))


def test_an_entry_that_is_read_by_some_actions_only_counts():
    """A gradient of 0 here and there, such as that of a relu, says nothing about what is read."""
    observations = jnp.zeros((8, OBSERVATION_SIZE))
    policy = fg.FlowPolicy(Chunks(jnp.zeros((2, 1))), (2, 1), low=-jnp.inf, high=jnp.inf)

    def half(observation, action):
        return jax.nn.relu(action[0, 0]) + jax.nn.relu(-action[1, 0])

    unit = fg.weight_unit(policy, half, observations, num_actions=64)
    # The variance is 1; a relu of a standard normal has the variance 1/2 - 1/(2 pi).
    np.testing.assert_allclose(unit, 1 / np.sqrt(1 - 1 / np.pi), rtol=0.1)


def test_what_makes_no_sense_is_refused(key):
    for number in (1, 0, 2.5, True):
        message = "num_actions must be an integer of at least 2"
        with without_typechecker(), pytest.raises(ValueError, match=message):
            fg.Kappa(3.0, num_actions=number)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="kappa must be finite, got nan"):
        fg.Kappa(float("nan"))
    with pytest.raises(ValueError, match="both must be above 0 and finite"):
        fg.guide(mlp_policy(key), lambda o, a: o.sum(), fg.qgf(fg.Kappa(1.0, OBSERVATIONS)))
    point = fg.WeightPoint(jnp.array(0.0), jnp.ones(3), jnp.ones(3))
    with pytest.raises(ValueError, match="has not been measured: apply it by"):
        fg.Kappa(3.0)(point)
