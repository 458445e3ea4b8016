"""What environments of others do, and what evaluation makes of it."""

import dataclasses
import functools
import random
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest

import flowguide as fg
from flowguide._rollout import environments
from flowguide._rollout.by_name import make_environment, name_of
from flowguide.evaluate import Agent, evaluate

from ..helpers import without_typechecker
from .plain import agent, LENGTH, Plain, play, value_is


class Odd(Plain):
    """Observes something else than it says."""

    def step(self, action) -> Any:
        *_, info = super().step(action)
        wrong = self.told["wrong"] if self.steps == 3 else np.zeros(3)
        return wrong, 0.0, False, self.steps == LENGTH, info


@pytest.mark.parametrize(
    ("wrong", "shape"), [(np.zeros(4), r"(4,)"), (np.zeros((3, 1)), "(3, 1)"), (0.0, "()")]
)
def test_an_observation_of_another_shape_is_an_error_of_its_episode(wrong, shape):
    (episode,) = play(functools.partial(Odd, wrong=wrong))
    assert episode.error == (f"the observation of step 3 has the shape {shape}, and its space (3,)")


class Nested(Plain):
    observation_space = gymnasium.spaces.Dict(
        {"arm": Plain.observation_space, "pair": gymnasium.spaces.Tuple([Plain.observation_space])}
    )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.told.get("first", {"arm": np.zeros(3), "pair": (np.zeros(3),)}), {}

    def step(self, action) -> Any:
        *_, info = super().step(action)
        last = {"arm": np.zeros(3), "pair": (np.zeros(2),)}
        return last, 0.0, False, self.steps == LENGTH, info


def test_observations_in_parts_are_checked():
    of = Agent(fg.FlowPolicy(lambda t, a, o: a + o["arm"][:2] + o["pair"][0][:2], (2,)))
    (episode,) = play(Nested, of=of)
    assert episode.error == "the observation of step 1 has the shape (2,), and its space (3,)"
    (episode,) = play(functools.partial(Nested, first={"arm": np.zeros(3)}), of=of)
    assert episode.error is not None and "the observation of the reset has {'arm'}" in episode.error


class Quits(Plain):
    def step(self, action) -> Any:
        raise self.told["error"]


@pytest.mark.parametrize("error", [KeyboardInterrupt("window closed"), SystemExit(3)])
def test_an_environment_that_quits_ends_its_episode_alone(error):
    played = play(functools.partial(Quits, error=error), 1, 2)
    assert {episode.error for episode in played} == {f"{type(error).__name__}: {error}"}


class Remembers(Plain):
    """Its rewards depend on how often it was reset."""

    resets = 0

    def reset(self, *, seed=None, options=None):
        self.resets += 1
        return super().reset(seed=seed)

    def step(self, action) -> Any:
        observation, reward, *rest = super().step(action)
        return observation, reward + self.resets, *rest


@pytest.mark.parametrize("num_envs", [1, 2, None])
def test_an_environment_that_is_not_its_seeds_is_found_out(num_envs):
    with pytest.warns(UserWarning, match="An episode does not follow from its seed: played twice"):
        played = evaluate(agent(), Remembers, {"unguided": None}, range(4), num_envs=num_envs)
    assert len(played) == 4
    assert all("unguided, episode seed 0 gave" in episode.doubts[0] for episode in played)


class Drifts(Plain):
    """Running statistics: the same success, length and return, from other observations."""

    resets = 0

    def reset(self, *, seed=None, options=None):
        self.resets += 1
        return super().reset(seed=seed)

    def step(self, action) -> Any:
        _, _, *rest = super().step(action)
        return np.full(3, float(self.resets)), 0.0, *rest


def test_observations_that_drift_are_noticed():
    with pytest.warns(UserWarning, match="An episode does not follow from its seed.*observation #"):
        evaluate(agent(), Drifts, {"unguided": None}, range(4), num_envs=1)


class Gambles(Plain):
    """Draws from Python's own generator."""

    def step(self, action) -> Any:
        observation, reward, *rest = super().step(action)
        return observation, reward + random.random(), *rest


def test_pythons_generator_follows_from_the_seed():
    one, six = (
        {
            e.episode_seed: e.episode_return
            for e in evaluate(agent(), Gambles, {"unguided": None}, range(6), num_envs=num_envs)
        }
        for num_envs in (1, 6)
    )
    assert one == six and len(set(one.values())) == 6
    env = Gambles()
    with environments.global_state_kept():
        environments.reset(env, 3)
        first = random.random()
    state = random.getstate()
    with environments.global_state_kept():
        environments.reset(env, 3)
        assert random.random() == first
    assert random.getstate() == state


class Signed(Plain):
    """A simulation in C++, whose seeds are signed."""

    def reset(self, *, seed=None, options=None):
        np.array(seed, np.int32)
        return super().reset(seed=seed)


def test_environments_get_seeds_that_are_signed_integers():
    assert all(episode.error is None for episode in play(Signed, *range(12)))
    # OGBench's keep theirs, with all 32 bits: those of flowguide 0.1.0.
    assert not environments._is_ogbench(Signed())
    assert environments._is_ogbench(environments.make("pointmaze-medium-v0"))


