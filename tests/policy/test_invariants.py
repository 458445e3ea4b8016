"""What holds for every method of the catalogue; also in test_records, test_x64, test_bfloat16."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, strategies as st

import flowguide as fg

from ..helpers import method, METHODS, observation, OBSERVATION_SIZE, ready, WEIGHTED

BATCH = 3
# An array: a weight that differs by dimension has no hash (B17), and is no static part.
WEIGHT = np.array([0.3, 0.2, -0.1], np.float32)


def guided(name, key, action_shape=(3,), weight=WEIGHT, **options):
    policy, critic, guidance = ready(name, key, action_shape, weight=jnp.asarray(weight), **options)
    return fg.guide(policy, critic, guidance)


@pytest.mark.parametrize("name", METHODS)
def test_an_action_alone_in_a_batch_and_under_jit(key, name):
    policy = guided(name, key)
    noise = jr.normal(key, (BATCH, *policy.noise_shape))
    observations = jr.normal(key, (BATCH, OBSERVATION_SIZE))
    alone = policy.from_noise(noise[0], observations[0])
    assert alone.shape == (3,) and alone.dtype == jnp.float32
    assert jnp.all(jnp.abs(alone) <= 1)
    many = jax.jit(jax.vmap(policy.from_noise))(noise, observations)
    np.testing.assert_allclose(many[0], alone, atol=1e-5)
    for n, o, action in zip(noise[1:], observations[1:], many[1:], strict=True):
        np.testing.assert_allclose(policy.from_noise(n, o), action, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_jit_of_the_method_of_a_policy_with_an_array_weight(key, name):
    """B17: what has arrays has no hash, and `jax.jit` asks what it is given for one."""
    policy = guided(name, key)
    noise, o = jr.normal(key, policy.noise_shape), observation(key)
    for call in (policy.from_noise, policy.act, policy.trace):
        jax.eval_shape(jax.jit(call), noise, o)
    if name == "qgf":
        found = jax.jit(policy.from_noise)(noise, o)
        np.testing.assert_allclose(found, policy.from_noise(noise, o), atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_chunks_of_actions(key, name):
    policy = guided(name, key, (2, 3), num_steps=2)
    noise, o = jr.normal(key, policy.noise_shape), observation(key)
    assert jax.eval_shape(policy.from_noise, noise, o).shape == (2, 3)


@pytest.mark.parametrize("name", WEIGHTED)
@given(seed=st.integers(0, 2**31 - 1))
def test_weight_zero_is_the_unguided_policy_bit_for_bit(name, seed):
    key = jr.key(seed)
    policy, critic, guidance = ready(name, key, (2, 3), weight=0.0)
    noise, o = jr.normal(key, (2, 3)), observation(key)
    found = fg.guide(policy, critic, guidance).from_noise(noise, o)
    assert jnp.array_equal(found, policy.from_noise(noise, o))


def black(field):
    """The same field, of which JAX knows nothing."""

    def velocity(t, action, observation):
        return jax.pure_callback(
            lambda *x: np.asarray(field(*map(jnp.asarray, x))),
            jax.ShapeDtypeStruct(action.shape, action.dtype),
            *(t, action, observation),
            vmap_method="sequential",
        )

    return velocity


def black_conditioned(field):
    def velocity(t, action, conditioned):
        o, label = conditioned
        return black(lambda t, a, o: field(t, a, (o, label)))(t, action, o)

    return velocity


@pytest.mark.parametrize("name", METHODS)
def test_black_boxes(key, name):
    """Where the catalogue says so a policy needs no derivative, and it says it where it is so."""
    is_conditioned = fg.CATALOGUE[name].family == "conditioned"
    wrap = black_conditioned if is_conditioned else black
    policy = guided(name, key, velocity=wrap, num_steps=2)
    noise, o = jr.normal(key, policy.noise_shape), observation(key)
    if fg.CATALOGUE[name].black_box:
        seen = guided(name, key, num_steps=2).from_noise(noise, o)
        np.testing.assert_allclose(policy.from_noise(noise, o), seen, atol=1e-5)
    else:
        with pytest.raises(Exception, match="[Pp]ure callbacks do not support"):
            policy.from_noise(noise, o)


@pytest.mark.parametrize("name", METHODS)
def test_the_representation_is_short_and_says_the_weight(key, name):
    policy, critic, guidance = ready(name, key, weight=0.625)
    text = repr(fg.guide(policy, critic, guidance))
    assert len(text.splitlines()) <= 4 and max(map(len, text.splitlines())) < 200, text
    for part in ("FlowPolicy(", "VelocityMLP" if critic else "ClassifierFree", "num_steps=4", name):
        assert part in text, text
    if name in WEIGHTED:
        assert "weight=0.625" in text and "weight=0.625" in fg.describe(guidance)
    assert "Array" not in text and "0x" not in text


@pytest.mark.parametrize("name", WEIGHTED)
def test_the_representation_of_other_weights(key, name):
    policy, critic, _ = ready(name, key)
    assert "[0.5, 0, 2]" in repr(fg.guide(policy, critic, method(name, jnp.array([0.5, 0.0, 2.0]))))
    texts = []

    @jax.jit
    def say(weight):
        texts.append(repr(fg.guide(policy, critic, method(name, weight))))
        return weight

    # A weight that is not known yet has a type.
    say(0.5)
    assert "float32[]" in texts[0], texts
