from ._chunks import ActionChunks as ActionChunks
from ._conditions import Condition as Condition
from ._episodes import (
    Episode as Episode,
    read_episodes as read_episodes,
    write_episodes as write_episodes,
)
from ._evaluate import evaluate as evaluate
from ._plots import (
    plot_along_training as plot_along_training,
    plot_success as plot_success,
)
from ._statistics import Success as Success, success as success, summarise as summarise
