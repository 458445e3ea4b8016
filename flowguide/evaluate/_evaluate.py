import contextlib
import dataclasses
import warnings
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import gymnasium

from .._agent.act import chunk_length, default_batch_size
from .._agent.agents import Agent
from .._agent.cross import check_guidances
from .._agent.finished import check_descriptions, check_same
from .._agent.guided import conditions_of, Guided, put_together
from .._checks import as_positive_int
from .._random import as_seed
from .._results.dropped import dropped_note
from .._results.episodes import Episode
from .._rollout.by_name import name_of, spec_of
from .._rollout.make_player import MakePlayer, player_spaces
from .._rollout.recorder import Recorder
from .._rollout.rules import bounds_doubt, rescaling, Rules, SuccessAt
from .._rollout.workers import Workers
from .._system.processes import cores
from ._group import Group, Slot, SOLVED
from ._twice import Twice

# Two groups of eight fill the batches of two cores. An environment of the cube takes 170 MB.
ENVS_PER_CORE = 8


def evaluate(
    agents: Agent | Sequence[Agent],
    environment: str | Callable[[], gymnasium.Env],
    guidances: Mapping[str, Any],
    episode_seeds: Sequence[int],
    *,
    num_envs: int | None = None,
    replan: int | None = None,
    goal_conditioned: bool = False,
    max_episode_steps: int | None = None,
    success_at: SuccessAt = "end",
    rescale: bool = False,
    timeout: float = 120.0,
    batch_size: int | None = None,
    finished: Collection[Episode] = (),
    on_episode: Callable[[Episode], None] | None = None,
    pool: "Pool | None" = None,
) -> list[Episode]:
    """Plays every guidance on the same episodes: same environment seeds, same noise.

    ```python
    guidances = {
        "unguided": None,
        "qgf 0.1": flowguide.qgf(weight=0.1),
        "mine": my_guidance,
    }
    episodes = flowguide.evaluate.evaluate(
        agent, "Pendulum-v1", guidances, range(50)
    )
    ```

    What is played is a *condition*: a label and a guidance. Each guidance meets each agent once;
    guided policies that differ in arrays alone, such as weights, share one compiled program.
    Results carry the label, the guidance's description (`flowguide.describe`) and what it costs.

    Environments step in worker processes, one for each core, in two groups: while one steps, a
    compiled call chooses the actions of the other. The episodes of all conditions and agents wait
    in one queue, so no environment idles between conditions. What an episode gives follows from its
    agent, guidance, seed and the batch size alone, not from how many environments play at a time or
    from what else is played.

    **Arguments:**

    - `agents`: policies with their critics. Chunks of actions are played open loop.
    - `environment`: the name of an OGBench task or of any gymnasium environment with a Box action
        space, or a function that builds one and can be pickled. Results carry the name; of a
        `functools.partial` its arguments, too, and of a lambda a hash of its code.
    - `guidances`: what to compare: to each label a guidance, a sequence of them, or None for the
        unguided policy. See `flowguide.evaluate.cross` for tables of methods and weights.
    - `episode_seeds`: one episode of each agent and label for each of them; below 2**31.
    - `num_envs`: environments that play at a time, in one process for each core; by default 8 for
        each core.
    - `replan`: how many actions of a chunk are played before the next is chosen; by default all.
    - `goal_conditioned`: observations are followed by the environment's goal, as policies that
        learnt from `flowguide.data.GoalWindows` expect; the environment's tasks take turns with
        the seeds.
    - `max_episode_steps`: where an episode ends at the latest; by default where the environment
        ends it. One that declares no limit and goes on for more than 10,000 steps is an error.
    - `success_at`: `"end"`: an episode is a success if its last step says so; `"any"`: if one step
        did. Read from `info["success"]`, else from `info["is_success"]`.
    - `rescale`: maps the policy's range of actions (`low`, `high`) onto the environment's. By
        default actions are played as they are, and those outside the environment's are clipped.
    - `timeout`: seconds after which a worker process that has not answered is replaced.
    - `batch_size`: how many observations each call of a policy has; by default 8 on a CPU, else 64.
        Sums of another batch size can be rounded in another way, which in the end can decide an
        episode: compare results of one batch size.
    - `finished`: episodes that need not be played again. Those with an error are.
    - `on_episode`: called with each episode as it ends.
    - `pool`: keeps the worker processes for the next call; by default they end with this one.

    **Returns:**

    The episodes that were played, in the order in which they ended. An environment that raises, or
    that returns numbers that are not finite, observations of another shape than its space, or a
    success that is no boolean, gives an episode with an `error`; so does a worker that dies or
    hangs three times at the same episode. What is doubtful is a warning: steps left unguided
    because a gradient was not finite, an environment of which an episode does not follow from its
    seed, a policy with another range of actions than the environment's. The last two are in each
    episode's `doubts`, too.

    **Raises:**

    `ValueError` for agents that results could not tell apart (of one `training` and `train_seed`),
    a guidance that cannot guide one of them, finished episodes that another guidance or another
    policy played under the same label, or by other rules, actions that do not fit the environment,
    or an environment that is unknown or has no Box of actions.
    """
    played = play(
        [agents] if isinstance(agents, Agent) else list(agents),
        *(environment, guidances, episode_seeds),
        Rules(replan, goal_conditioned, max_episode_steps, success_at, rescale),
        num_envs=num_envs,
        timeout=timeout,
        batch_size=batch_size,
        finished=finished,
        on_episode=on_episode,
        on_doubt=lambda doubt: warnings.warn(doubt, stacklevel=4),
        pool=pool,
    )
    note = dropped_note(played)
    if note:
        warnings.warn(note, stacklevel=2)
    return played


