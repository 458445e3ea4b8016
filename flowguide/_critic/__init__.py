from .arithmetic import (
    as_critic as as_critic,
    CriticArithmetic as CriticArithmetic,
    WeightedSum as WeightedSum,
)
from .coherence import Coherence as Coherence, coherence as coherence
from .costate import (
    check_valued as check_valued,
    Costate as Costate,
    holds_costate as holds_costate,
)
from .encoded import EncodedCritic as EncodedCritic
from .ensemble import (
    check_reduction as check_reduction,
    Ensemble as Ensemble,
    MeanOfMembers as MeanOfMembers,
    Pessimism as Pessimism,
    safe_std as safe_std,
)
from .gradient import (
    critic_gradient as critic_gradient,
    CriticGradient as CriticGradient,
)
from .noise_conditioned import NoiseConditionedCritic as NoiseConditionedCritic
from .switch import Switch as Switch
from .value import (
    Critic as Critic,
    critic_at as critic_at,
    depends_on_time as depends_on_time,
    members_of as members_of,
    ranked as ranked,
    share_unknown as share_unknown,
    value_of as value_of,
    values_of as values_of,
)
