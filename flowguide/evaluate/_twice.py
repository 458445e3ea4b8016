"""Whether an episode follows from its seed: one is played twice."""

import dataclasses
from collections import deque

from .._results.episodes import Episode
from ._group import Slot

DOUBT = (
    "An episode does not follow from its seed: played twice, {key} gave {first} and {second}. So "
    "episodes are no pairs, and results depend on how many environments play at a time. Running "
    "statistics in a wrapper do that, a generator that reset(seed=...) does not seed, or a machine "
    "that rounds in more ways than one."
)


def is_about_environment(doubt: str) -> bool:
    """Whether a doubt is the one that `Twice` has."""
    return doubt.startswith(DOUBT.partition(":")[0])


class Twice:
    """Puts the first episode of a queue into it once more, and compares what it gives.

    **Attributes:**

    - `doubt`: a sentence, once both have been played and differ; else None.
    """

    def __init__(self, queue: deque[Slot], num_envs: int):
        self.doubt: str | None = None
        self._first: Slot | None = None
        self._again: Slot | None = None
        self._outcomes: list[tuple[Episode, int]] = []
        # A single episode has no partner that it could be paired with.
        if len(queue) > 1:
            self._first = queue[0]
            self._again = dataclasses.replace(queue[0])
            # Its environment has played another one by then, on whose traces it may depend. If
            # there are many, more are to come, so that nobody waits for it alone.
            queue.insert(max(len(queue) // 2, min(num_envs, len(queue))), self._again)

    def is_counted(self, slot: Slot, episode: Episode) -> bool:
        """Looks at an episode that ended, and says whether it is a result."""
        if slot is self._first or slot is self._again:
            self._outcomes.append((episode, slot.last))
            if len(self._outcomes) == 2:
                self._compare(*self._outcomes)
        return slot is not self._again

    def _compare(self, one: tuple[Episode, int], other: tuple[Episode, int]) -> None:
        (episode, _), (again, _) = one, other
        first, second = _outcome(*one), _outcome(*other)
        if episode.error is None and again.error is None and first != second:
            key = f"{episode.condition}, episode seed {episode.episode_seed}"
            self.doubt = DOUBT.format(key=key, first=first, second=second)


def _outcome(episode: Episode, last: int) -> str:
    return (
        f"(success {episode.success}, length {episode.length}, return {episode.episode_return!r}, "
        f"last observation #{last:08x})"
    )
