"""Instruments on policies and critics whose answers are known."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import flowguide as fg
from flowguide import diagnose
from flowguide.evaluate import cross

from ..helpers import affine_policy, mlp_critic, mlp_policy, observation, quadratic_critic

GUIDANCES = cross(["qgf", "best_of_n"], weights=[0.1, 1.0], best_of_n=[1, 8])


def observations(count, key):
    return jax.vmap(observation)(jr.split(key, count))


def save(result, tmp_path):
    """The picture is drawn, and not empty."""
    file = tmp_path / "picture.png"
    result.plot().savefig(file)
    assert file.stat().st_size > 5000


class Linear(eqx.Module):
    slope: jax.Array

    def __call__(self, observation, action):
        return self.slope @ action.ravel()


def test_a_linear_critic_is_not_sensitive_and_a_wavy_one_is(key, tmp_path):
    policy = affine_policy(key, num_steps=4)

    def wavy(observation, action):
        return jnp.sum(jnp.sin(20 * action))

    some = observations(6, key)
    calm = diagnose.noise_sensitivity(policy, Linear(jnp.ones(3)), some, ["qgf", "ood"], key=key)
    np.testing.assert_allclose(calm.cosine.value, 1.0, atol=1e-5)
    assert calm.cosine.value.shape == (2, 4, len(calm.sizes))
    np.testing.assert_allclose(calm.times, [0.0, 0.25, 0.5, 0.75])
    wild = diagnose.noise_sensitivity(
        policy, wavy, some, {"mine": fg.ood(0.3)}, sizes=[1e-4, 1.0], num_noises=32, key=key
    )
    assert wild.names == ("mine",)
    assert np.all(wild.cosine.value[..., 0] > 0.99)
    assert np.all(np.abs(wild.cosine.value[..., 1]) < 0.3)
    save(wild, tmp_path)


def test_noise_sensitivity_by_hand(key):
    """A quadratic critic's gradient is known, so the cosines are: `g(a) = target - a`."""
    policy = affine_policy(key, num_steps=2)
    critic = quadratic_critic(key)
    some = observations(400, key)
    found = diagnose.noise_sensitivity(
        policy, critic, some, ["ood"], sizes=[0.5], num_noises=1, key=key
    )
    # At t = 0 the noisy action is noise, here another draw of it.
    generator = np.random.default_rng(0)
    targets = np.asarray(some @ critic.target.T)
    before = targets - generator.normal(size=targets.shape)
    after = before - 0.5 * generator.normal(size=targets.shape)
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosine = (before * after).sum(1) / lengths
    np.testing.assert_allclose(found.cosine.value[0, 0, 0], cosine.mean(), atol=0.03)


def test_methods_without_a_gradient_are_refused(key):
    policy, critic = mlp_policy(key), mlp_critic(key)
    with pytest.raises(ValueError, match="'best_of_n' adds no gradient"):
        diagnose.noise_sensitivity(policy, critic, observations(2, key), ["best_of_n"], key=key)
    with pytest.raises(ValueError, match=r"Unknown method 'qfg'.*\['qgf'"):
        diagnose.noise_sensitivity(policy, critic, observations(2, key), ["qfg"], key=key)
    with pytest.raises(ValueError, match="at least one guidance"):
        diagnose.noise_sensitivity(policy, critic, observations(2, key), [], key=key)


def test_value_optimisation(key, tmp_path):
    """With a constant field and a linear critic, qgf gains `w |slope|^2` everywhere."""
    slope = jnp.array([0.3, -0.2, 0.1])
    policy = fg.FlowPolicy(lambda t, a, o: jnp.zeros(3), (3,), low=-99.0, high=99.0)
    found = diagnose.value_optimisation(
        policy, Linear(slope), observations(20, key), GUIDANCES, key=key
    )
    names = [condition.label for condition in found.conditions]
    assert names[0] == "unguided"
    gain = dict(zip(names, found.gain.value, strict=True))
    assert gain["unguided"] == 0
    for weight in (0.1, 1.0):
        np.testing.assert_allclose(gain[f"qgf {weight:g}"], weight * 0.14, rtol=1e-4)
        assert gain[f"qgf, best of 8 {weight:g}"] > gain[f"qgf {weight:g}"]
    forwards = dict(zip(names, found.forwards, strict=True))
    assert forwards["unguided"] == 10 and forwards["best of 8"] == 96
    assert np.all(found.clipped == 0)
    save(found, tmp_path)


