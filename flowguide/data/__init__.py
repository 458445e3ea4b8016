from ._collect import collect
from ._dataset import (
    Dataset,
    from_arrays,
    split_episodes,
)
from ._goals import (
    CRITIC_GOALS,
    GoalRatios,
    GoalWindows,
    POLICY_GOALS,
)
from ._minari import load_minari
from ._ogbench import (
    dataset_name,
    is_goal_conditioned,
    load_ogbench,
    load_ogbench_file,
    ogbench_slices,
)
from ._slices import SliceStream
from ._transitions import from_transitions
from ._windows import (
    AbstractSampler,
    Batch,
    PerLearner,
    Windows,
)

__all__ = [
    "AbstractSampler",
    "Batch",
    "collect",
    "CRITIC_GOALS",
    "Dataset",
    "dataset_name",
    "from_arrays",
    "from_transitions",
    "GoalRatios",
    "GoalWindows",
    "is_goal_conditioned",
    "load_minari",
    "load_ogbench",
    "load_ogbench_file",
    "ogbench_slices",
    "PerLearner",
    "POLICY_GOALS",
    "SliceStream",
    "split_episodes",
    "Windows",
]
