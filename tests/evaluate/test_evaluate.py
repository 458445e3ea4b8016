"""Evaluation: paired episodes, whatever the number of environments, and whatever goes wrong."""

import logging
import multiprocessing
import os
import signal
import warnings
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowguide as fg
from flowguide._rollout import environments
from flowguide._rollout.player import EpisodePlayer, GO_ON
from flowguide.evaluate import Agent, evaluate, Pool

from ..helpers import HIDDEN
from .toys import Fault, Gusty, LENGTH

TASK = "pointmaze-medium-navigate-singletask-task1-v0"
GUIDANCES = {
    "unguided": None,
    "qgf 0.5": fg.qgf(0.5),
    "qgf 2": fg.qgf(2.0),
    "qgf norm 0.5": fg.qgf(fg.Normalised(0.5)),
    "best of 2": fg.best_of_n(2),
}
UNGUIDED = {"unguided": None}
SEEDS = [3, 1, 2, 4, 5, 6]


def agent(train_seed=0, size=3, horizon=4, hidden=HIDDEN):
    """A real network, whose sums could be rounded in another way in another batch."""
    policy_key, critic_key = jax.random.split(jax.random.key(train_seed))
    velocity = fg.nn.VelocityMLP(size, (horizon, 2), hidden, key=policy_key)
    critic = fg.nn.critic_ensemble(2, size, (horizon, 2), hidden, key=critic_key)
    return Agent(fg.FlowPolicy(velocity, (horizon, 2), num_steps=4), critic, train_seed)


def some(*labels):
    return {label: GUIDANCES[label] for label in labels}


def in_order(episodes):
    return sorted(episodes, key=lambda episode: episode.key)


@pytest.fixture(scope="module")
def expected():
    """Every episode of two agents, played by one worker, so one after the other."""
    return in_order(evaluate([agent(0), agent(1)], Fault(), GUIDANCES, SEEDS, num_envs=1))


def test_every_agent_and_condition_meets_every_seed_once(expected):
    assert len({episode.key for episode in expected}) == len(expected) == 60
    assert {episode.episode_seed for episode in expected} == set(SEEDS)
    assert {episode.task for episode in expected} == {"Fault"}
    assert any(e.success for e in expected) and not all(e.success for e in expected)
    assert all(e.length == LENGTH for e in expected if not e.success)
    assert all(e.episode_return < 0 and e.error is None for e in expected)


@pytest.mark.parametrize("num_envs", [2, 5])
def test_the_same_episodes_whatever_the_number_of_environments(expected, num_envs):
    agents = [agent(0), agent(1)]
    assert in_order(evaluate(agents, Fault(), GUIDANCES, SEEDS, num_envs=num_envs)) == expected


def test_the_same_lines_from_one_and_two_workers_of_mujoco():
    one, two = (
        in_order(evaluate(agent(size=2), TASK, some("unguided", "qgf 0.5"), [1], num_envs=count))
        for count in (1, 2)
    )
    assert [episode.to_json() for episode in one] == [episode.to_json() for episode in two]
    assert {episode.length for episode in one} == {1000}


def test_what_is_played_does_not_depend_on_what_else_is(expected):
    alone = evaluate(agent(1), Fault(), some("qgf 2"), SEEDS[:2], num_envs=1)
    assert in_order(alone) == [episode for episode in expected if episode.key in keys(alone)]


def keys(episodes):
    return {episode.key for episode in episodes}


def test_finished_episodes_are_not_played_again_and_a_pool_is_kept(expected):
    finished = [episode for episode in expected if episode.episode_seed != 3]
    seen = []
    agents = [agent(0), agent(1)]
    with Pool() as pool:
        options = {"num_envs": 2, "finished": finished, "pool": pool}
        played = evaluate(agents, Fault(), GUIDANCES, SEEDS, on_episode=seen.append, **options)
        processes = {process.pid for process in multiprocessing.active_children()}
        assert evaluate(agents, Fault(), GUIDANCES, SEEDS, **options) != []
        assert {process.pid for process in multiprocessing.active_children()} == processes
    assert seen == played and {episode.episode_seed for episode in played} == {3}
    assert in_order(played + finished) == expected
    assert evaluate(agents, Fault(), GUIDANCES, SEEDS, finished=expected) == []
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("kind", ["raise", "nan", "reward"])
def test_an_environment_that_goes_wrong_ends_its_own_episode_alone(expected, kind):
    played = in_order(evaluate([agent(0), agent(1)], Fault(kind), GUIDANCES, SEEDS, num_envs=3))
    said = {
        "raise": "RuntimeError: the simulation diverged",
        "nan": "the observation of step 5 is not finite",
        "reward": "the reward of step 5 is not finite",
    }
    wrong = [episode for episode in played if episode.error is not None]
    assert {episode.error for episode in wrong} == {said[kind]}
    assert 0 < len(wrong) < len(played)
    others = [episode for episode in played if episode.error is None]
    assert others == [episode for episode in expected if episode.key in keys(others)]
    # What ended with an error is missing, so it is played again.
    again = evaluate([agent(0), agent(1)], Fault(), GUIDANCES, SEEDS, num_envs=3, finished=played)
    assert in_order([*again, *others]) == expected


