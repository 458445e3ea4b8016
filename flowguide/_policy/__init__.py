from .base import (
    AbstractPolicy as AbstractPolicy,
    Acted as Acted,
    Prepared as Prepared,
    raw_observation as raw_observation,
    Trace as Trace,
)
from .flow import Flow as Flow
from .flow_cost import FlowCost as FlowCost
from .flow_policy import FlowPolicy as FlowPolicy, GuidanceTerm as GuidanceTerm
from .sample import sample as sample
from .steering import SquashedGaussian as SquashedGaussian
from .wrapper import AbstractWrapper as AbstractWrapper
