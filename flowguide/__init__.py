from importlib.metadata import version as _version

from . import nn as nn
from ._classifier_free import ClassifierFreeVelocity as ClassifierFreeVelocity
from ._critic import (
    Critic as Critic,
    Ensemble as Ensemble,
    NoiseConditionedCritic as NoiseConditionedCritic,
    Pessimism as Pessimism,
)
from ._critic_arithmetic import (
    as_critic as as_critic,
    Switch as Switch,
    WeightedSum as WeightedSum,
)
from ._estimate import (
    AbstractEstimate as AbstractEstimate,
    NoisyAction as NoisyAction,
    OneStepEstimate as OneStepEstimate,
    PosteriorEstimate as PosteriorEstimate,
    RolloutEstimate as RolloutEstimate,
)
from ._guidance import (
    AbstractGuidance as AbstractGuidance,
    beam as beam,
    best_of_n as best_of_n,
    bptt as bptt,
    cfg as cfg,
    DisagreementGate as DisagreementGate,
    grad_step as grad_step,
    GradientGuidance as GradientGuidance,
    guided_action_flow as guided_action_flow,
    noise_ascent as noise_ascent,
    ode as ode,
    ood as ood,
    posterior as posterior,
    qgf as qgf,
    qgf_jacobian as qgf_jacobian,
    qgf_orthogonal as qgf_orthogonal,
    qgf_regularised as qgf_regularised,
    robust_q as robust_q,
    trust_region as trust_region,
)
from ._guide import guide as guide
from ._jacobian import (
    AbstractJacobian as AbstractJacobian,
    DroppedJacobian as DroppedJacobian,
    ExactJacobian as ExactJacobian,
    OrthogonalJacobian as OrthogonalJacobian,
    RegularisedJacobian as RegularisedJacobian,
)
from ._policy import (
    AbstractPolicy as AbstractPolicy,
    FlowPolicy as FlowPolicy,
    sample as sample,
    Trace as Trace,
)
from ._save import load as load, load_observations as load_observations, save as save
from ._schedule import ScoreWeight as ScoreWeight, WeightInterval as WeightInterval
from ._unit import DEFAULT_KAPPA as DEFAULT_KAPPA, weight_unit as weight_unit
from ._velocity import reverse_time as reverse_time, VelocityField as VelocityField

__version__ = _version("flowguide")