def test_weights_in_units_of_the_task(key):
    policy, critic, some = mlp_policy(key), mlp_critic(key), observations(16, key)
    unit = float(fg.weight_unit(policy, critic, some))
    in_kappa, raw = (
        diagnose.value_optimisation(policy, critic, some, guidances, key=key).value.value[1]
        for guidances in (
            cross(["qgf"], kappas=[2.0], observations=some),
            {"mine": fg.qgf(2.0 * unit)},
        )
    )
    np.testing.assert_allclose(in_kappa, raw, rtol=1e-5)


def test_exploitation(key, tmp_path):
    """Guidance by a linear critic leaves the data, and the distances say by how much."""
    slope = jnp.array([1.0, 0.0, 0.0])
    policy = fg.FlowPolicy(lambda t, a, o: jnp.zeros(3), (3,), low=-99.0, high=99.0)
    data = np.asarray(jr.normal(key, (4000, 3)))
    found = diagnose.exploitation(
        policy,
        Linear(slope),
        observations(30, key),
        {"qgf 20": fg.qgf(20.0)},
        data,
        num_unguided=64,
        key=key,
    )
    # Twenty standard deviations away.
    assert found.to_data.value[0] < 0.5 < 14 < found.to_data.value[1] < 21
    assert found.between_data.value < 0.5
    # The best of 64 is about 2.4 deviations high, not 20.
    assert 2.0 < found.best_value.value < 2.8
    assert found.best_to_data.value < 1.5 < 16 < found.to_best.value[1] < 20
    save(found, tmp_path)


def test_exploitation_refuses_actions_of_another_shape(key):
    with pytest.raises(ValueError, match=r"dataset_actions has shape \(5, 2\): expected"):
        diagnose.exploitation(
            *(mlp_policy(key), mlp_critic(key), observations(2, key), {}),
            np.zeros((5, 2), np.float32),
            key=key,
        )


