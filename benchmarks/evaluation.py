"""Times evaluation against bare workers that step random actions, and against the published loop.

Bare workers play gymnasium's own environment with random actions, and nothing of flowguide runs in
them. The published loop is that of QGF (arXiv 2606.11087): five environments that step together,
one action at a time, in lockstep from the first reset to the last end, and the weights one after
the other. Networks are random: no episode ends early, and all play the same number of steps.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --envs-per-core 1 2 4 8 --groups 1 2 --batch-sizes 8 16
"""

import contextlib
import copy
import dataclasses
import functools
import itertools
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import gymnasium
import jax
import numpy as np
import tyro
from measure import print_machine

import flowguide
from flowguide import nn
from flowguide._agent.act import act
from flowguide._agent.guided import put_together
from flowguide._rollout.by_name import make_environment
from flowguide._rollout.environments import quiet
from flowguide._rollout.rules import Rules
from flowguide._rollout.workers import Workers
from flowguide._system.processes import (
    cores,
    START_METHOD,
    start_worker,
    worker_context,
)
from flowguide.evaluate import (
    _evaluate as evaluation,
    Agent,
    cross,
    evaluate,
    Pool,
)

# The weights of QGF's README.
WEIGHTS = (0.004, 0.008, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12)
HORIZON, FLOW_STEPS = 5, 10


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is played, and with how many environments at a time."""

    tasks: tuple[str, ...] = (
        "cube-single-play-singletask-task1-v0",
        "pointmaze-medium-navigate-singletask-task1-v0",
    )
    """OGBench tasks."""

    networks: tuple[str, ...] = ("256x3", "512x4")
    """Hidden sizes, as WIDTHxDEPTH."""

    envs_per_core: tuple[int, ...] = (8,)
    """Environments for each core, of which each has a process."""

    groups: tuple[int, ...] = (2,)
    """Groups of environments: with 2, one steps while the actions of the other are chosen."""

    batch_sizes: tuple[int, ...] = (8,)
    """Rows of each call of the policy."""

    weights: tuple[float, ...] = WEIGHTS
    """Guidance weights."""

    published: tuple[int, ...] = (5,)
    """Environments of the published loop: 5 as in QGF, 1 as in FQL and OGBench."""

    episodes: int = 5
    """Episodes of each weight, a multiple of the environments of the published loop."""

    seconds: float = 5.0
    """How long bare workers run in each round."""

    rounds: int = 5
    """Rounds, in which all take turns."""


class Bare(gymnasium.Wrapper):
    """Plays several actions in one step, and begins again where an episode ends."""

    def __init__(self, env: gymnasium.Env, actions: int):
        super().__init__(env)
        box: Any = env.action_space
        shape = (actions, *box.shape)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, shape, np.float32)

    def step(self, action: np.ndarray):
        observation: Any = None
        for single in action:
            observation, _, terminated, truncated, _ = self.env.step(single)
            if terminated or truncated:
                observation, _ = self.env.reset()
        return observation, 0.0, False, False, {}


@dataclasses.dataclass(frozen=True)
class MakeBare:
    """Builds an environment in a worker; without a number of actions, gymnasium's own."""

    task: str
    actions: int | None = None

    def __call__(self) -> gymnasium.Env:
        start_worker()
        # OGBench's own resets warn of the bounds of its action space.
        warnings.simplefilter("ignore")
        env = make_environment(self.task)
        return env if self.actions is None else Bare(env, self.actions)


def vector(task: str, count: int, actions: int | None = None) -> gymnasium.vector.AsyncVectorEnv:
    worker_context()
    with quiet():
        env = gymnasium.vector.AsyncVectorEnv(
            [MakeBare(task, actions)] * count, context=START_METHOD
        )
        env.reset(seed=0)
    return env


