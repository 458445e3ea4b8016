from .base import AbstractEstimate as AbstractEstimate
from .noisy import NoisyAction as NoisyAction
from .one_step import OneStepEstimate as OneStepEstimate
from .posterior import PosteriorEstimate as PosteriorEstimate
from .rollout import RolloutEstimate as RolloutEstimate
