"""Real-time chunking as a critic, against the paper's algorithm and LeRobot's, written out."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, strategies as st

import flowguide as fg
from flowguide._fingerprint import fingerprint

from ..helpers import METHODS, observation, ready

H, A = 8, 3
SCHEDULES = ["exp", "linear", "ones", "zeros"]


def weights_by_hand(delay, horizon, schedule):
    found = []
    for i in range(H):
        c = (horizon - i) / (horizon - delay + 1)
        between = {
            "exp": lambda c=c: c * (math.exp(c) - 1) / (math.e - 1),
            "linear": lambda c=c: c,
            "ones": lambda: 1.0,
            "zeros": lambda: 0.0,
        }[schedule]
        found.append(0.0 if i >= horizon else 1.0 if i < delay else between())
    return np.array(found)


def velocity(t, action, observation):
    """One whose Jacobian is neither symmetric nor diagonal."""
    mixed = jnp.tanh(action @ jnp.array([[0.3, -0.8, 0.1], [0.5, 0.2, -0.4], [0.9, 0.1, 0.6]]))
    return mixed + jnp.cumsum(action, 0) * 0.1 * (1 - t) - observation[None]


POLICY = fg.FlowPolicy(velocity, (H, A), num_steps=5, low=-np.inf, high=np.inf)


def real_time_chunking(noise, observation, previous, weights, cap, exact):
    """Algorithm 1 of arXiv 2506.07339, and LeRobot's, whose Jacobian is the identity."""
    a, n = noise, 5
    for k in range(n):
        tau = k / n

        def clean(a, tau=tau):
            v = velocity(tau, a, observation)
            return a + (1 - tau) * v, v

        estimate, pullback, v = jax.vjp(clean, a, has_aux=True)
        error = weights[:, None] * (previous - estimate)
        correction = pullback(error)[0] if exact else error
        r2 = (1 - tau) ** 2 / (tau**2 + (1 - tau) ** 2)
        factor = cap if tau == 0 else min(cap, (1 - tau) / (tau * r2))
        a = a + (v + factor * correction) / n
    return a


@given(
    delay=st.integers(0, H),
    horizon=st.integers(0, H),
    schedule=st.sampled_from(SCHEDULES),
    cap=st.sampled_from([0.5, 5.0, 10.0]),
    exact=st.booleans(),
)
def test_it_is_real_time_chunking(delay, horizon, schedule, cap, exact):
    noise, previous = jr.normal(jr.key(0), (2, H, A))
    observation = jnp.array([0.1, -0.3, 0.2])
    keep = fg.coherence(previous, delay=delay, horizon=horizon, schedule=schedule)
    weights = weights_by_hand(min(delay, horizon), horizon, schedule)
    np.testing.assert_allclose(keep.weights, weights, atol=1e-6)
    method = "qgf_jacobian" if exact else "qgf"
    guided = fg.guide(POLICY, keep, method, weight=fg.RealTimeWeight(cap=cap))
    found = guided.from_noise(noise, observation)
    expected = real_time_chunking(noise, observation, previous, weights, cap, exact)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_value_is_minus_half_the_weighted_squares(key):
    previous, action = jr.normal(key, (2, H, A))
    keep = fg.coherence(previous[:5], delay=2, horizon=4, schedule="linear")
    expected = -0.5 * sum(
        w * jnp.sum((action[i] - previous[i]) ** 2) for i, w in enumerate([1, 1, 2 / 3, 1 / 3])
    )
    np.testing.assert_allclose(keep(None, action), expected, rtol=1e-6)


def test_another_chunk_delay_or_horizon_compiles_nothing(key):
    traced, counts = [], []

    def counted(t, action, observation):
        traced.append(1)
        return velocity(t, action, observation)

    policy = fg.FlowPolicy(counted, (H, A), num_steps=2)
    for i in range(3):
        keep = fg.coherence(jr.normal(jr.key(i), (6, A)), delay=i, horizon=3 + i)
        guided = fg.guide(policy, keep, "qgf", weight=fg.RealTimeWeight())
        guided.from_noise(jnp.zeros((H, A)), jnp.zeros(A))
        counts.append(len(traced))
    assert len(set(counts)) == 1 and counts[0] > 0