class Groups(Pool):
    """A pool of that many groups, which says how long its processes took to start."""

    def __init__(self, groups: int):
        super().__init__()
        self._groups, self.seconds = groups, 0.0

    def get(self, make: Any, count: int, timeout: float) -> list[Workers]:
        if not self._workers:
            start = time.perf_counter()
            sizes = [(count + i) // self._groups for i in range(self._groups)]
            processes = max(cores() // self._groups, 1)
            self._workers = [Workers(make, size, processes, timeout) for size in sizes if size]
            self.seconds = time.perf_counter() - start
        return self._workers


class Preparation:
    """How long `evaluate` needs in each call before the first episode, which is no playing."""

    def __init__(self):
        self.seconds, self._make_player = 0.0, evaluation._make_player
        evaluation._make_player = self

    def __call__(self, *arguments: Any) -> Any:
        start = time.perf_counter()
        made = self._make_player(*arguments)
        self.seconds = time.perf_counter() - start
        return made


PREPARATION = Preparation()


def bare_rate(env: gymnasium.vector.AsyncVectorEnv, seconds: float) -> float:
    """Steps in a second."""
    shape = env.action_space.shape
    assert shape is not None
    rng = np.random.default_rng(0)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        env.step(rng.uniform(-1, 1, shape).astype(np.float32))
        steps += shape[0] * shape[1]
    return steps / (time.perf_counter() - start)


def evaluation_rate(
    agent: Agent, task: str, settings: Settings, num_envs: int, batch_size: int, pool: Pool
) -> tuple[float, float]:
    """Steps and episodes in a second."""
    guidances = cross(["qgf"], weights=settings.weights)
    del guidances["unguided"]
    seeds = range(settings.episodes)
    start = time.perf_counter()
    played = evaluate(
        agent, task, guidances, seeds, num_envs=num_envs, batch_size=batch_size, pool=pool
    )
    seconds = time.perf_counter() - start - PREPARATION.seconds
    assert all(episode.error is None for episode in played)
    return sum(episode.length for episode in played) / seconds, len(played) / seconds


class Published:
    """The published loop: the weights one after the other, all environments in lockstep."""

    def __init__(self, agent: Agent, task: str, count: int):
        self._count = count
        self._env = vector(task, count)
        self._key = jax.random.key(0)
        policy, critic = agent.policy, agent.critic
        assert critic is not None

        @eqx.filter_jit
        def choose(weight, observations, key):
            guided = flowguide.guide(policy, critic, "qgf", weight=weight)
            keys = jax.random.split(key, observations.shape[0])
            return jax.vmap(lambda o, k: guided(o, key=k))(observations, keys)

        self._choose = choose
        observations, _ = self._env.reset()
        for rows in range(1, count + 1):
            # It is called with as many as need a chunk, and compiled for each number.
            self._actions(WEIGHTS[0], observations[:rows])

    def _actions(self, weight: float, observations: np.ndarray) -> np.ndarray:
        self._key, key = jax.random.split(self._key)
        return np.asarray(self._choose(np.float32(weight), observations.astype(np.float32), key))

    def rate(self, settings: Settings, copies: bool) -> tuple[float, float]:
        """Steps and episodes in a second, with all transitions copied and kept as there, or not."""
        steps, start = 0, time.perf_counter()
        for weight in settings.weights:
            for _ in range(settings.episodes // self._count):
                steps += self._play(weight, copies)
        seconds = time.perf_counter() - start
        return steps / seconds, len(settings.weights) * settings.episodes / seconds

    def _play(self, weight: float, copies: bool) -> int:
        observations, _ = self._env.reset()
        chunks: list[list[np.ndarray]] = [[] for _ in range(self._count)]
        kept: list[Any] = []
        active = np.ones(self._count, bool)
        steps = 0
        while active.any():
            empty = [i for i, chunk in enumerate(chunks) if not chunk]
            if empty:
                for i, chunk in zip(empty, self._actions(weight, observations[empty]), strict=True):
                    chunks[i] = list(chunk)
            actions = np.stack([chunk.pop(0) for chunk in chunks])
            found = self._env.step(actions)
            for i in np.nonzero(active)[0]:
                steps += 1
                if copies:
                    info = {name: x[i] for name, x in found[4].items() if name[0] != "_"}
                    step = observations[i], found[0][i], actions[i], found[1][i], info
                    kept.append(copy.deepcopy(step))
            ended = active & (found[2] | found[3])
            for i in np.nonzero(ended)[0]:
                chunks[i] = []
            active &= ~ended
            observations = found[0]
        return steps

    def close(self) -> None:
        self._env.close()


def make_agent(task: str, network: str) -> tuple[Agent, int, int]:
    """Random networks, the size of an observation, and the steps of an episode."""
    env = make_environment(task)
    observation, action = env.observation_space.shape, env.action_space.shape
    assert observation is not None and action is not None and env.spec is not None
    length = env.spec.max_episode_steps
    assert length is not None
    env.close()
    width, depth = (int(number) for number in network.split("x"))
    hidden, shape = (width,) * depth, (HORIZON, *action)
    keys = jax.random.split(jax.random.key(0))
    velocity = nn.VelocityMLP(observation[0], shape, hidden, key=keys[0])
    # As `flowguide train` leaves them: apart where that is faster.
    stacked = jax.default_backend() != "cpu"
    critic = nn.critic_ensemble(2, observation[0], shape, hidden, stacked=stacked, key=keys[1])
    policy = flowguide.FlowPolicy(velocity, shape, num_steps=FLOW_STEPS)
    return Agent(policy, critic), observation[0], length


def policy_rate(agent: Agent, size: int, batch_size: int, seconds: float) -> tuple[float, float]:
    """Environment steps in a second that the policy alone has actions for; seconds to compile."""
    observations = np.zeros((batch_size, size), np.float32)
    guided = put_together(agent, "qgf", flowguide.qgf(WEIGHTS[0]))

    def call(decision: int) -> None:
        act(
            [guided] * batch_size,
            observations,
            range(batch_size),
            [decision] * batch_size,
            batch_size=batch_size,
        )

    start = time.perf_counter()
    call(0)
    compiling = time.perf_counter() - start
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        call(calls)
        calls += 1
    return calls * batch_size * HORIZON / (time.perf_counter() - start), compiling


class Comparison:
    """All that takes turns for one task and one network; a context manager."""

    def __init__(self, settings: Settings, task: str, network: str):
        self.settings, self.task = settings, task
        self.agent, self.size, self.length = make_agent(task, network)
        self.cores = cores()
        self.calls: dict[str, Callable[[], tuple[float, float]]] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "Comparison":
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self._open.close()

    def add_bare(self, name: str, workers: int, actions: int) -> None:
        env = vector(self.task, workers, actions)
        self._open.callback(env.close)
        self._add_steps(name, lambda: bare_rate(env, self.settings.seconds))

    def add_policy(self, batch_size: int) -> None:
        arguments = self.agent, self.size, batch_size
        _, compiling = policy_rate(*arguments, 0.0)
        print(f"batch {batch_size}: {compiling:.1f} s to compile")
        name = f"the policy alone, batch {batch_size}"
        self._add_steps(name, lambda: policy_rate(*arguments, self.settings.seconds)[0])

    def _add_steps(self, name: str, steps: Callable[[], float]) -> None:
        self.calls[name] = lambda: ((rate := steps()), rate / self.length)

    def add_evaluations(self, per_core: int, groups: int) -> None:
        pool, num_envs = Groups(groups), per_core * self.cores
        rules = Rules()
        pool.get(evaluation._make_player([self.agent], self.task, rules), num_envs, 120.0)
        self._open.callback(pool.close)
        print(f"{num_envs} environments in {groups} groups: {pool.seconds:.1f} s to start")
        for batch_size in self.settings.batch_sizes:
            name = f"flowguide, {per_core} a core, {groups} groups, batch {batch_size}"
            arguments = self.agent, self.task, self.settings, num_envs, batch_size, pool
            self.calls[name] = functools.partial(evaluation_rate, *arguments)

    def add_published(self, count: int) -> None:
        loop = Published(self.agent, self.task, count)
        self._open.callback(loop.close)
        name = f"published, {count} environments"
        self.calls[name] = functools.partial(loop.rate, self.settings, True)
        self.calls[f"{name}, without its copies"] = functools.partial(
            loop.rate, self.settings, False
        )

    def run(self) -> dict[str, np.ndarray]:
        """Steps and episodes in a second, `(rounds, 2)`."""
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in self.calls}
        for i in range(self.settings.rounds):
            for name, call in self.calls.items():
                found[name].append(call())
                print(f"round {i}: {name}: {found[name][-1][0]:.0f} steps/s", file=sys.stderr)
        return {name: np.array(rates) for name, rates in found.items()}


def compare(settings: Settings, task: str, network: str) -> None:
    with Comparison(settings, task, network) as comparison:
        length = comparison.length
        print(f"{task}, hidden {network}, episodes of {length} steps, {HORIZON} actions a chunk")
        comparison.add_bare("bare, an episode a message", comparison.cores, length)
        for per_core in settings.envs_per_core:
            workers = per_core * comparison.cores
            comparison.add_bare(f"bare, a chunk a message, {per_core} a core", workers, HORIZON)
        for batch_size in settings.batch_sizes:
            comparison.add_policy(batch_size)
        for per_core, groups in itertools.product(settings.envs_per_core, settings.groups):
            comparison.add_evaluations(per_core, groups)
        for count in settings.published:
            comparison.add_published(count)
        rates = comparison.run()
    print(f"{PREPARATION.seconds:.1f} s before the first episode of each call of `evaluate`")
    _print_table(rates, length)


def _print_table(rates: dict[str, np.ndarray], length: int) -> None:
    bare, policy, published = (
        next(rates[name][:, 0] for name in rates if name.startswith(kind))
        for kind in ("bare", "the policy", "published")
    )
    print(f"{len(next(iter(rates.values())))} rounds: medians, and ratios with their range")
    print(f"{'':>52} {'steps/s':>9} {'episodes/s':>10} {'of bare':>18} {'of published':>18}")
    # A CPU does both, so this is as fast as an evaluation can be there.
    together = 1 / (1 / bare + 1 / policy)
    rates = {**rates, "bare and the policy in turn": np.stack([together, together / length], 1)}
    for name, found in rates.items():
        steps, episodes = np.median(found, axis=0)
        ratios = [_ratio(found[:, 0] / other) for other in (bare, published)]
        print(f"{name:>52} {steps:9.0f} {episodes:10.2f} {ratios[0]:>18} {ratios[1]:>18}")
    print(flush=True)


def _ratio(ratios: np.ndarray) -> str:
    return f"{np.median(ratios):.2f} [{ratios.min():.2f}, {ratios.max():.2f}]"


def main(settings: Settings) -> None:
    if any(settings.episodes % count for count in settings.published):
        raise SystemExit(f"--episodes must be a multiple of each of {settings.published}.")
    print_machine()
    for task in settings.tasks:
        for network in settings.networks:
            compare(settings, task, network)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