class Countdown(gymnasium.Env):
    """Pays the first entry of each action; ends after 4 steps, or now and then is cut at 3."""

    observation_space = gymnasium.spaces.Box(-1, 1, (7,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.is_cut = bool(self.np_random.integers(2))
        return np.zeros(7, np.float32), {}

    def step(self, action):
        self.steps += 1
        is_cut = self.is_cut and self.steps == 3
        return np.zeros(7, np.float32), float(action[0]), self.steps == 4, is_cut, {}


def test_critic_error_against_discounted_returns(key, tmp_path):
    def ends_at(value):
        # An Euler step of the last tenth ends there, wherever it starts.
        return fg.FlowPolicy(
            lambda t, a, o: (jnp.full((2, 3), value) - a) / jnp.maximum(1 - t, 0.1), (2, 3)
        )

    def critic(observation, action):
        return 5 * action[0, 0]

    policies = {"low": ends_at(0.1), "high": ends_at(0.5)}
    found = diagnose.critic_error(policies, critic, Countdown, range(8), discount=0.5, key=key)
    np.testing.assert_allclose(found.claimed[:, 0], [0.5, 2.5], atol=1e-4)
    sums = np.where(found.truncated, 1.75, 1.875)
    assert 0 < found.truncated.sum() < found.truncated.size
    np.testing.assert_allclose(found.returned, sums * [[0.1], [0.5]], atol=1e-4)
    np.testing.assert_allclose(found.error.value, (found.claimed - found.returned).mean(1))
    save(found, tmp_path)


def test_the_tilted_density_has_a_closed_form_for_one_gaussian(key):
    """`N(m, s^2)` tilted by `exp(w b a)` is `N(m + w b s^2, s^2)`: the distance is the shift."""
    found = diagnose.tilted_distance(
        lambda o, a: 0.5 * a[0],
        ["qgf_jacobian"],
        [1e-3, 2.0],
        velocity=diagnose.MixtureVelocity([0.0], 0.8),
        num_steps=20,
        num_samples=500,
        key=key,
    )
    np.testing.assert_allclose(found.unguided.value[1], 2.0 * 0.5 * 0.64, atol=0.05)
    assert np.all(found.exact.value < 0.06)


def test_methods_are_ranked_by_truth(key, tmp_path):
    """A guidance that does nothing is as far as the unguided policy."""
    found = diagnose.tilted_distance(
        lambda o, a: -jnp.sum((a - 1.0) ** 2),
        {"nothing": lambda weight: lambda policy, critic: policy, "qgf": fg.qgf},
        [0.3, 1.0],
        num_samples=400,
        num_steps=20,
        key=key,
    )
    np.testing.assert_allclose(found.distance.value[0], found.unguided.value)
    assert np.all(found.distance.value[1] < found.unguided.value)
    assert np.all(found.exact.value < found.distance.value)
    save(found, tmp_path)
    with pytest.raises(ValueError, match=r"Unknown method 'qfg'.*\['qgf'"):
        diagnose.tilted_distance(lambda o, a: a[0], ["qfg"], key=key)


def test_a_trajectory_shows_the_traces(key, tmp_path):
    policy, critic, o = mlp_policy(key, (2, 5)), mlp_critic(key, (2, 5)), observation(key)
    policies = {"unguided": policy, "qgf": fg.guide(policy, critic, "qgf", weight=2.0)}
    noise = jr.normal(key, (2, 5))
    found = diagnose.trajectory(policies, noise, o)
    expected = policies["qgf"].trace(noise, o)
    np.testing.assert_array_equal(found.traces["qgf"].actions, expected.actions)
    save(found, tmp_path)
    with pytest.raises(ValueError, match="at least one policy"):
        diagnose.trajectory({}, noise, o)


def test_a_mixture_in_the_plane_is_that_on_a_line_where_its_modes_are_on_one():
    line = diagnose.MixtureVelocity([-1.0, 0.5], 0.3)
    plane = diagnose.MixtureVelocity(jnp.array([[-1.0, 0.7], [0.5, 0.7]]), 0.3)
    across = diagnose.MixtureVelocity([0.7], 0.3)
    for t in (0.0, 0.4, 1.0):
        at = jnp.array([0.2, -0.4])
        # What all modes share tells them apart no better.
        expected = jnp.concatenate([line(t, at[:1], None), across(t, at[1:], None)])
        np.testing.assert_allclose(plane(t, at, None), expected, rtol=1e-5, atol=1e-6)


def test_calibration_tells_a_good_critic_from_bad_ones(key, tmp_path):
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 20, 40)
    ends = np.zeros(lengths.sum() + 40, bool)
    ends[np.cumsum(lengths + 1) - 1] = True
    solved = np.roll(ends, -1) & np.repeat(rng.random(40) < 0.6, lengths + 1)
    left = np.concatenate([np.arange(n, -1, -1) for n in lengths])
    will = np.repeat([bool(solved[i]) for i in np.cumsum(lengths + 1) - 2], lengths + 1)
    observations = np.stack([left, will], 1).astype(np.float32)
    dataset = fg.data.from_arrays(
        observations, np.zeros((len(ends), 1)), np.zeros(len(ends)), 1.0 - solved, ends
    )
    windows = fg.data.Windows(dataset, 2, 0.9, returns="success_to_go")

    def perfect(observation, action):
        return observation[1] * 0.9 ** (observation[0] - 1)

    good = diagnose.critic_calibration(perfect, windows)
    assert good.correlation > 0.999 and good.explained > 0.999 and good.error < 1e-3
    assert len(good.values) == len(windows) and len(np.unique(good.episodes)) == 40
    counts = np.bincount(good.bins)
    assert len(counts) == 8 and counts.max() - counts.min() <= 1
    proud = diagnose.critic_calibration(lambda o, a: 0.5 + 0.5 * perfect(o, a), windows)
    assert proud.correlation > 0.999 and proud.explained < good.explained and proud.error > 0.2
    constant = diagnose.critic_calibration(lambda o, a: jnp.zeros(()), windows)
    assert np.isnan(constant.correlation) and constant.explained < 0
    lines = str(good).splitlines()
    assert len(lines) == 10 and "of 40 episodes: correlation 1.00, 100%" in lines[-1]
    save(good, tmp_path)
    with pytest.raises(ValueError, match="n-step returns leave a rest"):
        diagnose.critic_calibration(perfect, fg.data.Windows(dataset, 2))
