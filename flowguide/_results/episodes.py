import dataclasses
import functools
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .._checks import as_bool
from .._cost import Cost
from .._system.files import replace_file
from .._system.json_lines import read_json_lines
from .._system.versions import versions
from .conditions import Condition, from_first_version

# How an episode was played, as its line says it: episodes that differ there are no pairs.
RULES = ("replan", "max_episode_steps", "success_at", "rescale")


@dataclasses.dataclass(frozen=True)
class Episode:
    """The outcome of one episode; one line of a results file.

    **Attributes:**

    - `condition`: what was played.
    - `train_seed`: the seed that the policy and the critic were trained with.
    - `episode_seed`: the seed of the environment and of the noise. Episodes of different
        conditions with the same seed are paired.
    - `success`: whether the task was solved; None where the environment does not say.
    - `episode_return`: the sum of rewards.
    - `length`: the number of actions played.
    - `task`: the environment's name.
    - `training`: the name of how the agent was trained, where several ways are compared.
    - `model`: the beginning of the SHA-256 of its parameters.
    - `replan`: how many actions of each chunk were played; None for all of them.
    - `goal`: which of a goal-conditioned environment's tasks it was, from 1.
    - `error`: what went wrong; then the other numbers are those up to there, and count for nothing.
    - `guidance`: what was played under the condition's label, as `flowguide.describe` has it;
        empty where a line does not say.
    - `steps`: the flow's steps for an action; None if not known.
    - `cost`: what an action costs; None if not known.
    - `dropped`: the share of the flow's steps, over all actions of the episode, that were left
        unguided because a gradient was not finite; None if not known.
    - `max_episode_steps`, `success_at`, `rescale`: how it was played; see `evaluate`.
    - `doubts`: what was doubtful about it, in sentences.
    - `versions`: of the packages that played it; None for those of this process.
    """

    condition: Condition
    train_seed: int
    episode_seed: int
    success: bool | None
    episode_return: float
    length: int
    task: str = ""
    training: str = ""
    model: str = ""
    replan: int | None = None
    goal: int | None = None
    error: str | None = None
    guidance: str = ""
    steps: int | None = None
    cost: Cost | None = None
    dropped: float | None = None
    max_episode_steps: int | None = None
    success_at: str = "end"
    rescale: bool = False
    doubts: tuple[str, ...] = ()
    versions: Mapping[str, str | None] | None = dataclasses.field(
        default=None, compare=False, repr=False
    )

    @property
    def rules(self) -> dict[str, Any]:
        """How it was played: episodes of different rules are no pairs."""
        return {name: getattr(self, name) for name in RULES}

    @property
    def key(self) -> tuple[str, str, Condition, int, int]:
        """What it is an outcome of: no file has two of a kind."""
        return self.task, self.training, self.condition, self.train_seed, self.episode_seed

    def to_json(self) -> str:
        line = {
            **dataclasses.asdict(self.condition),
            "guidance": self.guidance,
            "train_seed": self.train_seed,
            "episode_seed": self.episode_seed,
            "success": self.success,
            "return": self.episode_return,
            "length": self.length,
            "task": self.task,
            "training": self.training,
            "model": self.model,
            "replan": self.replan,
            "goal": self.goal,
            "steps": self.steps,
            "cost": None if self.cost is None else dataclasses.asdict(self.cost),
            "dropped": self.dropped,
            "max_episode_steps": self.max_episode_steps,
            "success_at": self.success_at,
            "rescale": self.rescale,
            "doubts": self.doubts,
            "error": self.error,
            "versions": dict(versions() if self.versions is None else self.versions),
        }
        return json.dumps(line)

    @staticmethod
    def from_json(line: str) -> "Episode":
        return Episode.from_found(json.loads(line))

    @staticmethod
    def from_found(record: dict[str, Any]) -> "Episode":
        """The episode of a line that is read."""
        cost, success = record.get("cost"), record["success"]
        return Episode(
            condition_from(record),
            record["train_seed"],
            record["episode_seed"],
            None if success is None else as_bool("success", success),
            # Of what was not finite, some programs write null.
            math.nan if record["return"] is None else float(record["return"]),
            int(record["length"]),
            record.get("task", ""),
            record.get("training", ""),
            record.get("model", ""),
            record.get("replan"),
            record.get("goal"),
            record.get("error"),
            record.get("guidance", ""),
            record.get("steps"),
            None if cost is None else _cost(**cost),
            record.get("dropped"),
            record.get("max_episode_steps"),
            record.get("success_at", "end"),
            record.get("rescale", False),
            tuple(record.get("doubts", ())),
            _versions(*record.get("versions", {}).items()),
        )


def condition_from(record: dict[str, Any]) -> Condition:
    """The condition of a line, or of what flowguide 0.1.0 wrote."""
    if "label" in record:
        return _condition(record["label"], record["curve"], record["weight"], record["unit"])
    unit = record.get("unit", "raw")
    return _earlier(record["method"], record["weight"], record["best_of_n"], unit)


# A file has few conditions and many lines.
_condition = functools.lru_cache(maxsize=None)(Condition)
_earlier = functools.lru_cache(maxsize=None)(from_first_version)
_cost = functools.lru_cache(maxsize=None)(Cost)


@functools.cache
def _versions(*items: tuple[str, str | None]) -> Mapping[str, str | None]:
    return dict(items)


def read_episodes(file: str | os.PathLike) -> list[Episode]:
    """The episodes of a results file.

    **Arguments:**

    - `file`: JSON Lines, an episode each; no episodes if there is no such file. Empty lines, a byte
        order mark and a missing end of the last line, which editors leave, change nothing.

    **Raises:**

    `ValueError` naming the line that is no episode. A last line that is no whole one is what a
    killed process leaves behind: it is left out.
    """
    path = Path(file)
    episodes = []
    for number, record in read_json_lines(path, "episode"):
        try:
            episodes.append(Episode.from_found(record))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}, is no episode: {error!r}") from error
    return episodes


def write_episodes(file: str | os.PathLike, episodes: Iterable[Episode]) -> None:
    """Replaces a results file, in an order that does not depend on which episode ended first.

    **Arguments:**

    - `file`: what is written, all or nothing.
    - `episodes`: its lines.
    """
    text = "".join(episode.to_json() + "\n" for episode in sorted(episodes, key=lambda e: e.key))
    replace_file(Path(file), lambda path: path.write_text(text))
