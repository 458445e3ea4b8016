from .._extras import check_extra as _check_extra

_check_extra("lerobot", __name__)

from ._critic import critic, UnpaddedCritic
from ._environment import ProcessedEnv
from ._flow_policy import flow_policy, pooled_features
from ._guide import guide
from ._observations import observations

__all__ = [
    "critic",
    "flow_policy",
    "guide",
    "observations",
    "pooled_features",
    "ProcessedEnv",
    "UnpaddedCritic",
]
