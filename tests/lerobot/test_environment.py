"""LeRobot's policies under flowguide's evaluation."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import dataclasses
import functools

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("lerobot")

import torch

import flowguide as fg
from flowguide._rollout import environments
from flowguide.data import Windows
from flowguide.evaluate import Agent, evaluate, rollouts

from .policies import ACTION, batch, CHUNK, processors, smolvla


class Reach(gymnasium.Env):
    """A point in three dimensions, seen by a camera, that has to come near the origin."""

    observation_space = gymnasium.spaces.Dict(
        {
            "agent_pos": gymnasium.spaces.Box(-10, 10, (4,), np.float32),
            "pixels": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8),
        }
    )
    action_space = gymnasium.spaces.Box(-1, 1, (ACTION,), np.float32)
    task_description = "come to the middle"

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1, 1, 3)
        self.steps, self.played = 0, []
        return self._observation(), {}

    def step(self, action):
        self.played.append(action)
        self.position = self.position + 0.1 * action
        self.steps += 1
        distance = float(np.linalg.norm(self.position))
        return self._observation(), -distance, False, self.steps == 12, {"success": distance < 0.5}

    def _observation(self):
        image = np.full((64, 64, 3), 255 * min(1, abs(self.position[0])), np.uint8)
        return {"agent_pos": np.append(self.position, 1).astype(np.float32), "pixels": image}


def make_env():
    config = smolvla().config
    preprocessor, postprocessor = processors(smolvla())
    return fg.lerobot.ProcessedEnv(Reach(), config, preprocessor, postprocessor)


def critic(observation, action):
    """In the environment's units: towards the middle."""
    end = observation["observation.state"][:3] + 0.1 * jnp.sum(action, 0)
    return -jnp.sum(end**2)


@functools.cache
def parts():
    policy = smolvla()
    preprocessor, postprocessor = processors(policy)
    flow = fg.lerobot.flow_policy(policy, num_steps=4)
    asked = fg.lerobot.critic(
        policy,
        critic,
        units="environment",
        preprocessor=preprocessor,
        postprocessor=postprocessor,
    )
    return policy, flow, asked, preprocessor, postprocessor


def test_observations_and_actions_are_those_of_the_processors():
    policy, flow, _, preprocessor, postprocessor = parts()
    env = make_env()
    observation, _ = env.reset(seed=3)
    assert env.observation_space.contains(observation)
    raw = env.unwrapped._observation()
    batch = preprocessor(
        {
            "observation.state": torch.tensor(raw["agent_pos"])[None],
            "observation.image": torch.tensor(raw["pixels"]).permute(2, 0, 1)[None] / 255,
            "task": ["come to the middle"],
        }
    )
    expected = fg.lerobot.observations(batch)
    assert set(observation) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(observation[name], value[0], atol=1e-6, err_msg=name)
    noise = torch.randn(1, CHUNK, 6)
    with torch.inference_mode():
        policy.config.num_steps = 4
        theirs = postprocessor(policy.predict_action_chunk(batch, noise=noise))[0]
    chunk = flow.from_noise(jnp.asarray(noise[0].numpy()), observation)
    for action in chunk:
        env.step(np.asarray(action))
    played = np.array(env.unwrapped.played)
    np.testing.assert_allclose(played, torch.clamp(theirs, -1, 1), atol=1e-5)


def test_evaluation_pairs_guided_and_unguided_episodes():
    _, flow, asked, *_ = parts()
    agent = Agent(flow, asked)
    guidances = {"unguided": None, "qgf": fg.qgf(weight=3.0), "best of 8": fg.best_of_n(8)}
    episodes = evaluate(agent, make_env, guidances, range(3), num_envs=2, success_at="any")
    assert len(episodes) == 9 and not any(episode.error for episode in episodes)
    returns = {
        label: [
            e.episode_return
            for e in sorted(episodes, key=lambda e: e.episode_seed)
            if e.condition.label == label
        ]
        for label in guidances
    }
    # The critic says where the middle is, and a random network does not know.
    assert sum(returns["best of 8"]) > sum(returns["unguided"])
    assert sum(returns["qgf"]) > sum(returns["unguided"])
    # The same again, of a policy that was asked in between.
    again = evaluate(Agent(flow, asked), make_env, {"qgf": guidances["qgf"]}, range(1), num_envs=1)
    (first,) = [e for e in episodes if e.condition.label == "qgf" and e.episode_seed == 0]
    assert again[0].model == first.model and again[0].episode_return == first.episode_return


def test_the_identity_is_the_weights():
    policy, flow, asked, *_ = parts()
    before = Agent(flow, asked).model
    fg.sample(
        flow, jax.tree.map(lambda x: x[None], make_env().reset(seed=0)[0]), key=jax.random.key(0)
    )
    assert Agent(flow, asked).model == before
    assert Agent(fg.lerobot.flow_policy(policy, num_steps=4), asked).model == before
    other = smolvla(seed=1)
    assert Agent(fg.lerobot.flow_policy(other, num_steps=4), asked).model != before
    # And not the object, nor the process, that they are in.
    one, same = (
        Agent(fg.lerobot.flow_policy(smolvla(), backend="torchax"), asked).model for _ in range(2)
    )
    assert one == same != before


