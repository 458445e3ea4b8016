from ._best import Best as Best
from ._bootstrapped import Bootstrapped as Bootstrapped, BootstrappedState as BootstrappedState
from ._conditioned import Conditioned as Conditioned, ConditionedState as ConditionedState
from ._critic import critic_loss as critic_loss
from ._flow_matching import (
    flow_matching_loss as flow_matching_loss,
    FlowMatching as FlowMatching,
)
from ._iql import (
    IQL as IQL,
    IQLState as IQLState,
    value_loss as value_loss,
)
from ._learner import (
    AbstractLearner as AbstractLearner,
    Jointly as Jointly,
    LearnerState as LearnerState,
)
from ._loop import init as init, Report as Report, train as train, TrainState as TrainState
from ._metrics import read_metrics as read_metrics
from ._noise_conditioned import NoiseConditioned as NoiseConditioned
from ._presets import preset as preset, PRESETS as PRESETS
from ._regression import ReturnRegression as ReturnRegression
from ._run import run as run
from ._settings import Settings as Settings
