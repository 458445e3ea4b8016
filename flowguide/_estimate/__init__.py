from .base import AbstractEstimate as AbstractEstimate
from .noisy import NoisyAction as NoisyAction
from .one_step import OneStepEstimate as OneStepEstimate
from .rollout import RolloutEstimate as RolloutEstimate
