"""How episodes are played: success, limits, and the range of actions."""

import functools
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest

import flowguide as fg
from flowguide._rollout import player
from flowguide._rollout.rules import as_action
from flowguide.evaluate import Agent

from ..helpers import without_typechecker
from .plain import agent, LENGTH, Plain, play, value_is


@pytest.mark.parametrize("value", [True, 1, 1.0, np.bool_(True), np.float32(1), np.array([True])])
@pytest.mark.parametrize("key", ["success", "is_success"])
def test_a_success_is_read(value, key):
    (episode,) = play(value_is(value, key))
    assert episode.success is True and episode.error is None


@pytest.mark.parametrize("value", [False, 0, 0.0, np.array([False])])
def test_a_failure_is_read(value):
    (episode,) = play(value_is(value))
    assert episode.success is False and episode.error is None


@pytest.mark.parametrize(
    "value", [{"task": False}, [False, True], np.nan, "False", None, 2, "", [], 0.5]
)
def test_what_is_no_boolean_is_an_error_of_its_episode(value):
    (episode,) = play(value_is(value))
    assert episode.error is not None and episode.success is None
    assert "info['success'] must be True or False, got" in episode.error
    assert repr(value) in episode.error


def test_solved_at_the_end_or_at_any_step():
    fickle = functools.partial(Plain, successes=[False, False, True, False, False, False])
    (end,) = play(fickle)
    (any_step,) = play(fickle, success_at="any")
    assert (end.success, end.success_at) == (False, "end")
    assert (any_step.success, any_step.success_at) == (True, "any")
    message = "success_at must be 'end' or 'any', got 'some'"
    with without_typechecker(), pytest.raises(ValueError, match=message):
        play(fickle, success_at="some")
    with pytest.raises(ValueError, match="other rules: success_at 'end' there, 'any' here"):
        play(fickle, success_at="any", finished=[end])


class Endless(Plain):
    def step(self, action) -> Any:
        return np.zeros(3), 0.0, False, False, {"success": True}


def test_an_episode_that_does_not_end(monkeypatch):
    (episode,) = play(Endless)
    assert episode.error == (
        "the episode has not ended after 10,000 steps: max_episode_steps says where it does"
    )
    (episode,) = play(Endless, max_episode_steps=7)
    assert (episode.error, episode.length, episode.success) == (None, 7, True)
    assert episode.max_episode_steps == 7
    with pytest.raises(ValueError, match="max_episode_steps must be an integer of at least 1"):
        play(Endless, max_episode_steps=0)


def test_a_limit_can_be_longer_than_the_environments_own():
    of = Agent(fg.FlowPolicy(lambda t, a, o: -a, (1,), num_steps=1, low=-2.0, high=2.0))
    (own,), (longer,) = (
        play("Pendulum-v1", of=of, max_episode_steps=limit) for limit in (None, 230)
    )
    assert (own.length, longer.length) == (200, 230)


def test_a_limit_of_a_wrapper_can_be_long(monkeypatch):
    monkeypatch.setattr(player, "LONGEST", 3)

    def error(env):
        one = player.EpisodePlayer(env, 1)
        return player.play_episode(one, 0, lambda observation, decision: np.zeros(2))["error"]

    assert "has not ended after 3 steps" in error(Plain())
    assert not error(gymnasium.wrappers.TimeLimit(Plain(), 20))


class Precise(Plain):
    """Asserts that an action is in its space of float64."""

    action_space = gymnasium.spaces.Box(-np.pi, np.pi, (2,), np.float64)

    def step(self, action) -> Any:
        assert self.action_space.contains(action), action
        return super().step(action)


def test_an_action_at_the_bound_is_inside():
    of = agent(-np.pi, np.pi, value=9.0)
    assert float(np.float32(np.pi)) > np.pi
    (episode,) = play(Precise, of=of)
    assert episode.error is None and episode.episode_return == pytest.approx(LENGTH * np.pi)
    box: Any = Precise.action_space
    assert as_action(box, np.array([np.pi, -np.pi], np.float32)).dtype == np.float64


