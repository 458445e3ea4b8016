from ._collect import collect as collect
from ._dataset import (
    Dataset as Dataset,
    from_arrays as from_arrays,
    split_episodes as split_episodes,
)
from ._goals import (
    CRITIC_GOALS as CRITIC_GOALS,
    GoalRatios as GoalRatios,
    GoalWindows as GoalWindows,
    POLICY_GOALS as POLICY_GOALS,
)
from ._minari import load_minari as load_minari
from ._ogbench import (
    dataset_name as dataset_name,
    is_goal_conditioned as is_goal_conditioned,
    load_ogbench as load_ogbench,
    load_ogbench_file as load_ogbench_file,
    ogbench_slices as ogbench_slices,
)
from ._slices import SliceStream as SliceStream
from ._windows import (
    AbstractSampler as AbstractSampler,
    Batch as Batch,
    PerLearner as PerLearner,
    Windows as Windows,
)
