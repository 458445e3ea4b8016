import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .._files import replace_file
from .._versions import versions
from ._conditions import Condition


@dataclasses.dataclass(frozen=True)
class Episode:
    """The outcome of one episode; one line of a results file.

    **Attributes:**

    - `condition`: what was played.
    - `train_seed`: the seed that the policy and the critic were trained with.
    - `episode_seed`: the seed of the environment and of the noise. Episodes of different
        conditions with the same seed are paired.
    - `success`: whether the task was solved.
    - `episode_return`: the sum of rewards.
    - `length`: the number of actions played.
    """

    condition: Condition
    train_seed: int
    episode_seed: int
    success: bool
    episode_return: float
    length: int

    @property
    def key(self) -> tuple[Condition, int, int]:
        return self.condition, self.train_seed, self.episode_seed

    def to_json(self) -> str:
        line = {
            **dataclasses.asdict(self.condition),
            "train_seed": self.train_seed,
            "episode_seed": self.episode_seed,
            "success": self.success,
            "return": self.episode_return,
            "length": self.length,
            "versions": versions(),
        }
        return json.dumps(line)

    @staticmethod
    def from_json(line: str) -> "Episode":
        found: dict[str, Any] = json.loads(line)
        return Episode(
            Condition(found["method"], found["weight"], found["best_of_n"]),
            found["train_seed"],
            found["episode_seed"],
            found["success"],
            found["return"],
            found["length"],
        )


def read_episodes(file: str | os.PathLike) -> list[Episode]:
    """The episodes of a results file; none if there is no such file.

    **Raises:**

    `ValueError` naming the line that is no episode. A last line without its end is what a killed
    process leaves behind: it is left out.
    """
    path = Path(file)
    if not path.exists():
        return []
    *lines, unfinished = path.read_text().split("\n")
    del unfinished
    episodes = []
    for number, line in enumerate(lines, start=1):
        try:
            episodes.append(Episode.from_json(line))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}, is no episode: {error!r}") from error
    return episodes


def write_episodes(file: str | os.PathLike, episodes: Iterable[Episode]) -> None:
    """Replaces a results file, in an order that does not depend on which episode ended first."""
    ordered = sorted(episodes, key=lambda e: (e.condition, e.train_seed, e.episode_seed))
    text = "".join(episode.to_json() + "\n" for episode in ordered)
    replace_file(Path(file), lambda path: path.write_text(text))
