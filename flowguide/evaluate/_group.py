"""Workers in lockstep, and the episodes that they are playing."""

import dataclasses
import logging
import math
import zlib
from collections import deque
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from .._agent.act import act
from .._agent.agents import Agent
from .._agent.guided import Guided
from .._results.conditions import Condition
from .._results.episodes import Episode, RULES
from .._rollout.player import GO_ON, known_success
from .._rollout.rules import Rules
from .._rollout.workers import Lost, Workers

# How often an episode is tried whose worker dies or hangs.
MAX_ATTEMPTS = 3

SOLVED = "It was solved when it began: its success says nothing of the policy."

logger = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class Slot:
    """An episode that is to be played, or that a worker is playing.

    `decisions` counts the chunks that were chosen for it, and is None before it has begun;
    `dropped` is the sum of the shares of them that were left unguided; `last` is a digest of the
    observation at the end.
    """

    agent: Agent
    guided: Guided
    episode_seed: int
    task: str
    rules: Rules
    doubts: tuple[str, ...] = ()
    decisions: int | None = None
    dropped: float = 0.0
    attempts: int = 0
    last: int = 0

    @property
    def condition(self) -> Condition:
        return self.guided.condition

    def episode(
        self,
        success: bool | None,
        episode_return: float,
        length: int,
        goal: int | None = None,
        error: str | None = None,
    ) -> Episode:
        share = self.dropped / self.decisions if self.decisions else math.nan
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
            goal=goal,
            error=error,
            guidance=self.guided.description,
            steps=self.guided.steps,
            cost=self.guided.cost,
            dropped=None if math.isnan(share) else share,
            doubts=self.doubts,
            **{name: getattr(self.rules, name) for name in RULES},
        )


class Group:
    """Workers and the episodes that they are playing."""

    def __init__(self, workers: Workers, batch_size: int):
        self.workers = workers
        self._batch_size = batch_size
        self._slots: list[Slot | None] = [None] * workers.count
        self._observations: PyTree = None
        self._is_sent = False

    @property
    def is_busy(self) -> bool:
        return any(slot is not None for slot in self._slots)

    def send(self, queue: deque[Slot]) -> None:
        """Gives free workers the next episodes, and all of them something to do."""
        for i, slot in enumerate(self._slots):
            if slot is None and queue:
                self._slots[i] = queue.popleft()
        if not self.is_busy:
            return
        seeds = np.full(len(self._slots), GO_ON, np.int64)
        going: dict[Any, list[tuple[int, Slot]]] = {}
        for i, slot in enumerate(self._slots):
            if slot is not None and slot.decisions is None:
                seeds[i] = slot.episode_seed
            elif slot is not None:
                going.setdefault(slot.guided.parts.kin, []).append((i, slot))
        actions = np.zeros(self.workers.actions_shape, np.float32)
        for alike in going.values():
            self._choose(actions, alike)
        self.workers.send(actions, seeds)
        self._is_sent = True

    def _choose(self, actions: np.ndarray, alike: list[tuple[int, Slot]]) -> None:
        rows = [i for i, _ in alike]
        slots = [slot for _, slot in alike]
        chosen, dropped = act(
            [slot.guided for slot in slots],
            jax.tree.map(lambda x: x[rows], self._observations),
            [slot.episode_seed for slot in slots],
            [slot.decisions or 0 for slot in slots],
            batch_size=self._batch_size,
        )
        for slot, share in zip(slots, dropped, strict=True):
            slot.dropped += float(share)
        _, horizon, *shape = actions.shape
        actions[rows] = chosen.reshape(len(rows), -1, *shape)[:, :horizon]

    def receive(self) -> list[tuple[Slot, Episode]]:
        """The episodes that ended with the step that was sent, and what they were played for."""
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
                success = known_success(int(infos["success"][i]))
                numbers = float(infos["return"][i]), int(infos["length"][i])
                goal, error = int(infos["goal"][i]) or None, infos["error"][i] or None
                slot.last = _digest(jax.tree.map(lambda x, i=i: x[i], self._observations))
                if infos["solved"][i]:
                    slot.doubts = (*slot.doubts, SOLVED)
                episodes.append((slot, slot.episode(success, *numbers, goal, error)))
                self._slots[i] = None
        return episodes

    def _begin_again(self, lost: Lost) -> list[tuple[Slot, Episode]]:
        """All workers were replaced: what they were playing begins again, if not too often."""
        episodes = []
        for i, slot in enumerate(self._slots):
            if slot is None:
                continue
            slot.decisions, slot.dropped = None, 0.0
            if i not in lost.culprits:
                continue
            slot.attempts += 1
            what = f"{slot.condition}, episode seed {slot.episode_seed}: {lost}"
            if slot.attempts < MAX_ATTEMPTS:
                logger.warning("%s; it was replaced and plays the episode again.", what)
                continue
            logger.warning("%s, for the third time; the episode counts as an error.", what)
            episodes.append((slot, slot.episode(None, 0.0, 0, error=str(lost))))
            self._slots[i] = None
        return episodes


def _digest(observation: PyTree) -> int:
    digest = 0
    for part in jax.tree.leaves(observation):
        digest = zlib.crc32(np.ascontiguousarray(part).tobytes(), digest)
    return digest
