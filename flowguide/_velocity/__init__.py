from .base import (
    ask_velocity as ask_velocity,
    check_velocity as check_velocity,
    unguided_step as unguided_step,
    VelocityField as VelocityField,
    VelocityStep as VelocityStep,
)
from .classifier_free import (
    BAD as BAD,
    ClassifierFreeVelocity as ClassifierFreeVelocity,
    GOOD as GOOD,
    UNKNOWN as UNKNOWN,
)
from .reversed import reverse_time as reverse_time, ReversedVelocity as ReversedVelocity
