from .base import AbstractGuidance as AbstractGuidance
from .best_of_n import best_of_n as best_of_n, BestOfN as BestOfN, BestOfNPolicy as BestOfNPolicy
from .gate import DisagreementGate as DisagreementGate
from .grad_step import (
    grad_step as grad_step,
    GradStep as GradStep,
    GradStepPolicy as GradStepPolicy,
)
from .gradient import GradientGuidance as GradientGuidance, GuidedVelocity as GuidedVelocity
from .methods import (
    bptt as bptt,
    ode as ode,
    ood as ood,
    qgf as qgf,
    qgf_jacobian as qgf_jacobian,
    robust_q as robust_q,
)
