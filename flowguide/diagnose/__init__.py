from .._extras import check_extra as _check_extra

_check_extra("ogbench", __name__)

from ._calibration import critic_calibration, CriticCalibration
from ._critic_error import critic_error, CriticError
from ._exploitation import Exploitation, exploitation
from ._noise_sensitivity import noise_sensitivity, NoiseSensitivity
from ._over_optimisation import over_optimisation, OverOptimisation
from ._tilted import MixtureVelocity, tilted_distance, TiltedDistance
from ._trajectory import Trajectory, trajectory
from ._value_optimisation import value_optimisation, ValueOptimisation

__all__ = [
    "critic_calibration",
    "CriticCalibration",
    "critic_error",
    "CriticError",
    "Exploitation",
    "exploitation",
    "MixtureVelocity",
    "noise_sensitivity",
    "NoiseSensitivity",
    "over_optimisation",
    "OverOptimisation",
    "tilted_distance",
    "TiltedDistance",
    "Trajectory",
    "trajectory",
    "value_optimisation",
    "ValueOptimisation",
]
