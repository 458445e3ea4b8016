"""An encoder is asked once for an action, whatever is done with what it says."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg

from ..helpers import (
    METHODS,
    mlp_critic,
    mlp_policy,
    observation,
    OBSERVATION_SIZE,
    ready,
    without_typechecker,
)


class Encoder:
    """From 11 raw numbers to an observation; counts how often it is asked, a batch once."""

    def __init__(self, matrix):
        self.matrix, self.count = np.asarray(matrix), 0

    def __call__(self, raw):
        def encoded(raw):
            self.count += 1
            return np.asarray(raw @ self.matrix, np.float32)

        return jax.pure_callback(
            encoded,
            jax.ShapeDtypeStruct((OBSERVATION_SIZE,), jnp.float32),
            raw,
            vmap_method="broadcast_all",
        )

    def asked(self, call, *arguments, **options):
        self.count = 0
        jax.block_until_ready(call(*arguments, **options))
        return self.count


RAW = 11


def encoder(key):
    return Encoder(jr.normal(key, (RAW, OBSERVATION_SIZE)))


def raw_critic(critic):
    """Critics are asked about the observation as it was given."""

    def asked(observation, action):
        if isinstance(observation, tuple):
            observation, t = observation
            assert observation.shape == (RAW,)
            return critic((observation[:OBSERVATION_SIZE], t), action)
        assert observation.shape == (RAW,)
        return critic(observation[:OBSERVATION_SIZE], action)

    return asked


def guided_with(encode, name, key, weight):
    policy, critic, guidance = ready(name, key, weight=weight, encode=encode, num_steps=3)
    if name == "robust_q":
        critic = fg.NoiseConditionedCritic(raw_critic(critic.critic))
    elif name == "agf":
        network = critic.network
        critic = fg.Costate(lambda t, a, o: network(t, a, o[:OBSERVATION_SIZE]))
    elif name == "guided_action_flow":
        members = [raw_critic(member) for member in mlp_critic(key, stacked=False).critics]
        critic = fg.Ensemble(members)
    elif critic is not None:
        critic = raw_critic(critic)
    return fg.guide(policy, critic, guidance)


@pytest.mark.parametrize("name", METHODS)
def test_once_a_batch_and_once_a_trace(key, name):
    encode = encoder(key)
    guided = guided_with(encode, name, key, 0.3)
    noise, raw = jr.normal(key, guided.noise_shape), jr.normal(key, (4, RAW))
    assert encode.asked(fg.sample, guided, raw, key=key) == 1
    assert encode.asked(guided.trace, noise, raw[0]) == 1


def test_once_with_weights_that_are_measured_here(key):
    encode = encoder(key)
    raw = jr.normal(key, (RAW,))
    for weight in (None, fg.ScoreWeight(fg.Kappa(2.0))):
        guided = guided_with(encode, "qgf", key, weight)
        best = fg.guide(guided, raw_critic(mlp_critic(key)), fg.best_of_n(3))
        for call in (guided.from_noise, guided.act, guided.trace):
            assert encode.asked(call, jr.normal(key, (3,)), raw) == 1
        assert encode.asked(best.from_noise, jr.normal(key, best.noise_shape), raw) == 1


def test_once_for_all_that_are_around_each_other(key):
    encode = encoder(key)
    policy = mlp_policy(key, encode=encode, num_steps=3)
    sequence = [
        fg.trust_region(fg.qgf(0.3)),
        fg.noise_ascent(0.1, steps=1),
        fg.grad_step(0.1),
        fg.best_of_n(2),
        fg.best_of_n(2),
    ]
    guided = fg.guide(policy, raw_critic(mlp_critic(key)), sequence)
    noise, raw = jr.normal(key, guided.noise_shape), jr.normal(key, (RAW,))
    assert noise.shape == (2, 2, 3)
    assert encode.asked(guided.from_noise, noise, raw) == 1


def test_the_unit_of_weights_encodes_each_observation_once(key):
    encode = encoder(key)
    policy = mlp_policy(key, encode=encode, num_steps=3)
    raw = jr.normal(key, (5, RAW))
    assert encode.asked(fg.weight_unit, policy, raw_critic(mlp_critic(key)), raw) == 1


def test_what_is_encoded_goes_to_the_field_alone(key):
    """It is the policy whose field encodes by itself, and its critic sees what was given."""

    def encode(raw):
        return 2 * raw["image"].reshape(-1)[:OBSERVATION_SIZE]

    inner, critic = mlp_policy(key), mlp_critic(key)
    outer = fg.FlowPolicy(lambda t, a, o: inner.velocity(t, a, encode(o)), (3,))
    raw = {"image": jr.normal(key, (2, 2, 3)), "state": observation(key)}
    encoded = fg.FlowPolicy(inner.velocity, (3,), encode=encode)
    noise = jr.normal(key, (3,))

    def judge(observation, action):
        return critic(observation["state"], action)

    for guidance in ([], fg.ode(0.3), [fg.qgf(), fg.best_of_n(1)]):
        found, expected = (fg.guide(policy, judge, guidance) for policy in (encoded, outer))
        shaped = noise.reshape(found.noise_shape)
        np.testing.assert_allclose(
            found.from_noise(shaped, raw), expected.from_noise(shaped, raw), atol=1e-5
        )


def test_what_is_prepared_is_taken_in_place_of_the_observation(key):
    encode = encoder(key)
    guided = guided_with(encode, "qgf", key, None)
    noise, raw = jr.normal(key, (5, 3)), jr.normal(key, (RAW,))
    prepared = eqx.filter_jit(guided.prepare)(raw)

    def all_of_them():
        return (
            jax.vmap(guided.from_noise, (0, None))(noise, prepared),
            guided.act(noise[0], prepared),
            guided.trace(noise[0], prepared),
            guided.step(jnp.array(0.5), noise[0], prepared),
            guided.vector_field(jnp.array(0.5), noise[0], prepared),
            guided.finish(noise[0], prepared),
        )

    assert encode.asked(all_of_them) == 0
    expected = guided.from_noise(noise[0], raw)
    found = all_of_them()
    for action in (found[0][0], found[1].action, found[2].action, found[5]):
        np.testing.assert_allclose(action, expected, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_critics_can_see_what_the_encoder_saw(key, name):
    """`observe` gives critics the first half from the encoder; without it they are given it."""
    policy, critic, guidance = ready(name, key, weight=0.3, num_steps=3)
    seen = observation(key)

    def observe(given, encoded):
        assert given.shape == (OBSERVATION_SIZE,) and encoded.shape == (OBSERVATION_SIZE,)
        return {"features": encoded}

    def reads_features(critic):
        def asked(observation, action):
            if isinstance(observation, tuple):
                observation, t = observation
                return critic((observation["features"], t), action)
            return critic(observation["features"], action)

        return asked

    if name == "robust_q":
        looking = fg.NoiseConditionedCritic(reads_features(critic.critic))
    elif name == "agf":
        network = critic.network
        looking = fg.Costate(lambda t, a, o: network(t, a, o["features"]))
    elif name == "guided_action_flow":
        looking = fg.Ensemble([reads_features(m) for m in mlp_critic(key, stacked=False).critics])
        critic = fg.Ensemble(mlp_critic(key, stacked=False).critics)
    else:
        looking = None if critic is None else reads_features(critic)
    expected = fg.guide(policy, critic, guidance)
    observed = dataclasses.replace(policy, observe=observe)
    guided = fg.guide(observed, looking, guidance)
    noise = jr.normal(key, guided.noise_shape)
    np.testing.assert_allclose(
        guided.from_noise(noise, seen), expected.from_noise(noise, seen), atol=1e-5
    )
    if (
        looking is not None
        and critic is not None
        and name not in ("guided_action_flow", "robust_q", "agf")
    ):
        unit = fg.weight_unit(observed, looking, seen[None])
        np.testing.assert_allclose(unit, fg.weight_unit(policy, critic, seen[None]), rtol=1e-4)


def test_what_is_no_encoder_is_refused(key):
    message = "encode must be a callable of the observation, got 3"
    with without_typechecker(), pytest.raises(ValueError, match=message):
        mlp_policy(key, encode=3)
    with without_typechecker(), pytest.raises(ValueError, match="observe must be a callable"):
        mlp_policy(key, observe=3)
