from ._agf import AGF
from ._best import Best
from ._bootstrapped import Bootstrapped, BootstrappedState
from ._conditioned import Conditioned, ConditionedState
from ._critic import critic_loss
from ._decoupled import DecoupledIQL, DecoupledState
from ._dsrl import DSRL, DSRLState
from ._edp import EDP
from ._fawac import FAWAC
from ._flow_matching import flow_matching_loss, FlowMatching
from ._fql import FQL
from ._iql import IQL, IQLState, value_loss
from ._learner import AbstractLearner, Jointly, LearnerState
from ._loop import init, Report, train, TrainState
from ._noise_conditioned import NoiseConditioned
from ._qam import QAM
from ._regression import ReturnRegression

__all__ = [
    "AbstractLearner",
    "AGF",
    "Best",
    "Bootstrapped",
    "BootstrappedState",
    "Conditioned",
    "ConditionedState",
    "critic_loss",
    "DecoupledIQL",
    "DecoupledState",
    "DSRL",
    "DSRLState",
    "EDP",
    "FAWAC",
    "flow_matching_loss",
    "FlowMatching",
    "FQL",
    "init",
    "IQL",
    "IQLState",
    "Jointly",
    "LearnerState",
    "NoiseConditioned",
    "QAM",
    "Report",
    "ReturnRegression",
    "train",
    "TrainState",
    "value_loss",
]