class Wide(Plain):
    action_space = gymnasium.spaces.Box(0.0, 5.0, (2,), np.float32)

    def step(self, action) -> Any:
        assert self.action_space.contains(action), action
        return super().step(action)


def test_a_policy_of_another_range_is_told_and_can_be_rescaled():
    with pytest.warns(UserWarning, match=r"are in \[-1, 1\], the environment takes \[0, 5\]"):
        (clipped,) = play(Wide, of=agent(value=-0.5))
    assert clipped.episode_return == 0 and "actions outside are clipped" in clipped.doubts[0]
    (mapped,) = play(Wide, of=agent(value=-0.5), rescale=True)
    assert mapped.episode_return == pytest.approx(LENGTH * 1.25) and not mapped.doubts
    assert mapped.rescale
    with pytest.warns(UserWarning, match="some of them are never played"):
        play(Wide, of=agent(1.0, 2.0))
    with pytest.raises(ValueError, match="the policy has no bounds"):
        play(Wide, of=agent(-np.inf, np.inf), rescale=True)
    # Of a policy without bounds it is said, too; there is no range that could be mapped.
    with pytest.warns(UserWarning, match=r"are in \[-inf, inf\], .* outside are clipped\.") as told:
        play(Wide, of=agent(-np.inf, np.inf))
    assert not any("rescale" in str(each.message) for each in told)
    # Where they agree, nothing is said, and nothing changes.
    (same,), (again,) = play(Wide, of=agent(0.0, 5.0)), play(Wide, of=agent(0, 5), rescale=True)
    assert not same.doubts and same.episode_return == pytest.approx(again.episode_return)


class Constant(fg.AbstractPolicy):
    """A policy of one's own, which is no flow."""

    @property
    def bounds(self):
        return np.full(2, -1.0, np.float32), np.full(2, 1.0, np.float32)

    @property
    def noise_shape(self):
        return (2,)

    def from_noise(self, noise, observation):
        return jnp.full(2, -0.5) + 0 * noise

    def trace(self, noise, observation):
        raise NotImplementedError


def test_a_policy_that_is_no_flow_has_a_range_too():
    with pytest.warns(UserWarning, match=r"are in \[-1, 1\], the environment takes \[0, 5\]"):
        play(Wide, of=Agent(Constant()))
    (mapped,) = play(Wide, of=Agent(Constant()), rescale=True)
    assert mapped.episode_return == pytest.approx(LENGTH * 1.25)


def test_chunks_are_rescaled():
    policy = fg.FlowPolicy(
        lambda t, a, o: jnp.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]) - a, (3, 2), num_steps=1
    )
    (episode,) = play(Wide, of=Agent(policy), rescale=True)
    assert episode.episode_return == pytest.approx(2 * (0.0 + 5.0 + 2.5))


class Solved(Plain):
    def reset(self, *, seed=None, options=None):
        observation, _ = super().reset(seed=seed)
        return observation, {"success": self.told["at_reset"]}

    def info(self):
        return {"success": True}


def test_what_was_solved_when_it_began_says_nothing():
    with pytest.warns(UserWarning, match="2 of 2 episodes were solved when they began"):
        played = play(functools.partial(Solved, at_reset=True), 1, 2)
    assert all(
        episode.success and "solved when it began" in episode.doubts[0] for episode in played
    )
    (episode,) = play(functools.partial(Solved, at_reset=False))
    assert episode.success and not episode.doubts


class Byte(Plain):
    action_space = gymnasium.spaces.Box(0, 255, (2,), np.uint8)

    def step(self, action) -> Any:
        assert action.dtype == np.uint8
        return super().step(action)


@pytest.mark.parametrize(("value", "played"), [(-1.0, 0.0), (256.0, 255.0), (7.0, 7.0)])
def test_whole_numbers_do_not_wrap(value, played):
    with pytest.warns(UserWarning, match="actions outside are clipped"):
        (episode,) = play(Byte, of=agent(-300.0, 300.0, value=value))
    assert episode.episode_return == LENGTH * played


def test_a_success_that_is_not_known_at_the_reset():
    (episode,) = play(functools.partial(Solved, at_reset=None))
    assert episode.success and episode.error is None and not episode.doubts
