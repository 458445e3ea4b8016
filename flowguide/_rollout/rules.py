"""How episodes are played, whoever plays them."""

import dataclasses
from typing import Literal

import gymnasium
import numpy as np

from .._checks import as_positive_int
from .._policy import AbstractPolicy

SuccessAt = Literal["end", "any"]


@dataclasses.dataclass(frozen=True)
class Rules:
    """How an episode is played. Episodes of different rules are no pairs.

    **Attributes:**

    - `replan`: how many actions of a chunk are played before the next is chosen; None for all.
    - `goal_conditioned`: whether observations are followed by the environment's goal.
    - `max_episode_steps`: where an episode ends at the latest; None for the environment's own end.
    - `success_at`: `"end"` if what the last step says counts, `"any"` if one solved step is enough.
    - `rescale`: whether the policy's range of actions is mapped onto the environment's.
    """

    replan: int | None = None
    goal_conditioned: bool = False
    max_episode_steps: int | None = None
    success_at: SuccessAt = "end"
    rescale: bool = False

    def __post_init__(self):
        for name in ("replan", "max_episode_steps"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, as_positive_int(name, value))
        if self.success_at not in ("end", "any"):
            raise ValueError(f"success_at must be 'end' or 'any', got {self.success_at!r}.")


@dataclasses.dataclass(frozen=True, eq=False)
class Rescaling:
    """Maps a policy's range of actions onto an environment's."""

    low: np.ndarray
    high: np.ndarray
    space: gymnasium.spaces.Box

    def __call__(self, action: np.ndarray) -> np.ndarray:
        """An action, or a chunk of them, of the policy's shape."""
        width = self.high - self.low
        # A dimension that the policy has fixed has no range to map: the middle of the other.
        share = np.where(width > 0, (action - self.low) / np.where(width > 0, width, 1), 0.5)
        low, high = (np.asarray(x, np.float64) for x in (self.space.low, self.space.high))
        return (low + share * (high - low)).astype(np.float32)


def rescaling(policy: AbstractPolicy, space: gymnasium.spaces.Box) -> Rescaling:
    """From the policy's range to the environment's.

    **Raises:**

    `ValueError` where one of them has no bounds.
    """
    bounds = _bounds_of(policy)
    is_bounded = np.all(np.isfinite(bounds))
    if not is_bounded or not space.is_bounded():
        raise ValueError(
            "rescale maps the policy's range of actions onto the environment's, and "
            f"{'the environment' if is_bounded else 'the policy'} has no bounds."
        )
    return Rescaling(*bounds, space)


def bounds_doubt(policy: AbstractPolicy, space: gymnasium.spaces.Box) -> str | None:
    """What is doubtful about a policy's range in this environment, in a sentence."""
    bounds = _bounds_of(policy)
    low, high = (np.asarray(x, np.float64) for x in (space.low, space.high))
    tolerance = 1e-4 * np.where(np.isfinite(high - low), high - low, 1)
    given = (
        f"The policy's actions are in {_range(*bounds)}, the environment takes {_range(low, high)}"
    )
    advice = " rescale=True (--rescale) maps one onto the other."
    if not (np.all(np.isfinite(bounds)) and space.is_bounded()):
        advice = ""
    if np.any(bounds[0] < low - tolerance) or np.any(bounds[1] > high + tolerance):
        return f"{given}: actions outside are clipped.{advice}"
    if np.any(bounds[0] > low + tolerance) or np.any(bounds[1] < high - tolerance):
        bounded = np.isfinite(low) & np.isfinite(high)
        if np.all(bounded):
            return f"{given}: some of them are never played.{advice}"
    return None


def _bounds_of(policy: AbstractPolicy) -> tuple[np.ndarray, np.ndarray]:
    low, high = policy.bounds
    return np.asarray(low, np.float64), np.asarray(high, np.float64)


def _range(low: np.ndarray, high: np.ndarray) -> str:
    ends = []
    for bound in (low, high):
        flat = np.unique(bound)
        ends.append(f"{flat[0]:g}" if len(flat) == 1 else str(np.asarray(bound).round(4).tolist()))
    return f"[{', '.join(ends)}]"


def as_action(space: gymnasium.spaces.Box, action: np.ndarray) -> np.ndarray:
    """An action in the environment's type, and inside its bounds, from which rounding to float32
    can have taken it."""
    # Before the type changes: an integer of one byte would turn -1 into 255.
    return np.clip(np.asarray(action, np.float64), space.low, space.high).astype(space.dtype)
