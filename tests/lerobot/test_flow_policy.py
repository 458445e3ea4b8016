"""LeRobot's real classes, tiny, as flow policies: what LeRobot samples, flowguide samples."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import functools
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

pytest.importorskip("lerobot")

import torch

import flowguide as fg

from ..helpers import METHODS
from .policies import ACTION, batch, CHUNK, POLICIES, processors, smolvla

NOISE = torch.randn(2, CHUNK, 6, generator=torch.Generator().manual_seed(3))


@functools.cache
def lerobot_policy(name):
    return POLICIES[name]()


def linear(observation, action):
    """Its gradient is known, and the same everywhere."""
    assert action.shape == (CHUNK, ACTION) and observation["observation.state"].shape == (4,)
    return jnp.sum(action[:, 0]) - 0.5 * jnp.sum(action[0, 1:])


@pytest.mark.parametrize("backend", ["callback", "torchax"])
@pytest.mark.parametrize("name", POLICIES)
def test_the_same_noise_is_the_same_action(name, backend):
    policy = lerobot_policy(name)
    with torch.inference_mode():
        expected = policy.predict_action_chunk(batch(), noise=NOISE)
    flow = fg.lerobot.flow_policy(policy, backend=backend)
    observations = fg.lerobot.observations(batch())
    actions = jax.vmap(flow.from_noise)(jnp.asarray(NOISE.numpy()), observations)
    assert actions.shape == (2, CHUNK, 6)
    atol = 2e-6 if backend == "callback" else 1e-5
    np.testing.assert_allclose(actions[..., :ACTION], expected, atol=atol)


@pytest.mark.parametrize("name", POLICIES)
def test_bit_for_bit_where_steps_are_exact(name):
    """Eighths are exact in floats, so that nothing but PyTorch's network is left."""
    policy = POLICIES[name]()
    policy.config.num_steps = policy.config.num_inference_steps = 8
    with torch.inference_mode():
        expected = policy.predict_action_chunk(batch(), noise=NOISE)
    flow = fg.lerobot.flow_policy(policy)
    observations = fg.lerobot.observations(batch())
    actions = jax.vmap(flow.from_noise)(jnp.asarray(NOISE.numpy()), observations)
    np.testing.assert_array_equal(actions[..., :ACTION], expected)


@pytest.mark.parametrize("name", ["smolvla", "pi0"])
def test_weights_of_half_precision(name):
    policy = POLICIES[name]()
    if name == "pi0":
        policy.model.paligemma_with_expert.to_bfloat16_for_selected_params("bfloat16")
    else:
        policy.model.vlm_with_expert.vlm.to(torch.bfloat16)
    with torch.inference_mode():
        expected = policy.predict_action_chunk(batch(), noise=NOISE)
    flow = fg.lerobot.flow_policy(policy)
    observations = fg.lerobot.observations(batch())
    actions = jax.vmap(flow.from_noise)(jnp.asarray(NOISE.numpy()), observations)
    encoded = flow.prepare(jax.tree.map(lambda x: x[0], observations)).encoded
    assert encoded["past_key_values"].dtype == jnp.bfloat16
    # An action that differs in its last bit may be rounded to the other side.
    np.testing.assert_allclose(actions[..., :ACTION], expected, atol=1e-2)