def test_actions_that_are_not_finite_are_an_error():
    policy = fg.FlowPolicy(lambda t, a, o: a * jnp.nan, (4, 2), num_steps=2)
    (played,) = evaluate(Agent(policy), Fault(), UNGUIDED, [1], num_envs=1)
    assert played.error == "the policy's actions are not finite after 0 steps"


@pytest.mark.parametrize(("kind", "timeout"), [("die", 60.0), ("hang", 3.0)])
def test_a_worker_that_dies_or_hangs_is_replaced(expected, tmp_path, kind, timeout, caplog):
    fault = Fault(kind, tmp_path / "struck")
    agents = [agent(0), agent(1)]
    with caplog.at_level(logging.WARNING):
        played = evaluate(agents, fault, GUIDANCES, SEEDS, num_envs=4, timeout=timeout)
    assert fault.marker is not None and fault.marker.exists()
    assert in_order(played) == expected
    said = "died (exit code -9)" if kind == "die" else "did not answer for 3 s"
    assert said in caplog.text and "plays the episode again" in caplog.text
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed_from_outside_is_replaced(expected):
    killed = []

    def kill_one(episode):
        if not killed:
            killed.append(multiprocessing.active_children()[0])
            os.kill(killed[0].pid, signal.SIGKILL)

    agents = [agent(0), agent(1)]
    played = evaluate(
        agents, Fault(), GUIDANCES, SEEDS, num_envs=3, on_episode=kill_one, timeout=60.0
    )
    assert killed and in_order(played) == expected


@pytest.mark.parametrize("num_envs", [2, 6])
def test_an_episode_that_kills_every_worker_is_an_error_in_the_end(expected, num_envs):
    played = evaluate(agent(0), Fault("die"), UNGUIDED, SEEDS, num_envs=num_envs)
    wrong = [episode for episode in played if episode.error is not None]
    # Others of its process died with it three times, and none is blamed for that.
    raised = evaluate(agent(0), Fault("raise"), UNGUIDED, SEEDS, num_envs=1)
    assert keys(wrong) == keys(episode for episode in raised if episode.error is not None)
    assert wrong and {e.error for e in wrong} == {"its worker process died (exit code -9)"}
    others = in_order(episode for episode in played if episode.error is None)
    assert others == [episode for episode in expected if episode.key in keys(others)]
    assert len(others) + len(wrong) == len(SEEDS)


def test_environments_of_one_process_do_not_share_the_global_generator():
    """As OGBench's teleport mazes, which draw from it while they step."""
    one, many = (
        in_order(evaluate(agent(0), Gusty(), some("unguided", "qgf 0.5"), SEEDS, num_envs=count))
        for count in (1, 12)
    )
    assert one == many
    assert len({episode.episode_return for episode in one}) > 6


def test_success_is_unknown_where_the_environment_does_not_tell():
    played = evaluate(agent(), Fault(tells_success=False), UNGUIDED, [1, 2], num_envs=2)
    assert [episode.success for episode in played] == [None, None]


def test_fewer_actions_of_each_chunk():
    policy = fg.FlowPolicy(lambda t, a, o: o[0] - a, (4, 2), num_steps=1)
    one, all_four = (
        evaluate(Agent(policy), Fault(), UNGUIDED, [1], num_envs=1, replan=replan)[0]
        for replan in (1, None)
    )
    assert (one.replan, all_four.replan) == (1, None)
    assert one.episode_return != all_four.episode_return


def test_any_gymnasium_environment():
    policy = fg.FlowPolicy(lambda t, a, o: o[:1] - a, (1,), low=-2.0, high=2.0, num_steps=2)
    played = evaluate(Agent(policy), "Pendulum-v1", UNGUIDED, [0, 1], num_envs=2)
    assert [episode.length for episode in played] == [200, 200]
    assert len({episode.episode_return for episode in played}) == 2
    assert {episode.task for episode in played} == {"Pendulum-v1"}


def test_goals_take_turns():
    policy = fg.FlowPolicy(lambda t, a, o: o[2:] - o[:2] - a, (2,), num_steps=1)
    task = "pointmaze-medium-navigate-v0"
    played = evaluate(Agent(policy), task, UNGUIDED, [0, 4, 5], goal_conditioned=True, num_envs=2)
    assert {episode.episode_seed: episode.goal for episode in played} == {0: 1, 4: 5, 5: 1}


