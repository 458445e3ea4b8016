import importlib as _importlib
from importlib.metadata import version as _version
from typing import Any as _Any, TYPE_CHECKING as _TYPE_CHECKING

from . import nn
from ._catalogue import CATALOGUE, Method, register
from ._cost import Cost
from ._critic import (
    as_critic,
    Coherence,
    coherence,
    Costate,
    Critic,
    EncodedCritic,
    Ensemble,
    NoiseConditionedCritic,
    Pessimism,
    Switch,
    WeightedSum,
)
from ._describe import describe
from ._estimate import (
    AbstractEstimate,
    NoisyAction,
    OneStepEstimate,
    PosteriorEstimate,
    RolloutEstimate,
)
from ._flops import count_flops
from ._guidance import (
    AbstractFlowGuidance,
    AbstractGuidance,
    agf,
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
    qpilots,
    robust_q,
    trust_region,
)
from ._guide import guide
from ._jacobian import (
    AbstractJacobian,
    DroppedJacobian,
    ExactJacobian,
    OrthogonalJacobian,
    RegularisedJacobian,
)
from ._policy import (
    AbstractPolicy,
    Acted,
    Flow,
    FlowPolicy,
    GuidanceTerm,
    sample,
    Trace,
)
from ._replace import with_critic, with_weight
from ._save import load, load_observations, save
from ._velocity import ClassifierFreeVelocity, reverse_time, VelocityField, VelocityStep
from ._weight import (
    AbstractWeight,
    DEFAULT_KAPPA,
    Kappa,
    Normalised,
    RealTimeWeight,
    Relative,
    ScoreWeight,
    weight_unit,
    WeightInterval,
    WeightPoint,
)

if _TYPE_CHECKING:
    from . import (
        data as data,
        diagnose as diagnose,
        evaluate as evaluate,
        lerobot as lerobot,
        ogbench as ogbench,
        plot as plot,
        report as report,
        results as results,
        runs as runs,
        sweep as sweep,
        torch as torch,
        train as train,
        video as video,
    )

__version__ = _version("flowguide")

__all__ = [
    "AbstractEstimate",
    "AbstractFlowGuidance",
    "AbstractGuidance",
    "AbstractJacobian",
    "AbstractPolicy",
    "AbstractWeight",
    "Acted",
    "agf",
    "as_critic",
    "beam",
    "best_of_n",
    "bptt",
    "CATALOGUE",
    "cfg",
    "ClassifierFreeVelocity",
    "coherence",
    "Coherence",
    "Cost",
    "Costate",
    "count_flops",
    "Critic",
    "DEFAULT_KAPPA",
    "describe",
    "DisagreementGate",
    "DroppedJacobian",
    "EncodedCritic",
    "Ensemble",
    "ExactJacobian",
    "Flow",
    "FlowPolicy",
    "grad_step",
    "GradientGuidance",
    "GuidanceTerm",
    "guide",
    "guided_action_flow",
    "Kappa",
    "load",
    "load_observations",
    "Method",
    "nn",
    "noise_ascent",
    "NoiseConditionedCritic",
    "NoisyAction",
    "Normalised",
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
    "qpilots",
    "RealTimeWeight",
    "register",
    "RegularisedJacobian",
    "Relative",
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
    "VelocityStep",
    "weight_unit",
    "WeightedSum",
    "WeightInterval",
    "WeightPoint",
    "with_critic",
    "with_weight",
]

# Imported when they are first used: most need simulators and plotting, and guiding does not.
_SUBMODULES = (
    "data",
    "diagnose",
    "evaluate",
    "lerobot",
    "ogbench",
    "plot",
    "report",
    "results",
    "runs",
    "sweep",
    "torch",
    "train",
    "video",
)


def __getattr__(name: str) -> _Any:
    if name in _SUBMODULES:
        try:
            return _importlib.import_module(f".{name}", __name__)
        except ImportError as error:
            # Whoever looks at all attributes, such as `help`, expects nothing else.
            raise AttributeError(str(error)) from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBMODULES, "__version__"])
