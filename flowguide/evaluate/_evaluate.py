import dataclasses
import os
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, UInt32

from .._checks import as_positive_int
from .._critic import Critic
from .._policy import FlowPolicy
from .._processes import START_METHOD, worker_context
from ._chunks import make_chunked
from ._conditions import apply, Condition
from ._episodes import Episode


@dataclasses.dataclass
class _Slot:
    """The episode that one environment is playing."""

    condition: Condition
    episode_seed: int
    decisions: int = 0


def evaluate(
    policy: FlowPolicy,
    critic: Critic | None,
    environment: str,
    conditions: Sequence[Condition],
    episode_seeds: Sequence[int],
    *,
    train_seed: int = 0,
    num_envs: int = 16,
    workers: int | None = None,
    goal_conditioned: bool = False,
    finished: Collection[Episode] = (),
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Plays every condition on the same episodes: same environment seeds, same noise.

    Environments step in worker processes; one compiled call chooses the actions of all. Episodes
    wait in one queue, a condition after the other, so no environment idles between conditions.

    **Arguments:**

    - `policy`, `critic`: actions of shape `(horizon, action)` are played as a chunk, open loop.
        Without a critic (None) the policy can only be unguided.
    - `environment`: the name of an OGBench task.
    - `conditions`: what to compare.
    - `episode_seeds`: one episode of each condition for each of them.
    - `train_seed`: recorded with each episode.
    - `num_envs`: how many environments (processes) there are; the batch size of the policy.
    - `workers`: how many of them run at a time; by default one for each core.
    - `goal_conditioned`: observations are followed by the environment's goal, as policies that
        learnt from `flowguide.data.GoalWindows` expect. The task is drawn by the episode's seed.
    - `finished`: episodes that need not be played again.
    - `on_episode`: called with each episode as it ends.

    **Returns:**

    The episodes that were played, in the order in which they ended.
    """
    workers = as_positive_int("workers", workers or len(os.sched_getaffinity(0)))
    num_envs = as_positive_int("num_envs", num_envs)
    if critic is None and set(conditions) != {Condition()}:
        raise ValueError("Without a critic only the unguided policy can be played.")
    done = {episode.key for episode in finished}
    queue = deque(
        _Slot(condition, seed)
        for condition in conditions
        for seed in episode_seeds
        if (condition, train_seed, seed) not in done
    )
    if not queue:
        return []
    horizon = policy.action_shape[0] if len(policy.action_shape) > 1 else 1
    worker_context()
    environments = gymnasium.vector.AsyncVectorEnv(
        [partial(make_chunked, environment, horizon, goal_conditioned)] * num_envs,
        context=START_METHOD,
        autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED,
        max_concurrency=workers,
    )
    try:
        return _play(policy, critic, environments, queue, train_seed, on_episode)
    finally:
        environments.close()


def _play(
    policy: FlowPolicy,
    critic: Critic | None,
    environments: gymnasium.vector.AsyncVectorEnv,
    queue: deque[_Slot],
    train_seed: int,
    on_episode: Callable[[Episode], None] | None,
) -> list[Episode]:
    slots: list[_Slot | None] = [None] * environments.num_envs
    episodes = []
    observations = None
    while queue or any(slots):
        is_new = np.zeros(len(slots), bool)
        for i, slot in enumerate(slots):
            if slot is None and queue:
                slots[i] = queue.popleft()
                is_new[i] = True
        if is_new.any():
            seeds = [slot.episode_seed if slot else None for slot in slots]
            observations, _ = environments.reset(seed=seeds, options={"reset_mask": is_new})
        actions = _choose(policy, critic, slots, np.asarray(observations, np.float32))
        actions = actions.reshape(environments.action_space.shape)
        observations, _, terminated, truncated, infos = environments.step(actions)
        for i, slot in enumerate(slots):
            if slot is None:
                continue
            slot.decisions += 1
            if terminated[i] or truncated[i]:
                episode = Episode(
                    slot.condition,
                    train_seed,
                    slot.episode_seed,
                    bool(infos["success"][i]),
                    float(infos["return"][i]),
                    int(infos["length"][i]),
                )
                episodes.append(episode)
                if on_episode is not None:
                    on_episode(episode)
                slots[i] = None
    return episodes


def _choose(
    policy: FlowPolicy,
    critic: Critic | None,
    slots: Sequence[_Slot | None],
    observations: np.ndarray,
) -> np.ndarray:
    """The actions of all slots: one call for each structure among their conditions.

    Every call has the full batch, and rows of other structures are thrown away: shapes never
    change, so nothing is compiled twice, and a row's action does not depend on who else is there.
    """
    seeds = np.array([slot.episode_seed if slot else 0 for slot in slots], np.uint32)
    decisions = np.array([slot.decisions if slot else 0 for slot in slots], np.uint32)
    actions = np.zeros((len(slots), *policy.action_shape), np.float32)
    for structure in sorted({slot.condition.structure for slot in slots if slot}):
        rows = [slot is not None and slot.condition.structure == structure for slot in slots]
        weights = np.array([slot.condition.weight if slot else 0.0 for slot in slots], np.float32)
        numbers = map(jnp.asarray, (weights, observations, seeds, decisions))
        chosen = _act(structure, policy, critic, *numbers)
        actions[rows] = np.asarray(chosen)[rows]
    return actions


@eqx.filter_jit
def _act(
    structure: tuple[str, int],
    policy: FlowPolicy,
    critic: Critic | None,
    weights: Float[Array, " envs"],
    observations: Float[Array, "envs observation"],
    seeds: UInt32[Array, " envs"],
    decisions: UInt32[Array, " envs"],
) -> Float[Array, "envs *action"]:
    def act(weight, observation, seed, decision):
        # The noise follows from the episode and the decision alone: conditions are paired.
        key = jr.fold_in(jr.fold_in(jr.key(0), seed), decision)
        return apply(structure, weight, policy, critic)(observation, key=key)

    return jax.vmap(act)(weights, observations, seeds, decisions)