@pytest.mark.parametrize(
    ("environment", "guidances", "options", "message"),
    [
        ("nothing-v0", UNGUIDED, {}, "no OGBench environment.*registered with gymnasium"),
        ("CartPole-v1", UNGUIDED, {}, "Actions must be in a Box"),
        ("Pendulum-v1", UNGUIDED, {}, r"shape \(1,\), and the policy's \(4, 2\)"),
        (TASK, UNGUIDED, {}, r"cannot act on the environment's observations"),
        (Fault(), UNGUIDED, {"replan": 5}, "replan is 5, and a chunk has 4"),
        (Fault(), UNGUIDED, {"num_envs": -1}, "num_envs must be an integer of at least 1"),
        (
            Fault(),
            {"mine": [fg.best_of_n(2), fg.qgf(1.0)]},
            {},
            "'mine' cannot be played: Gradient",
        ),
        (Fault(), {"mine": "qfg"}, {}, "'mine' cannot be played: Unknown method 'qfg'"),
        (Fault(), {"mine": lambda policy, critic: 3}, {}, "expected a policy .*, got int"),
        (Fault(), {"unguided": fg.qgf(1.0)}, {}, "expected None under it, got qgf"),
    ],
)
def test_what_cannot_be_played_is_refused(environment, guidances, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate(agent(), environment, guidances, [1], **options)


def test_a_policy_alone_is_only_unguided():
    with pytest.raises(ValueError, match="'qgf 0.5' cannot be played: .*critic.*got None"):
        evaluate(Agent(agent().policy), Fault(), some("qgf 0.5"), [1])


def test_what_is_no_mapping_is_refused():
    guidances: Any = [fg.qgf(0.5)]
    with pytest.raises(TypeError, match="mapping from labels to guidances.*got list|Mapping"):
        evaluate(agent(), Fault(), guidances, [1])


def test_chunks_of_different_lengths_need_a_replan():
    agents = [agent(0), agent(1, horizon=2)]
    with pytest.raises(ValueError, match=r"chunks have \[2, 4\] actions. replan says"):
        evaluate(agents, Fault(), UNGUIDED, [1])
    assert len(evaluate(agents, Fault(), UNGUIDED, [1], replan=2, num_envs=2)) == 2


def test_a_chunk_is_its_actions_one_by_one():
    player = EpisodePlayer(environments.make(TASK), 3)
    alone = environments.make(TASK)
    player.step({"actions": np.zeros((3, 2), np.float32), "seed": np.array(7)})
    environments.reset(alone, 7)
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 3, 2)).astype(np.float32)
    info = {}
    for chunk in actions:
        observation, *_, info = player.step({"actions": chunk, "seed": np.array(GO_ON)})
        expected = [alone.step(action)[0] for action in chunk]
        np.testing.assert_array_equal(observation, expected[-1])
    assert info["length"] == 15 and info["return"] == -15


def test_a_chunk_stops_at_the_end_of_the_episode():
    env = gymnasium.wrappers.TimeLimit(environments.make(TASK), 4)
    player = EpisodePlayer(env, 3)
    chunk = np.zeros((3, 2), np.float32)
    player.step({"actions": chunk, "seed": np.array(0)})
    go_on = {"actions": chunk, "seed": np.array(GO_ON)}
    assert player.step(go_on)[2] is False
    end = player.step(go_on)
    assert end[2] is True and end[4]["length"] == 4
    # And nothing happens after it.
    assert player.step(go_on)[4] == end[4]


def test_lines_say_what_was_played(expected):
    """The guidance, the steps, the cost and what was dropped."""
    told = {e.condition.label: (e.guidance, e.steps, e.cost) for e in expected}
    assert told == {
        "unguided": ("unguided", 4, fg.Cost(4)),
        "qgf 0.5": ("qgf(weight=0.5)", 4, fg.Cost(4, critic_gradients=4)),
        "qgf 2": ("qgf(weight=2)", 4, fg.Cost(4, critic_gradients=4)),
        "qgf norm 0.5": (
            *(fg.describe(fg.qgf(fg.Normalised(0.5))), 4),
            fg.Cost(4, critic_gradients=4),
        ),
        "best of 2": ("best_of_n(n=2)", 4, fg.Cost(8, critic_values=2)),
    }
    assert {e.dropped for e in expected} == {0.0}
    weights = {e.condition.label: (e.condition.weight, e.condition.unit) for e in expected}
    assert weights["qgf 2"] == (2.0, "raw") and weights["qgf norm 0.5"] == (0.5, "norm")


