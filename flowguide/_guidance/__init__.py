from .agf import agf as agf
from .base import (
    AbstractFlowGuidance as AbstractFlowGuidance,
    AbstractGuidance as AbstractGuidance,
)
from .beam import Beam as Beam, beam as beam, BeamPolicy as BeamPolicy
from .best_of_n import (
    best_of_n as best_of_n,
    BestOfN as BestOfN,
    BestOfNPolicy as BestOfNPolicy,
)
from .cfg import cfg as cfg, ClassifierFree as ClassifierFree
from .gate import DisagreementGate as DisagreementGate
from .grad_step import (
    grad_step as grad_step,
    GradStep as GradStep,
    GradStepPolicy as GradStepPolicy,
)
from .gradient import GradientGuidance as GradientGuidance
from .guided_action_flow import guided_action_flow as guided_action_flow
from .methods import (
    bptt as bptt,
    ode as ode,
    ood as ood,
    posterior as posterior,
    qgf as qgf,
    qgf_jacobian as qgf_jacobian,
    qgf_orthogonal as qgf_orthogonal,
    qgf_regularised as qgf_regularised,
    robust_q as robust_q,
)
from .noise_ascent import (
    noise_ascent as noise_ascent,
    NoiseAscent as NoiseAscent,
    NoiseAscentPolicy as NoiseAscentPolicy,
)
from .qpilots import qpilots as qpilots
from .trust_region import (
    trust_region as trust_region,
    TrustRegion as TrustRegion,
    TrustRegionPolicy as TrustRegionPolicy,
)
