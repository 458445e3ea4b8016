"""Several environments in one worker process."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from .._system.processes import start_worker
from . import environments
from .make_player import MakePlayer
from .player import EpisodePlayer

# In place of the row that is being played.
NONE = -1


class Players(gymnasium.Env):
    """Plays a chunk in each of several environments, one after the other, in one `step`.

    One process a core does that faster than one an environment: it keeps its caches, and is met
    once for all of them (`benchmarks/evaluation.py`).

    **Arguments:**

    - `players`: alike.
    - `rows`: of actions and observations, at least as many; those without a player are blank.
    - `marks`: where `marks[number]` says which of them is being played, for whoever finds this
        process dead or hung.
    """

    def __init__(self, players: Sequence[EpisodePlayer], rows: int, marks: np.ndarray, number: int):
        self._players, self._rows, self._marks, self._number = list(players), rows, marks, number
        self._single = players[0].observation_space
        self.observation_space = batch_space(self._single, rows)
        self.action_space = batch_space(players[0].action_space, rows)
        self._blank = players[0].blank
        # Environments of OGBench read NumPy's global state while they step: each has its own.
        self._states = [environments.global_state()] * len(self._players)

    def step(self, action: dict[str, np.ndarray]):
        results = []
        for i, player in enumerate(self._players):
            self._marks[self._number] = i
            environments.set_global_state(self._states[i])
            results.append(player.step({name: x[i] for name, x in action.items()}))
            self._states[i] = environments.global_state()
        self._marks[self._number] = NONE
        spare = self._rows - len(results)
        out: Any = create_empty_array(self._single, self._rows)
        single = [observation for observation, *_ in results] + [self._blank] * spare
        observations: Any = concatenate(self._single, single, out)
        infos = [{"done": done, **info} for _, _, done, _, info in results]
        infos += [{**infos[0], "done": True}] * spare
        # Arrays of numbers, and one of texts.
        info = {name: np.array([each[name] for each in infos]) for name in infos[0]}
        info["error"] = info["error"].astype(object)
        return observations, 0.0, False, False, info

    def close(self) -> None:
        for player in self._players:
            player.close()


@dataclasses.dataclass
class MakePlayers:
    """Builds the environments of a worker process, to which it is sent.

    A vector of environments builds one more in the caller's process, for its spaces alone: it gets
    a stand-in, for to build a simulation takes a second.
    """

    make: MakePlayer
    count: int
    rows: int
    marks_file: str
    number: int
    process: int = dataclasses.field(default_factory=os.getpid)

    def __call__(self) -> gymnasium.Env:
        if os.getpid() == self.process:
            return _OnlySpaces(
                batch_space(self.make.observation_space, self.rows),
                batch_space(self.make.action_space, self.rows),
            )
        start_worker()
        try:
            players = [self.make() for _ in range(self.count)]
        except Exception as error:
            # The caller's process would see no more than that this one is gone.
            self._problem_file.write_text(f"{type(error).__name__}: {error}")
            raise
        environments.give_back_memory()
        marks = np.memmap(self.marks_file, np.int32, "r+")
        return Players(players, self.rows, marks, self.number)

    def problem(self) -> str | None:
        """Why the worker's process could not build the environments; None if that is not known."""
        return self._problem_file.read_text() if self._problem_file.exists() else None

    def forget_problem(self) -> None:
        self._problem_file.unlink(missing_ok=True)

    @property
    def _problem_file(self) -> Path:
        return Path(f"{self.marks_file}-{self.number}")


class _OnlySpaces(gymnasium.Env):
    def __init__(self, observation_space: gymnasium.Space, action_space: gymnasium.Space):
        self.observation_space, self.action_space = observation_space, action_space