class Counting:
    """A velocity field that counts how often it is traced; two are equal, as functions are not."""

    traced = 0

    def __call__(self, t, action, observation):
        type(self).traced += 1
        return observation[:2][None] - action

    def __hash__(self):
        return 0

    def __eq__(self, other):
        return type(other) is Counting


def critic(observation, action):
    return -jnp.sum((action - 0.5) ** 2)


def traces(guidances, **options):
    Counting.traced = 0
    policy = fg.FlowPolicy(Counting(), (4, 2), num_steps=3)
    evaluate(Agent(policy, critic), Fault(), guidances, [1, 2], num_envs=2, **options)
    return Counting.traced


def test_conditions_that_differ_in_weights_alone_share_a_program():
    one = traces({"qgf 1": fg.qgf(1.0)})
    assert one > 0
    # It is compiled already: for other numbers, for several of them, and for arrays as well.
    checked = traces({"qgf 1": fg.qgf(1.0)})
    assert checked < one
    assert traces({"qgf 2": fg.qgf(2.0), "qgf 3": fg.qgf(3.0), "qgf 4": fg.qgf(4.0)}) == checked
    array = jnp.array([[0.5, 0.1]])
    assert traces({"a": fg.qgf(array)}) > checked
    assert traces({"a": fg.qgf(2 * array), "b": fg.qgf(3 * array)}) == checked
    rules = {f"qgf local {k:g}": fg.qgf(fg.Kappa(k)) for k in (1.0, 2.0)}
    first, again = traces(rules), traces({**rules, "mine": fg.qgf(fg.Kappa(7.0))})
    assert first > again == checked


def test_large_arrays_of_a_guidance_are_told_once_for_all_rows():
    """A network that comes with a guidance, and two of them in one program."""
    keys = jax.random.split(jax.random.key(5))
    others = [fg.nn.critic_ensemble(2, 3, (4, 2), (80, 80), key=key) for key in keys]
    guidances: dict[str, Any] = {
        str(i): lambda policy, critic, other=other: fg.qgf(3.0)(policy, other)
        for i, other in enumerate(others)
    }
    both = evaluate(agent(), Fault(), guidances, SEEDS[:2], num_envs=2)
    for i, other in enumerate(others):
        alone = evaluate(Agent(agent().policy, other), Fault(), {str(i): fg.qgf(3.0)}, SEEDS[:2])
        found = [e.episode_return for e in in_order(both) if e.condition.label == str(i)]
        np.testing.assert_allclose(found, [e.episode_return for e in in_order(alone)], rtol=1e-5)


def broken(observation, action):
    """A critic whose gradient is not finite in a half of the space of actions."""
    return jnp.sqrt(action[0, 0])


def test_what_was_dropped_is_recorded_and_said_once():
    policy = agent().policy
    guidances = {"unguided": None, "qgf 1": fg.qgf(1.0), "ood 1": fg.ood(1.0)}
    with pytest.warns(UserWarning, match=r"left unguided.*: (qgf|ood) 1 \([\d.]+%\), ") as warned:
        played = evaluate(Agent(policy, broken), Fault(), guidances, SEEDS, num_envs=3)
    assert len(warned) == 1
    shares: dict[str, list[float]] = {label: [] for label in guidances}
    for episode in played:
        assert episode.dropped is not None and 0 <= episode.dropped <= 1
        shares[episode.condition.label].append(episode.dropped)
    assert max(shares["unguided"]) == 0
    assert max(shares["qgf 1"]) > 0 and max(shares["ood 1"]) > 0
    # It does not depend on who played.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = evaluate(Agent(policy, broken), Fault(), guidances, SEEDS, num_envs=1)
    assert in_order(alone) == in_order(played)


def test_a_policy_that_does_not_say_what_it_costs():
    class Constant(fg.AbstractPolicy):
        action: jax.Array

        bounds: Any = (np.array(-1.0), np.array(1.0))
        noise_shape: Any = (2,)

        def from_noise(self, noise, observation):
            return self.action

        def trace(self, noise, observation):
            raise NotImplementedError

    (played,) = evaluate(Agent(Constant(jnp.ones(2))), Fault(), UNGUIDED, [1], num_envs=1)
    assert (played.steps, played.cost, played.dropped) == (None, None, None)


def test_finished_episodes_of_another_guidance_are_refused(expected):
    finished = [e for e in expected if e.condition.label == "qgf 2"]
    with pytest.raises(ValueError, match=r"qgf\(weight=2\) under the label 'qgf 2'.*ood\(weight"):
        evaluate(agent(), Fault(), {"qgf 2": fg.ood(2.0)}, SEEDS, finished=finished)
