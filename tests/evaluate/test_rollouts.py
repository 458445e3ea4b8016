"""Episodes that a policy plays, as data: every step, in order, and what became of it."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowguide as fg
from flowguide.data import Windows
from flowguide.evaluate import Agent, evaluate, rollouts

from .plain import agent, LENGTH, Plain
from .toys import Fault, Line

SEEDS = (7, 3, 11)


def chunks(length=3):
    """Chunks whose actions follow from the noise and the observation."""
    return Agent(
        fg.FlowPolicy(lambda t, a, o: 0.3 * a + 0.1 * o["x"][None, :2], (length, 2), num_steps=2),
    )


class Seen(Line):
    """A line that is seen in parts, one of them a picture of bytes."""

    observation_space = gymnasium.spaces.Dict(
        {
            "x": Line.observation_space,
            "picture": gymnasium.spaces.Box(0, 255, (2, 2, 1), np.uint8),
        }
    )

    def __init__(self):
        super().__init__(Fault())

    def reset(self, *, seed=None, options=None) -> Any:
        observation, info = super().reset(seed=seed)
        return self.seen(observation), info

    def step(self, action) -> Any:
        observation, *rest = super().step(action)
        return self.seen(observation), *rest

    def seen(self, x):
        return {"x": x, "picture": np.full((2, 2, 1), self.steps, np.uint8)}


def played(**options):
    return rollouts(chunks(), Seen, SEEDS, success_at="any", num_envs=2, **options)


def test_every_step_is_kept_and_the_episodes_are_those_of_an_evaluation():
    data, episodes = played()
    same = evaluate(chunks(), Seen, {"unguided": None}, SEEDS, success_at="any", num_envs=2)
    assert [e.episode_seed for e in episodes] == list(SEEDS)
    others = {e.episode_seed: e for e in same}
    for episode in episodes:
        other = others[episode.episode_seed]
        assert (episode.success, episode.length) == (other.success, other.length)
        assert episode.episode_return == other.episode_return
    rows = np.flatnonzero(data.ends)
    assert np.diff(rows, prepend=-1).tolist() == [e.length + 1 for e in episodes]
    # The dynamics of `Line`, but for its noise.
    x = np.asarray(data.observations["x"])
    going = ~np.asarray(data.ends)[:-1]
    moved = (x[1:, 0] - x[:-1, 0] - 0.2 * np.asarray(data.actions)[:-1, 0])[going]
    assert np.all(np.abs(moved) < 0.05)
    np.testing.assert_allclose(
        np.asarray(data.rewards)[:-1][going], -np.abs(x[1:, 0])[going], atol=1e-6
    )
    assert data.observations["picture"].dtype == jnp.uint8
    steps = np.concatenate([np.arange(e.length + 1) for e in episodes])
    assert data.observations["picture"].reshape(len(steps), -1)[:, 0].tolist() == steps.tolist()
    solved = np.append(x[1:, 0] > 1, False) & ~np.asarray(data.ends)
    assert data.solved.tolist() == solved.tolist()
    assert (data.task[1] == 0).tolist() == solved.tolist()


def test_what_is_kept_can_be_chosen():
    names = played(keep=["x"]).dataset.observations
    assert set(names) == {"x"}
    small = played(keep=lambda seen: seen["x"][:1]).dataset.observations
    np.testing.assert_array_equal(small, names["x"][:, :1])
    with pytest.raises(ValueError, match=r"keep is \['y'\], and observations have .*picture"):
        played(keep=["y"])
    with pytest.raises(TypeError, match="array or a dictionary of arrays, got tuple"):
        played(keep=lambda seen: (seen["x"],))


def test_guidance_and_replanning_are_those_of_an_evaluation():
    upwards = Agent(chunks().policy, lambda observation, action: jnp.sum(action[:, 0]))
    options = {"num_envs": 2, "replan": 2, "success_at": "any"}
    guided = rollouts(upwards, Seen, SEEDS, guidance=fg.qgf(weight=2.0), **options)
    guidances = {"guided": fg.qgf(weight=2.0)}
    same = evaluate(upwards, Seen, guidances, SEEDS, **options)
    lengths = {e.episode_seed: e.episode_return for e in same}
    assert {e.episode_seed: e.episode_return for e in guided.episodes} == lengths
    free = rollouts(upwards, Seen, SEEDS, **options)
    assert guided.dataset.actions[:, 0].mean() > free.dataset.actions[:, 0].mean() + 0.1


def test_episodes_that_fail_are_left_out_and_counted():
    seeds = range(6)
    with pytest.warns(match=r"of 6 episodes ended with an error .* the simulation diverged"):
        data, episodes = rollouts(agent(), Fault("raise"), seeds, num_envs=2)
    assert 0 < len(episodes) < 6 and data.num_episodes == len(episodes)
    with pytest.raises(ValueError, match="No episode of 1 was played to its end"):
        with pytest.warns(match="1 of 1 episodes ended with an error"):
            bad = next(s for s in seeds if s not in [e.episode_seed for e in episodes])
            rollouts(agent(), Fault("raise"), [bad], num_envs=1)


def test_a_success_that_is_not_told_is_not_made_up():
    data, episodes = rollouts(agent(), Plain, SEEDS, num_envs=2)
    assert data.successes is None and episodes[0].success is None
    assert data.observations.shape == (3 * (LENGTH + 1), 3)


def test_a_critic_of_a_policys_own_episodes_is_ten_lines():
    data = played(keep=["x"]).dataset
    windows = Windows(data, 3, 0.9, returns="success_to_go")
    encode = fg.nn.Standardise(data.observations)

    def make_critic(key):
        return fg.EncodedCritic(
            fg.nn.critic_ensemble(2, encode.size, (3, 2), (8, 8), key=key), encode
        )

    learner = fg.train.ReturnRegression(make_critic)
    options: Any = {"validation": windows, "keep_best": ["loss"]}
    # optax raises a float to its integer step count, which strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"):
        state = fg.train.train(learner, windows, steps=20, key=jax.random.key(0), **options)
    guided = fg.guide(chunks().policy, state.result(learner), "qgf", weight=1.0)
    action = guided(jax.tree.map(lambda x: x[0], data.observations), key=jax.random.key(1))
    assert action.shape == (3, 2)