def play(
    agents: Sequence[Agent],
    environment: str | Callable[[], gymnasium.Env],
    guidances: Mapping[str, Any],
    episode_seeds: Sequence[int],
    rules: Rules,
    *,
    num_envs: int | None,
    timeout: float,
    batch_size: int | None,
    finished: Collection[Episode],
    on_episode: Callable[[Episode], None] | None,
    on_doubt: Callable[[str], Any],
    pool: "Pool | None",
    recorder: Recorder | None = None,
) -> list[Episode]:
    """What `evaluate` does; what is doubtful goes to `on_doubt`, the steps to `recorder`."""
    num_envs = as_positive_int("num_envs", num_envs or ENVS_PER_CORE * cores())
    batch_size = as_positive_int("batch_size", batch_size or default_batch_size())
    names = [(agent.training, agent.train_seed) for agent in agents]
    if len(set(names)) < len(names):
        raise ValueError(
            "The results of two agents with the same training and train_seed could not be told "
            f"apart: got {names}. Name them: Agent(policy, critic, training='mine'). Guidances of "
            "one policy are no agents but conditions, each with a label."
        )
    check_guidances(guidances)
    for seed in episode_seeds:
        as_seed("Each of episode_seeds", seed)
    task = name_of(environment)
    finished = check_same("What is finished", finished, agents, task, rules)
    check_descriptions(guidances, finished, "What is finished")
    done = {episode.key for episode in finished if episode.error is None}
    missing = [
        (agent, *each)
        for agent in agents
        for each in _missing(agent, guidances, episode_seeds, task, done)
    ]
    if not missing:
        return []
    make = dataclasses.replace(_make_player(agents, environment, rules), recorder=recorder)
    box = make.single_action_space
    queue: deque[Slot] = deque()
    doubts: set[str] = set()
    for agent, each, seeds in missing:
        guided, doubt = each, bounds_doubt(agent.policy, box)
        if rules.rescale:
            guided = dataclasses.replace(each, to_environment=rescaling(agent.policy, box))
        elif doubt is not None and doubt not in doubts:
            doubts.add(doubt)
            on_doubt(doubt)
        own_doubts = () if rules.rescale or doubt is None else (doubt,)
        queue += (Slot(agent, guided, seed, task, rules, own_doubts) for seed in seeds)
    # The environments of a few episodes are soon built; a pool's have more to come.
    num_envs = min(num_envs, len(queue)) if pool is None else num_envs
    twice = Twice(queue, num_envs)
    played: list[Episode] = []
    with contextlib.ExitStack() as stack:
        if pool is None:
            pool = stack.enter_context(Pool())
        groups = [Group(each, batch_size) for each in pool.get(make, num_envs, timeout)]
        while queue or any(group.is_busy for group in groups):
            for group in groups:
                for slot, episode in group.receive():
                    if twice.is_counted(slot, episode):
                        played.append(episode)
                        if on_episode is not None:
                            on_episode(episode)
                group.send(queue)
    solved = sum(SOLVED in episode.doubts for episode in played)
    if solved:
        on_doubt(
            f"{solved:,} of {len(played):,} episodes were solved when they began: their success "
            "says nothing of the policy."
        )
    if twice.doubt is not None:
        on_doubt(twice.doubt)
        played = [dataclasses.replace(e, doubts=(*e.doubts, twice.doubt)) for e in played]
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


def _missing(
    agent: Agent,
    guidances: Mapping[str, Any],
    episode_seeds: Sequence[int],
    task: str,
    done: Collection[Any],
) -> list[tuple[Guided, list[int]]]:
    """The guided policies of an agent with the seeds that they have still to play, in an order in
    which those of one program follow each other."""
    by_program: dict[Any, list[tuple[Guided, list[int]]]] = {}
    for label, condition in sorted(conditions_of(guidances).items(), key=lambda item: item[1]):
        seeds = [
            seed
            for seed in dict.fromkeys(episode_seeds)
            if (task, agent.training, condition, agent.train_seed, seed) not in done
        ]
        # Only what is played meets its agent: a weight can be measured there, which takes a while.
        if seeds:
            guided = put_together(agent, label, guidances[label])
            by_program.setdefault(guided.parts.kin, []).append((guided, seeds))
    return [each for several in by_program.values() for each in several]


def _make_player(
    agents: Sequence[Agent], environment: str | Callable[[], gymnasium.Env], rules: Rules
) -> MakePlayer:
    """What each worker builds, once it is clear that the agents can act there."""
    observation_space, action_space = player_spaces(environment, rules)
    observation = observation_space.sample()
    assert action_space.shape is not None
    lengths = sorted({chunk_length(agent, observation, action_space.shape) for agent in agents})
    if rules.replan is None and len(lengths) > 1:
        raise ValueError(
            f"The agents' chunks have {lengths} actions. replan says how many of them are played."
        )
    horizon = rules.replan or lengths[0]
    if horizon > lengths[0]:
        raise ValueError(f"replan is {rules.replan}, and a chunk has {lengths[0]} actions.")
    spec = spec_of(environment)
    return MakePlayer(environment, horizon, rules, observation_space, action_space, spec)
