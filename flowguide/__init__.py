from importlib.metadata import version as _version

from . import nn as nn
from ._critic import (
    Critic as Critic,
    Ensemble as Ensemble,
    NoiseConditionedCritic as NoiseConditionedCritic,
    Pessimism as Pessimism,
)
from ._estimate import (
    AbstractEstimate as AbstractEstimate,
    NoisyAction as NoisyAction,
    OneStepEstimate as OneStepEstimate,
    RolloutEstimate as RolloutEstimate,
)
from ._guidance import (
    AbstractGuidance as AbstractGuidance,
    best_of_n as best_of_n,
    bptt as bptt,
    DisagreementGate as DisagreementGate,
    grad_step as grad_step,
    GradientGuidance as GradientGuidance,
    ode as ode,
    ood as ood,
    qgf as qgf,
    qgf_jacobian as qgf_jacobian,
    robust_q as robust_q,
)
from ._guide import guide as guide
from ._jacobian import (
    AbstractJacobian as AbstractJacobian,
    DroppedJacobian as DroppedJacobian,
    ExactJacobian as ExactJacobian,
)
from ._policy import (
    AbstractPolicy as AbstractPolicy,
    FlowPolicy as FlowPolicy,
    sample as sample,
    Trace as Trace,
)
from ._save import load as load, load_observations as load_observations, save as save
from ._unit import DEFAULT_KAPPA as DEFAULT_KAPPA, weight_unit as weight_unit
from ._velocity import reverse_time as reverse_time, VelocityField as VelocityField

__version__ = _version("flowguide")
