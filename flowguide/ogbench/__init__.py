from .._extras import check_extra as _check_extra

_check_extra("ogbench", __name__)

from ._collect import check_collectable, collect
from ._load import (
    DEFAULT_DATASET_DIR,
    load_ogbench,
    load_ogbench_arrays,
    load_ogbench_file,
    ogbench_dataset,
    ogbench_slices,
    warn_of_no_success,
)
from ._names import check_name, dataset_name, is_goal_conditioned

__all__ = [
    "check_collectable",
    "check_name",
    "collect",
    "dataset_name",
    "DEFAULT_DATASET_DIR",
    "is_goal_conditioned",
    "load_ogbench",
    "load_ogbench_arrays",
    "load_ogbench_file",
    "ogbench_dataset",
    "ogbench_slices",
    "warn_of_no_success",
]
