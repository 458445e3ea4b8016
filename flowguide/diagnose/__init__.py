from ._critic_error import critic_error as critic_error, CriticError as CriticError
from ._exploitation import Exploitation as Exploitation, exploitation as exploitation
from ._means import across_runs as across_runs, Means as Means
from ._noise_sensitivity import (
    noise_sensitivity as noise_sensitivity,
    NoiseSensitivity as NoiseSensitivity,
)
from ._tilted import (
    MixtureVelocity as MixtureVelocity,
    tilted_distance as tilted_distance,
    TiltedDistance as TiltedDistance,
)
from ._trajectory import Trajectory as Trajectory, trajectory as trajectory
from ._value_optimisation import (
    value_optimisation as value_optimisation,
    ValueOptimisation as ValueOptimisation,
)
