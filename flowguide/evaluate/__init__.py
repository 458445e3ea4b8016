from .._extras import check_extra as _check_extra

_check_extra("ogbench", __name__)

from .._agent.agents import Agent, load_agents
from .._agent.cross import cross
from ._evaluate import ENVS_PER_CORE, evaluate, Pool
from ._rollouts import Rollouts, rollouts
from ._runs import evaluate_runs
from ._tune import tune_runs, Tuned

__all__ = [
    "Agent",
    "cross",
    "evaluate",
    "evaluate_runs",
    "load_agents",
    "Pool",
    "Rollouts",
    "rollouts",
    "tune_runs",
    "Tuned",
    "ENVS_PER_CORE",
]
