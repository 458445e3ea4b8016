import contextlib
import dataclasses
import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

import gymnasium
import jax
import numpy as np
from jaxtyping import PyTree

from .._checks import as_positive_int
from .._processes import cores
from ._act import act, chunk_length, default_batch_size
from ._agents import Agent
from ._conditions import Condition
from ._episodes import Episode
from ._player import GO_ON, MakePlayer, player_spaces, told_success
from ._workers import Lost, Workers

# Two groups of eight fill the batches of two cores. An environment of the cube takes 170 MB.
WORKERS_PER_CORE = 8
# How often an episode is tried whose worker dies or hangs.
MAX_ATTEMPTS = 3

logger = logging.getLogger(__name__)


def evaluate(
    agents: Agent | Sequence[Agent],
    environment: str | Callable[[], gymnasium.Env],
    conditions: Sequence[Condition],
    episode_seeds: Sequence[int],
    *,
    workers: int | None = None,
    replan: int | None = None,
    goal_conditioned: bool = False,
    timeout: float = 120.0,
    batch_size: int | None = None,
    finished: Collection[Episode] = (),
    on_episode: Callable[[Episode], None] | None = None,
    pool: "Pool | None" = None,
) -> list[Episode]:
    """Plays every condition on the same episodes: same environment seeds, same noise.

    Environments step in worker processes, one for each core, in two groups: while one steps, a
    compiled call chooses the actions of the other. The episodes of all conditions and agents wait
    in one queue, so no environment idles between conditions. What an episode gives follows from its
    agent, condition, seed and the batch size alone, not from the number of workers or from what
    else is played.

    **Arguments:**

    - `agents`: policies with their critics. Chunks of actions are played open loop.
    - `environment`: the name of an OGBench task or of any gymnasium environment with a Box action
        space, or a function that builds one and can be pickled.
    - `conditions`: what to compare.
    - `episode_seeds`: one episode of each agent and condition for each of them.
    - `workers`: environments that play at a time, in one process for each core; by default 8 for
        each core.
    - `replan`: how many actions of a chunk are played before the next is chosen; by default all.
    - `goal_conditioned`: observations are followed by the environment's goal, as policies that
        learnt from `flowguide.data.GoalWindows` expect; the environment's tasks take turns with
        the seeds.
    - `timeout`: seconds after which a worker process that has not answered is replaced.
    - `batch_size`: how many observations each call of a policy has; by default 8 on a CPU, else 64.
        Sums of another batch size can be rounded in another way, which in the end can decide an
        episode: compare results of one batch size.
    - `finished`: episodes that need not be played again. Those with an error are.
    - `on_episode`: called with each episode as it ends.
    - `pool`: keeps the worker processes for the next call; by default they end with this one.

    **Returns:**

    The episodes that were played, in the order in which they ended. An environment that raises, or
    that returns numbers that are not finite, gives an episode with an `error`; so does a worker
    that dies or hangs three times at the same episode.

    **Raises:**

    `ValueError` for agents that results could not tell apart (of one `training` and `train_seed`),
    a condition that an agent cannot play, actions that do not fit the environment,
    or an environment that is unknown or has no Box of actions.
    """
    agents = [agents] if isinstance(agents, Agent) else list(agents)
    workers = as_positive_int("workers", workers or WORKERS_PER_CORE * cores())
    batch_size = as_positive_int("batch_size", batch_size or default_batch_size())
    names = [(agent.training, agent.train_seed) for agent in agents]
    if len(set(names)) < len(names):
        raise ValueError(
            "The results of two agents with the same training and train_seed could not be told "
            f"apart: got {names}. Name them: Agent(policy, critic, training='mine'). Guidances of "
            "one policy are no agents but conditions: flowguide.register gives yours a name."
        )
    done = {episode.key for episode in finished if episode.error is None}
    for agent in agents:
        for condition in conditions:
            agent.check(condition)
    queue = deque(
        slot
        for agent in agents
        for condition in sorted(set(conditions), key=lambda c: (c.structure, c))
        for seed in dict.fromkeys(episode_seeds)
        if (slot := _Slot(agent, condition, seed, _name(environment), replan)).key not in done
    )
    if not queue:
        return []
    make = _make_player(agents, environment, replan, goal_conditioned)
    played: list[Episode] = []
    with contextlib.ExitStack() as stack:
        if pool is None:
            # The environments of a few episodes are soon built; a pool's have more to come.
            workers = min(workers, len(queue))
            pool = stack.enter_context(Pool())
        groups = [_Group(each, batch_size) for each in pool.get(make, workers, timeout)]
        while queue or any(group.is_busy for group in groups):
            for group in groups:
                for episode in group.receive():
                    played.append(episode)
                    if on_episode is not None:
                        on_episode(episode)
                group.send(queue)
    return played


