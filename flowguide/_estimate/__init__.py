from .base import (
    AbstractEstimate as AbstractEstimate,
    pulled_back as pulled_back,
)
from .noisy import NoisyAction as NoisyAction
from .one_step import OneStepEstimate as OneStepEstimate
from .posterior import PosteriorEstimate as PosteriorEstimate
from .rollout import (
    refuse_step_to as refuse_step_to,
    RolloutEstimate as RolloutEstimate,
)