@pytest.mark.parametrize("seed", [-1, 2**31, 2**32, 1.5, True, None, "1"])
def test_seeds_are_integers_below_two_to_the_31(seed):
    message = r"episode_seeds must be an integer from 0 to 2\*\*31"
    with without_typechecker(), pytest.raises(ValueError, match=message):
        play(Plain, 1, seed)


class Named:
    __name__ = "mine"

    def __call__(self):
        return Plain()


class Maker:
    """Functions that build environments, and look alike."""

    def __init__(self, number):
        self.number = number

    def __call__(self):
        return Plain(number=self.number)


METHODS = [
    lambda maker: maker,
    lambda maker: maker.__call__,
    lambda maker: functools.partial(maker.__call__),
    lambda maker: functools.wraps(value_is)(lambda: maker()),
]


def test_environments_of_one_name_are_told_apart():
    def near():
        return Plain()

    makers = [lambda: Plain(success=True), lambda: Plain(success=False), near]
    makers += [functools.partial(Plain, success=x) for x in (True, False)]
    makers += [method(Maker(x)) for x in (1, 2) for method in METHODS]
    names = [name_of(make) for make in makers]
    assert len(set(names)) == len(names) and name_of(Plain) == "Plain"
    successes = [functools.partial(Plain, success=x) for x in (True, False)]
    first = play(successes[0])
    again = play(successes[1], finished=first)
    assert [e.success for e in (*first, *again)] == [True, False]
    assert name_of(Named()) == "mine"


def test_an_environment_that_only_this_process_has_registered():
    gymnasium.register("flowguide-tests/Here-v0", entry_point=lambda **_: Plain(success=True))
    try:
        (episode,) = play("flowguide-tests/Here-v0")
        assert episode.success is True and episode.task == "flowguide-tests/Here-v0"
    finally:
        del gymnasium.registry["flowguide-tests/Here-v0"]
    with pytest.raises(ValueError, match="Nor is it registered with gymnasium"):
        make_environment("flowguide-tests/Here-v0")


class OnlyHere(Plain):
    """Cannot be built in another process."""

    allowed = False

    def __init__(self, **told):
        super().__init__(**told)
        if not self.allowed:
            raise RuntimeError("no licence in this process")


def test_an_environment_that_workers_cannot_build_says_why(monkeypatch):
    monkeypatch.setattr(OnlyHere, "allowed", True)
    message = "could not build its environment: RuntimeError: no licence in this process"
    with pytest.raises(RuntimeError, match=message) as caught:
        play(OnlyHere)
    assert "__main__" not in str(caught.value)


def test_two_policies_of_one_network_are_two_agents():
    policy: Any = agent().policy
    others = [
        dataclasses.replace(policy, num_steps=3),
        dataclasses.replace(policy, high=2.0),
        dataclasses.replace(policy, velocity=lambda t, a, o: 0.5 - a),
    ]
    models = {Agent(each).model for each in (policy, *others)}
    assert len(models) == 4 and Agent(policy).model == agent().model
    finished = play(Plain)
    for other in others:
        with pytest.raises(ValueError, match="that another policy or critic played"):
            play(Plain, of=Agent(other), finished=finished)
    assert play(Plain, finished=finished) == []


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_noise_is_that_of_the_episode_whatever_the_default_generator(impl):
    velocity = fg.nn.VelocityMLP(3, (2,), (8,), key=jax.random.key(0))
    critic = fg.nn.CriticMLP(3, (2,), (8,), key=jax.random.key(1))
    of = Agent(fg.FlowPolicy(velocity, (2,), num_steps=2), critic)
    guidances = {"unguided": None, "default": fg.qgf(), "K": fg.posterior(0.1)}

    def returns():
        played = evaluate(of, Plain, guidances, range(3), num_envs=1)
        return {e.key: e.episode_return for e in played}

    with jax.default_prng_impl(impl):
        found = returns()
    assert found == returns()


class OldGym(Plain):
    """The interface before gymnasium."""

    def reset(self, *, seed=None, options=None) -> Any:
        observation, info = super().reset(seed=seed)
        return observation if self.told.get("reset") else (observation, info)

    def step(self, action) -> Any:
        observation, reward, done, _, info = super().step(action)
        return observation, reward, done, info


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"reset": True}, "reset returned ndarray, and not (observation, info)"),
        ({}, "step returned 4 things, and not (observation, reward, terminated, truncated, info)"),
    ],
)
def test_environments_of_the_older_gym_are_told_so(told, said):
    (episode,) = play(functools.partial(OldGym, **told))
    assert episode.error is not None and said in episode.error and "shimmy" in episode.error


class Shaped(Plain):
    """Rewards as arrays of one number, as libraries of tensors give them."""

    def step(self, action) -> Any:
        observation, reward, *rest = super().step(action)
        return observation, np.array([reward]), *rest


def test_a_reward_may_be_an_array_of_one_number():
    (episode,) = play(Shaped)
    assert episode.error is None and episode.episode_return == pytest.approx(LENGTH * 0.25)
