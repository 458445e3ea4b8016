from ._agents import Agent as Agent, load_agents as load_agents
from ._compare import compare as compare, Comparison as Comparison
from ._conditions import Condition as Condition, cross as cross
from ._cost import Cost as Cost, cost as cost
from ._episodes import (
    Episode as Episode,
    read_episodes as read_episodes,
    write_episodes as write_episodes,
)
from ._evaluate import evaluate as evaluate, Pool as Pool
from ._iqm import (
    interquartile_difference as interquartile_difference,
    interquartile_mean as interquartile_mean,
)
from ._plots import (
    plot_along_training as plot_along_training,
    plot_success as plot_success,
)
from ._report import report as report
from ._runs import evaluate_runs as evaluate_runs
from ._statistics import (
    Estimate as Estimate,
    Success as Success,
    success as success,
    summarise as summarise,
)
from ._tune import tune_runs as tune_runs, Tuned as Tuned
from ._videos import record_videos as record_videos, video_problem as video_problem
