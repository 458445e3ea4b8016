from ._dataset import Dataset, from_arrays, split_episodes
from ._goals import CRITIC_GOALS, GoalRatios, GoalWindows, POLICY_GOALS
from ._minari import load_minari
from ._slices import SliceStream
from ._transitions import from_transitions
from ._windows import AbstractSampler, Batch, PerLearner, Windows

__all__ = [
    "AbstractSampler",
    "Batch",
    "CRITIC_GOALS",
    "Dataset",
    "from_arrays",
    "from_transitions",
    "GoalRatios",
    "GoalWindows",
    "load_minari",
    "PerLearner",
    "POLICY_GOALS",
    "SliceStream",
    "split_episodes",
    "Windows",
]
