import importlib as _importlib
from importlib.metadata import version as _version
from typing import Any as _Any, TYPE_CHECKING as _TYPE_CHECKING

from . import nn
from ._classifier_free import ClassifierFreeVelocity
from ._critic import (
    Critic,
    Ensemble,
    NoiseConditionedCritic,
    Pessimism,
)
from ._critic_arithmetic import (
    as_critic,
    Switch,
    WeightedSum,
)
from ._estimate import (
    AbstractEstimate,
    NoisyAction,
    OneStepEstimate,
    PosteriorEstimate,
    RolloutEstimate,
)
from ._guidance import (
    AbstractGuidance,
    beam,
    best_of_n,
    bptt,
    cfg,
    DisagreementGate,
    grad_step,
    GradientGuidance,
    guided_action_flow,
    noise_ascent,
    ode,
    ood,
    posterior,
    qgf,
    qgf_jacobian,
    qgf_orthogonal,
    qgf_regularised,
    robust_q,
    trust_region,
)
from ._guide import guide, register
from ._jacobian import (
    AbstractJacobian,
    DroppedJacobian,
    ExactJacobian,
    OrthogonalJacobian,
    RegularisedJacobian,
)
from ._policy import (
    AbstractPolicy,
    FlowPolicy,
    sample,
    Trace,
)
from ._save import load, load_observations, save
from ._schedule import ScoreWeight, WeightInterval
from ._unit import DEFAULT_KAPPA, weight_unit
from ._velocity import reverse_time, VelocityField

if _TYPE_CHECKING:
    from . import (
        data as data,
        diagnose as diagnose,
        evaluate as evaluate,
        sweep as sweep,
        train as train,
    )

__version__ = _version("flowguide")

__all__ = [
    "AbstractEstimate",
    "AbstractGuidance",
    "AbstractJacobian",
    "AbstractPolicy",
    "as_critic",
    "beam",
    "best_of_n",
    "bptt",
    "cfg",
    "ClassifierFreeVelocity",
    "Critic",
    "DEFAULT_KAPPA",
    "DisagreementGate",
    "DroppedJacobian",
    "Ensemble",
    "ExactJacobian",
    "FlowPolicy",
    "grad_step",
    "GradientGuidance",
    "guide",
    "guided_action_flow",
    "load",
    "load_observations",
    "nn",
    "noise_ascent",
    "NoiseConditionedCritic",
    "NoisyAction",
    "ode",
    "OneStepEstimate",
    "ood",
    "OrthogonalJacobian",
    "Pessimism",
    "posterior",
    "PosteriorEstimate",
    "qgf",
    "qgf_jacobian",
    "qgf_orthogonal",
    "qgf_regularised",
    "register",
    "RegularisedJacobian",
    "reverse_time",
    "robust_q",
    "RolloutEstimate",
    "sample",
    "save",
    "ScoreWeight",
    "Switch",
    "Trace",
    "trust_region",
    "VelocityField",
    "weight_unit",
    "WeightedSum",
    "WeightInterval",
]

# Imported when they are first used: they need simulators, plotting, SciPy, and guiding does not.
_SUBMODULES = ("data", "diagnose", "evaluate", "sweep", "train")


def __getattr__(name: str) -> _Any:
    if name in _SUBMODULES:
        return _importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBMODULES, "__version__"])