def test_the_policy_itself_is_not_touched():
    policy = smolvla()
    policy.train()
    before = {name: x.clone() for name, x in policy.state_dict().items()}
    policy.select_action(batch())
    policy.train()
    queued = len(policy._queues["action"])
    flow = fg.lerobot.flow_policy(policy)
    state = torch.get_rng_state()
    fg.sample(flow, fg.lerobot.observations(batch()), key=jr.key(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(policy._queues["action"]) == queued and policy.training
    assert "denoise_step" not in vars(policy.model)
    assert all(torch.equal(x, before[name]) for name, x in policy.state_dict().items())


@pytest.mark.parametrize("backend", ["callback", "torchax"])
def test_the_prefix_is_computed_once_an_action(monkeypatch, backend):
    policy = smolvla()
    flow = fg.lerobot.flow_policy(policy, backend=backend)
    guided = fg.guide(flow, fg.lerobot.critic(policy, linear), "qgf", weight=0.1)
    best = fg.guide(guided, fg.lerobot.critic(policy, linear), fg.best_of_n(3))
    observations = fg.lerobot.observations(batch())
    fg.sample(best, observations, key=jr.key(0))
    sizes = []
    embed = type(policy.model).embed_prefix

    def counted(model, images, *args, **kwargs):
        sizes.append(len(images[0]))
        return embed(model, images, *args, **kwargs)

    monkeypatch.setattr(type(policy.model), "embed_prefix", counted)
    fg.sample(best, observations, key=jr.key(1)).block_until_ready()
    assert sizes == [2]


def test_a_linear_critic_moves_the_action_as_far_as_its_weight_says():
    """The last velocity is that of the network at a moved point; with one step there is none."""
    policy = smolvla()
    flow = fg.lerobot.flow_policy(policy, num_steps=1)
    guided = fg.guide(flow, fg.lerobot.critic(policy, linear), "ood", weight=0.2)
    observation = jax.tree.map(lambda x: x[0], fg.lerobot.observations(batch()))
    noise = jnp.asarray(NOISE[0].numpy())
    moved = guided.from_noise(noise, observation) - flow.from_noise(noise, observation)
    expected = np.zeros((CHUNK, 6))
    expected[:, 0], expected[0, 1:ACTION] = 0.2, -0.1
    np.testing.assert_allclose(moved, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["qgf_jacobian", "bptt", "noise_ascent", "beam"])
def test_the_backends_agree_on_derivatives(name):
    """Two that cannot be wrong in the same way: PyTorch's autograd and JAX's."""
    policy = lerobot_policy("smolvla")
    observation = jax.tree.map(lambda x: x[0], fg.lerobot.observations(batch()))
    actions = []
    for backend in ("callback", "torchax"):
        flow = fg.lerobot.flow_policy(policy, backend=backend, num_steps=2)
        guided = fg.guide(flow, fg.lerobot.critic(policy, linear), name)
        noise = jr.normal(jr.key(0), guided.noise_shape)
        actions.append(guided.from_noise(noise, observation))
    # PyTorch embeds times in float64, torchax in float32, and methods amplify what differs.
    np.testing.assert_allclose(*actions, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_guides_it(name):
    policy = lerobot_policy("smolvla")
    if name == "cfg":
        pytest.skip("asks the field about an observation that was dropped in training")
    observation = jax.tree.map(lambda x: x[0], fg.lerobot.observations(batch()))
    flow = fg.lerobot.flow_policy(policy, num_steps=2)
    critic = fg.Ensemble([linear, lambda o, a: 1.1 * linear(o, a)])
    if name == "robust_q":
        critic = fg.NoiseConditionedCritic(lambda timed, action: linear(timed[0], action))
    asked: fg.Critic = fg.lerobot.critic(policy, critic)
    if name == "agf":
        # At the noisy action: the critic is linear, and a line has one gradient.
        asked = fg.Costate(lambda t, a, o, asked=asked: jax.grad(asked, 1)(o, a))
    guided = fg.guide(flow, asked, name)
    noise = jr.normal(jr.key(0), guided.noise_shape)
    action = guided.from_noise(noise, observation)
    before = flow.from_noise(noise.reshape(-1, CHUNK, 6)[0], observation)
    assert jnp.all(jnp.isfinite(action))
    value = linear(observation, action[:, :ACTION]) - linear(observation, before[:, :ACTION])
    # The best of several may be the first, which rounds otherwise in a batch than alone.
    assert value > (-1e-5 if name == "best_of_n" else 0)


def test_another_observation_or_weight_compiles_nothing():
    policy, traced, counts = smolvla(), [], []

    def critic(observation, action):
        traced.append(1)
        return linear(observation, action)

    flow, asked = fg.lerobot.flow_policy(policy), fg.lerobot.critic(policy, critic)
    for seed in range(3):
        guided = fg.guide(flow, asked, "qgf", weight=0.1 * seed)
        fg.sample(guided, fg.lerobot.observations(batch(seed=seed)), key=jr.key(seed))
        counts.append(len(traced))
    assert len(set(counts)) == 1 and counts[0] > 0


def test_units_of_the_environment_are_those_of_the_processors():
    policy = smolvla()
    preprocessor, postprocessor = processors(policy)
    seen = []

    def critic(observation, action):
        jax.debug.callback(lambda *x: seen.append(x), observation["observation.state"], action)
        return jnp.sum(action**2)

    asked = fg.lerobot.critic(
        policy,
        critic,
        units="environment",
        preprocessor=preprocessor,
        postprocessor=postprocessor,
    )
    real = {"observation.state": torch.randn(1, 4), "observation.image": torch.rand(1, 3, 64, 64)}
    normalised = preprocessor({**real, "task": ["push the puck"]})
    observation = jax.tree.map(lambda x: x[0], fg.lerobot.observations(normalised))
    action = jr.normal(jr.key(0), (CHUNK, 6))
    gradient = jax.grad(asked, argnums=1)(observation, action)
    jax.effects_barrier()
    state, shown = seen[0]
    np.testing.assert_allclose(state, real["observation.state"][0], atol=1e-5)
    expected = postprocessor(torch.tensor(np.asarray(action[None, :, :ACTION])))[0]
    np.testing.assert_allclose(shown, expected, atol=1e-5)
    # The chain rule, once: d(sum a^2)/dx = 2 a std.
    np.testing.assert_allclose(gradient[:, :ACTION], 2 * expected * 0.4, rtol=1e-4, atol=1e-5)
    assert not np.any(gradient[:, ACTION:])


def test_ensembles_and_arithmetic_pass_through():
    policy = smolvla()
    ensemble = fg.Ensemble([linear, lambda o, a: 2 * linear(o, a)])
    asked = fg.lerobot.critic(policy, ensemble)
    observation = jax.tree.map(lambda x: x[0], fg.lerobot.observations(batch()))
    action = jr.normal(jr.key(0), (CHUNK, 6))
    value = linear(observation, action[:, :ACTION])
    np.testing.assert_allclose(asked.members(observation, action), [value, 2 * value], rtol=1e-5)
    np.testing.assert_allclose(
        (asked - 3.0 * asked)(observation, action), -2 * asked(observation, action), rtol=1e-5
    )


class NotAFlow(torch.nn.Module):
    config = None


def test_what_cannot_be_guided_is_named():
    with pytest.raises(TypeError, match="NotAFlow is no flow policy.*chunk_size.*denoise_step"):
        fg.lerobot.flow_policy(NotAFlow())
    with pytest.raises(ValueError, match='"callback" or "torchax", got \'jit\''):
        fg.lerobot.flow_policy(smolvla(), backend="jit")
    with pytest.raises(TypeError, match="critic must be a callable"):
        fg.lerobot.critic(smolvla(), 5)
    with pytest.raises(ValueError, match="needs preprocessor and postprocessor="):
        fg.lerobot.critic(smolvla(), linear, units="environment")
    with pytest.raises(ValueError, match='"policy" or "environment"'):
        fg.lerobot.critic(smolvla(), linear, units="metres")
    with pytest.raises(ValueError, match="names begin with 'observation'"):
        fg.lerobot.observations({"action": torch.zeros(2)})
    without = {k: v for k, v in batch().items() if "image" not in k}
    with pytest.raises(Exception, match="image features are missing"):
        fg.sample(
            fg.lerobot.flow_policy(smolvla()), fg.lerobot.observations(without), key=jr.key(0)
        )


def test_a_policy_that_is_moved_is_asked_where_it_is():
    """`meta` is a device that every machine has, though nothing comes back from it."""
    policy = smolvla()
    guided: Any = fg.lerobot.guide(policy, linear, "qgf", weight=0.1)
    flow = guided.flow_policy
    functions = flow.encode.function, flow.velocity.velocity.function
    assert [each.place().type for each in functions] == ["cpu", "cpu"]
    policy.to("meta")
    assert [each.place().type for each in functions] == ["meta", "meta"]
