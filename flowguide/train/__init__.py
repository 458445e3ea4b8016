from ._flow_matching import (
    flow_matching_loss as flow_matching_loss,
    FlowMatching as FlowMatching,
)
from ._iql import (
    critic_loss as critic_loss,
    IQL as IQL,
    IQLState as IQLState,
    value_loss as value_loss,
)
from ._learner import (
    AbstractLearner as AbstractLearner,
    Jointly as Jointly,
    LearnerState as LearnerState,
)
from ._loop import train as train
