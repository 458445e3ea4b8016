"""Environments that are built at once, and go wrong where they are told to."""

import dataclasses
import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

LENGTH = 12


class Line(gymnasium.Env):
    """A point on a line that has to get past 1. Actions in the plane; the second does nothing."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, fault: "Fault"):
        self.fault = fault

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.seed, self.steps = seed, 0
        # The seed that reaches an environment follows from the episode's, and is not it.
        self.x = self.np_random.normal(size=3)
        self.start = float(self.x[0])
        return self.x.copy(), {}

    def step(self, action):
        self.steps += 1
        if self.steps == 5 and self.start < 0:
            self.fault.strike()
        self.x[0] += 0.2 * float(action[0]) + 0.01 * self.np_random.normal()
        observation = self.x * np.nan if self.fault.is_now(self, "nan") else self.x.copy()
        reward = np.inf if self.fault.is_now(self, "reward") else -abs(float(self.x[0]))
        success = {"success": self.x[0] > 1.0} if self.fault.tells_success else {}
        return observation, reward, bool(self.x[0] > 1.0), self.steps >= LENGTH, success


@dataclasses.dataclass(frozen=True)
class Fault:
    """Builds a `Line` that goes wrong at the fifth step of an episode that starts below 0.

    `kind` is "none", "raise", "nan", "reward", "die" or "hang". With a marker, only once: the
    marker is a file that the first time leaves.
    """

    kind: str = "none"
    marker: Path | None = None
    tells_success: bool = True

    # Episodes of all faults are compared: what goes wrong is not in the name.
    __name__ = "Fault"

    def __call__(self) -> gymnasium.Env:
        return Line(self)

    def is_now(self, env: Line, kind: str) -> bool:
        return self.kind == kind and env.steps == 5 and env.start < 0

    def strike(self) -> None:
        if self.kind == "raise":
            raise RuntimeError("the simulation diverged")
        if self.kind not in ("die", "hang"):
            return
        if self.marker is not None:
            if self.marker.exists():
                return
            self.marker.touch()
        if self.kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        # A stopped process does not even answer SIGTERM.
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(1)


class GustyLine(Line):
    """A line with wind from NumPy's global state."""

    def step(self, action):
        self.x[0] += 0.3 * np.random.normal()
        return super().step(action)


@dataclasses.dataclass(frozen=True)
class Gusty:
    """Builds a `GustyLine`."""

    def __call__(self) -> gymnasium.Env:
        return GustyLine(Fault())