def test_rollouts_are_in_the_policys_units_and_a_critic_learns_from_them():
    _, flow, *_ = parts()
    names = ["observation.state", "observation.image"]
    data, episodes = rollouts(Agent(flow), make_env, range(3), keep=names, num_envs=1, replan=4)
    assert data.observations["observation.image"].shape == (3 * 13, 3, 64, 64)
    assert data.actions.shape == (3 * 13, 6) and data.num_episodes == len(episodes) == 3
    # The first chunk, from the noise that an evaluation has there.
    env = make_env()
    observation, _ = environments.reset(env, 0)
    np.testing.assert_allclose(data.observations["observation.state"][0], observation[names[0]])
    data = dataclasses.replace(data, actions=data.actions[:, :ACTION])
    windows = Windows(data, 4, 0.9, returns="success_to_go", every=4)
    assert windows.at(windows.starts[0]).action.shape == (4, ACTION)


def test_a_critic_can_read_the_policys_own_features():
    policy = smolvla()
    flow = fg.lerobot.flow_policy(policy, num_steps=4, features=True)
    seen = jax.tree.map(lambda x: x[0], fg.lerobot.observations(batch()))
    prepared = flow.prepare(seen)
    features = prepared.observation["features"]
    # Four layers with one key-value head of 32.
    assert features.shape == (4 * 32,)
    values = np.asarray(prepared.encoded["past_key_values"])[:, 1]
    mask = np.asarray(prepared.encoded["prefix_pad_masks"])
    np.testing.assert_allclose(
        features, values[:, :, mask].mean(2).reshape(-1), atol=1e-5, rtol=1e-4
    )

    def reads(observation, action):
        return jnp.sum(action[0]) * observation["features"][3]

    asked = fg.lerobot.critic(policy, reads, horizon=2)
    noise = jax.random.normal(jax.random.key(0), flow.noise_shape)
    moved = fg.guide(flow, asked, "qgf", weight=0.5).from_noise(noise, seen)
    moved = moved - flow.from_noise(noise, seen)
    sign = np.sign(float(features[3]))
    assert np.all(sign * np.asarray(moved)[0, :ACTION] > 0)
    # The drop-in policy with the same critic, and around one that is guided already.
    drop_in = fg.lerobot.guide(
        policy, reads, "qgf", weight=0.5, critic_features=True, critic_horizon=2
    )
    once = fg.guide(fg.lerobot.flow_policy(policy, features=True), asked, "qgf", weight=0.5)
    np.testing.assert_allclose(
        drop_in.flow_policy.from_noise(noise, seen), once.from_noise(noise, seen), atol=1e-6
    )
    plain = fg.lerobot.guide(policy, lambda o, a: jnp.sum(a), "qgf", weight=0.1)
    again = fg.lerobot.guide(plain, reads, "best_of_n", n=2, critic_features=True)
    assert again.predict_action_chunk(batch()).shape == (2, CHUNK, ACTION)


def test_a_critic_is_asked_about_the_actions_that_are_played():
    policy = smolvla()
    shapes = []

    def reads(observation, action):
        shapes.append(action.shape)
        return jnp.sum(action)

    seen = jax.tree.map(lambda x: x[0], fg.lerobot.observations(batch()))
    fg.lerobot.critic(policy, reads, horizon=3)(seen, jnp.ones((CHUNK, 6)))
    assert shapes == [(3, ACTION)]
    guided = fg.lerobot.guide(policy, reads, "best_of_n", n=2, critic_horizon=5)
    guided.predict_action_chunk(batch())
    assert shapes[-1] == (5, ACTION)
    with pytest.raises(ValueError, match="horizon is 9, and a chunk of this policy has 8 actions"):
        fg.lerobot.critic(policy, reads, horizon=9)


def test_another_robot_is_named():
    policy, _, _, preprocessor, postprocessor = parts()
    env = Reach()
    env.action_space = gymnasium.spaces.Box(-1, 1, (7,), np.float32)
    with pytest.raises(ValueError, match="actions have 3 numbers, and the environment takes Box"):
        fg.lerobot.ProcessedEnv(env, policy, preprocessor, postprocessor)


def test_instructions_of_several_lengths_have_to_be_padded():
    env = make_env()
    env.unwrapped.task_description = "come to the middle, and be quick about it"
    with pytest.raises(ValueError, match=r"language.*shape \(\d+,\).*pad_language_to"):
        env.reset(seed=0)
    policy = smolvla(pad_language_to="max_length")
    padded = fg.lerobot.ProcessedEnv(Reach(), policy, *processors(policy))
    tokens = "observation.language.tokens"
    shapes = {padded.reset(seed=0)[0][tokens].shape}
    padded.unwrapped.task_description = "come"
    shapes.add(padded.reset(seed=0)[0][tokens].shape)
    assert shapes == {(48,)}
