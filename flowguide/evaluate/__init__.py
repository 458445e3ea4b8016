from ._agents import Agent, load_agents
from ._compare import compare, Comparison
from ._conditions import Condition
from ._cross import cross
from ._episodes import (
    Episode,
    read_episodes,
    write_episodes,
)
from ._evaluate import evaluate, Pool
from ._iqm import (
    interquartile_difference,
    interquartile_mean,
)
from ._plots import (
    plot_along_training,
    plot_success,
)
from ._report import report
from ._runs import evaluate_runs
from ._statistics import (
    Estimate,
    Success,
    success,
    summarise,
)
from ._tune import tune_runs, Tuned
from ._videos import record_videos, video_problem

__all__ = [
    "Agent",
    "compare",
    "Comparison",
    "Condition",
    "cross",
    "Episode",
    "Estimate",
    "evaluate",
    "evaluate_runs",
    "interquartile_difference",
    "interquartile_mean",
    "load_agents",
    "plot_along_training",
    "plot_success",
    "Pool",
    "read_episodes",
    "record_videos",
    "report",
    "Success",
    "success",
    "summarise",
    "tune_runs",
    "Tuned",
    "video_problem",
    "write_episodes",
]