def test_without_a_previous_chunk_the_policy_is_unguided(key):
    noise = jr.normal(key, (H, A))
    nothing = fg.coherence(jnp.full((H, A), 7.0), delay=3, horizon=0)
    guided = fg.guide(POLICY, nothing, "qgf", weight=fg.RealTimeWeight())
    expected = POLICY.from_noise(noise, jnp.zeros(A))
    np.testing.assert_allclose(guided.from_noise(noise, jnp.zeros(A)), expected, atol=1e-6)


def test_with_a_critic_of_ones_own(key):
    """As one sum, with one weight; and as two terms, each with its own."""
    noise, previous = jr.normal(key, (2, H, A))
    observation = jnp.zeros(A)
    keep = fg.coherence(previous, delay=2)

    def critic(observation, action):
        return jnp.sum(action[:, 0])

    def moved(guided):
        before = one_step.from_noise(noise, observation)
        return guided.from_noise(noise, observation) - before

    one_step = fg.FlowPolicy(velocity, (H, A), num_steps=1, low=-np.inf, high=np.inf)
    together = fg.guide(one_step, critic + 2 * keep, "qgf", weight=0.1)
    twice = fg.guide(fg.guide(one_step, keep, "qgf", weight=0.2), critic, "ood", weight=0.1)
    kept, asked = (
        moved(fg.guide(one_step, *each)) for each in ((keep, fg.qgf(0.2)), (critic, fg.qgf(0.1)))
    )
    np.testing.assert_allclose(moved(together), kept + asked, atol=1e-6)
    np.testing.assert_allclose(moved(twice), kept + asked, atol=1e-6)


def test_the_most_coherent_of_several(key):
    """Backward coherence: the sample that is nearest to what was planned."""
    previous = jr.normal(key, (H, A))
    guided = fg.guide(POLICY, fg.coherence(previous, delay=2), "best_of_n", n=5)
    noise, observation = jr.normal(jr.key(1), guided.noise_shape), jnp.zeros(A)
    actions = jax.vmap(POLICY.from_noise, in_axes=(0, None))(noise, observation)
    weights = weights_by_hand(2, H, "exp")
    distances = np.sum(weights[:, None] * np.asarray(actions - previous[None]) ** 2, (1, 2))
    found = guided.from_noise(noise, observation)
    np.testing.assert_allclose(found, actions[np.argmin(distances)], atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_it_with_another_critic(key, name):
    policy, critic, guidance = ready(name, key, (2, 3))
    if critic is None:
        pytest.skip("asks no critic")
    keep = fg.coherence(jr.normal(key, (2, 3)), delay=1)
    noise = jr.normal(key, fg.guide(policy, critic, guidance).noise_shape)
    found = {
        weight: fg.guide(policy, critic + weight * keep, guidance).from_noise(
            noise, observation(key)
        )
        for weight in (0.0, 10.0)
    }
    assert jnp.all(jnp.isfinite(found[10.0]))
    # A choice among few may be the same.
    if fg.CATALOGUE[name].family != "action":
        assert jnp.any(jnp.abs(found[10.0] - found[0.0]) > 1e-4)


@pytest.mark.parametrize("name", ["qgf", "qgf_jacobian"])
def test_in_half_and_in_double_precision(key, name):
    """The dtype is that of the noise, whatever the previous chunk has."""
    previous = jr.normal(key, (6, A))
    weight = fg.RealTimeWeight()
    noise = jr.normal(jr.key(1), (H, A))
    keep = fg.coherence(previous, delay=2)
    expected = fg.guide(POLICY, keep, name, weight=weight).from_noise(noise, jnp.zeros(A))
    keep = fg.coherence(previous.astype(jnp.bfloat16), delay=2)
    assert keep.weights.dtype == jnp.bfloat16
    half = fg.guide(POLICY, keep, name, weight=weight).from_noise(noise, jnp.zeros(A))
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, expected, atol=0.05)
    with jax.enable_x64(True):
        keep = fg.coherence(np.asarray(previous, np.float64), delay=2)
        double = fg.guide(POLICY, keep, name, weight=weight)
        found = double.from_noise(jnp.asarray(np.asarray(noise, np.float64)), jnp.zeros(A))
        assert keep.weights.dtype == found.dtype == jnp.float64
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_shorter_chunk_is_one_with_anything_behind_it(key):
    previous, noise = jr.normal(key, (2, H, A))
    for name in ("qgf", "qgf_jacobian"):
        short = fg.guide(POLICY, fg.coherence(previous[:5], delay=2), name, weight=1.0)
        long = fg.guide(POLICY, fg.coherence(previous, delay=2, horizon=5), name, weight=1.0)
        expected = long.from_noise(noise, jnp.zeros(A))
        np.testing.assert_allclose(short.from_noise(noise, jnp.zeros(A)), expected, atol=1e-6)