class Pool:
    """Worker processes that several calls of `evaluate` use one after the other.

    A context manager: the processes end with it. They are built anew when an evaluation needs other
    environments.
    """

    def __init__(self):
        self._made: Any = None
        self._workers: list[Workers] = []

    def get(self, make: MakePlayer, count: int, timeout: float) -> list[Workers]:
        """Two groups of workers that build their environment with `make`."""
        if self._made != (make, timeout):
            self.close()
            for size in (-(-count // 2), count // 2):
                if size:
                    # Each group has half of the cores.
                    self._workers.append(Workers(make, size, max(cores() // 2, 1), timeout))
            self._made = make, timeout
        return self._workers

    def close(self) -> None:
        for workers in self._workers:
            workers.close()
        self._workers, self._made = [], None

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self.close()


def _name(environment: str | Callable[[], gymnasium.Env]) -> str:
    if isinstance(environment, str):
        return environment
    return getattr(environment, "__name__", type(environment).__name__)


def _make_player(
    agents: Sequence[Agent],
    environment: str | Callable[[], gymnasium.Env],
    replan: int | None,
    goal_conditioned: bool,
) -> MakePlayer:
    """What each worker builds, once it is clear that the agents can act there."""
    observation_space, action_space = player_spaces(environment, goal_conditioned)
    observation = observation_space.sample()
    assert action_space.shape is not None
    lengths = sorted({chunk_length(agent, observation, action_space.shape) for agent in agents})
    if replan is None and len(lengths) > 1:
        raise ValueError(
            f"The agents' chunks have {lengths} actions. replan says how many of them are played."
        )
    horizon = lengths[0] if replan is None else as_positive_int("replan", replan)
    if horizon > lengths[0]:
        raise ValueError(f"replan is {replan}, and a chunk has {lengths[0]} actions.")
    return MakePlayer(environment, horizon, goal_conditioned, observation_space, action_space)


@dataclasses.dataclass
class _Slot:
    """An episode that is to be played, or that a worker is playing.

    `decisions` counts the chunks that were chosen for it, and is None before it has begun.
    """

    agent: Agent
    condition: Condition
    episode_seed: int
    task: str
    replan: int | None
    decisions: int | None = None
    attempts: int = 0

    @property
    def key(self) -> tuple[str, str, Condition, int, int]:
        return self.episode(None, 0.0, 0).key

    def episode(
        self,
        success: bool | None,
        episode_return: float,
        length: int,
        goal: int | None = None,
        error: str | None = None,
    ) -> Episode:
        return Episode(
            self.condition,
            self.agent.train_seed,
            self.episode_seed,
            success,
            episode_return,
            length,
            self.task,
            self.agent.training,
            self.agent.model,
            self.replan,
            goal,
            error,
        )


class _Group:
    """Workers and the episodes that they are playing."""

    def __init__(self, workers: Workers, batch_size: int):
        self.workers = workers
        self._batch_size = batch_size
        self._slots: list[_Slot | None] = [None] * workers.count
        self._observations: PyTree = None
        self._is_sent = False

    @property
    def is_busy(self) -> bool:
        return any(slot is not None for slot in self._slots)

    def send(self, queue: deque[_Slot]) -> None:
        """Gives free workers the next episodes, and all of them something to do."""
        for i, slot in enumerate(self._slots):
            if slot is None and queue:
                self._slots[i] = queue.popleft()
        if not self.is_busy:
            return
        seeds = np.full(len(self._slots), GO_ON, np.int64)
        going: dict[Any, list[tuple[int, _Slot]]] = {}
        for i, slot in enumerate(self._slots):
            if slot is not None and slot.decisions is None:
                seeds[i] = slot.episode_seed
            elif slot is not None:
                going.setdefault((id(slot.agent), slot.condition.structure), []).append((i, slot))
        actions = np.zeros(self.workers.actions_shape, np.float32)
        for alike in going.values():
            self._choose(actions, alike)
        self.workers.send(actions, seeds)
        self._is_sent = True

    def _choose(self, actions: np.ndarray, alike: list[tuple[int, _Slot]]) -> None:
        rows = [i for i, _ in alike]
        slots = [slot for _, slot in alike]
        agent = slots[0].agent
        chosen = act(
            agent,
            slots[0].condition.structure,
            [agent.raw_weight(slot.condition) for slot in slots],
            jax.tree.map(lambda x: x[rows], self._observations),
            [slot.episode_seed for slot in slots],
            [slot.decisions or 0 for slot in slots],
            batch_size=self._batch_size,
        )
        _, horizon, *shape = actions.shape
        actions[rows] = chosen.reshape(len(rows), -1, *shape)[:, :horizon]

    def receive(self) -> list[Episode]:
        """The episodes that ended with the step that was sent."""
        if not self._is_sent:
            return []
        self._is_sent = False
        try:
            self._observations, done, infos = self.workers.receive()
        except Lost as lost:
            return self._begin_again(lost)
        episodes = []
        for i, slot in enumerate(self._slots):
            if slot is None:
                continue
            slot.decisions = 0 if slot.decisions is None else slot.decisions + 1
            if done[i]:
                success = told_success(int(infos["success"][i]))
                numbers = float(infos["return"][i]), int(infos["length"][i])
                goal, error = int(infos["goal"][i]) or None, infos["error"][i] or None
                episodes.append(slot.episode(success, *numbers, goal, error))
                self._slots[i] = None
        return episodes

    def _begin_again(self, lost: Lost) -> list[Episode]:
        """All workers were replaced: what they were playing begins again, if not too often."""
        episodes = []
        for i, slot in enumerate(self._slots):
            if slot is None:
                continue
            slot.decisions = None
            if i not in lost.culprits:
                continue
            slot.attempts += 1
            what = f"{slot.condition}, episode seed {slot.episode_seed}: {lost}"
            if slot.attempts < MAX_ATTEMPTS:
                logger.warning("%s; it was replaced and plays the episode again.", what)
                continue
            logger.warning("%s, for the third time; the episode counts as an error.", what)
            episodes.append(slot.episode(None, 0.0, 0, error=str(lost)))
            self._slots[i] = None
        return episodes
