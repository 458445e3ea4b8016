"""Episodes that were played, and what follows from them."""

from ._results.compare import compare, Comparison, Comparisons
from ._results.conditions import Condition
from ._results.episodes import Episode, read_episodes, write_episodes
from ._results.iqm import interquartile_difference, interquartile_mean
from ._results.means import across_runs, Means, means
from ._results.profiles import performance_profile, probability_of_improvement
from ._results.statistics import Estimate, Success, success, summarise

__all__ = [
    "across_runs",
    "compare",
    "Comparison",
    "Comparisons",
    "Condition",
    "Episode",
    "Estimate",
    "interquartile_difference",
    "interquartile_mean",
    "Means",
    "means",
    "performance_profile",
    "probability_of_improvement",
    "read_episodes",
    "Success",
    "success",
    "summarise",
    "write_episodes",
]