def test_a_batch_of_chunks(key):
    """Each with its own delay and horizon."""
    noise, previous = jr.normal(key, (2, 3, H, A))
    delays, horizons = jnp.array([0, 2, 4]), jnp.array([8, 5, 0])

    def act(noise, previous, delay, horizon):
        keep = fg.coherence(previous, delay=delay, horizon=horizon)
        guided = fg.guide(POLICY, keep, "qgf", weight=fg.RealTimeWeight())
        return guided.from_noise(noise, jnp.zeros(A))

    found = jax.jit(jax.vmap(act))(noise, previous, delays, horizons)
    for i in range(3):
        expected = act(noise[i], previous[i], delays[i], horizons[i])
        np.testing.assert_allclose(found[i], expected, atol=1e-5)


def test_what_tells_one_from_another(key):
    previous = jr.normal(key, (H, A))
    critics = [
        fg.coherence(previous),
        fg.coherence(previous, delay=2),
        fg.coherence(previous, horizon=5),
        fg.coherence(previous, schedule="linear"),
        fg.coherence(previous + 1),
    ]
    assert len({fingerprint(critic) for critic in critics}) == len(critics)
    assert fingerprint(fg.coherence(previous)) == fingerprint(critics[0])
    guided = fg.guide(POLICY, critics[0], "qgf", weight=fg.RealTimeWeight(cap=10))
    assert "qgf(weight=RealTimeWeight(weight=1, cap=10)) by Coherence" in repr(guided)


def test_numbers_of_steps_are_checked_when_they_are_known():
    @eqx.filter_jit
    def weights(horizon):
        return fg.coherence(jnp.zeros((5, A)), horizon=horizon).weights

    assert weights(jnp.array(5)).shape == (5,)
    with pytest.raises(Exception, match=r"horizon must be in \[0, 5\], the steps of"):
        weights(jnp.array(6))


def test_what_makes_no_sense_is_named():
    chunk = jnp.zeros((5, A))
    with pytest.raises(ValueError, match="got 'expo'. Did you mean 'exp'"):
        fg.coherence(chunk, schedule="expo")
    with pytest.raises(ValueError, match=r"floats of shape \(T, \*action\), got shape \(\)"):
        fg.coherence(jnp.array(1.0))
    with pytest.raises(ValueError, match="horizon must be one integer"):
        fg.coherence(chunk, horizon=2.5)
    with pytest.raises(Exception, match=r"horizon must be in \[0, 5\], the steps of"):
        fg.coherence(chunk, horizon=6)
    with pytest.raises(Exception, match="delay must be at least 0"):
        fg.coherence(chunk, delay=-1)
    with pytest.raises(ValueError, match=r"shape \(9, 3\), but the policy's chunks .* \(8, 3\)"):
        fg.guide(POLICY, fg.coherence(jnp.zeros((9, A))), "qgf", weight=1.0).from_noise(
            jnp.zeros((H, A)), jnp.zeros(A)
        )
    with pytest.raises(Exception, match="cap must be above 0"):
        fg.RealTimeWeight(cap=0.0)
