from ._ensemble import critic_ensemble
from ._layers import Dense, LayerNorm
from ._mlp import MLP
from ._networks import CriticMLP, ValueMLP, VelocityMLP
from ._noise_actor import NoiseActor
from ._standardise import Standardise
from ._time import sinusoidal_embedding

__all__ = [
    "critic_ensemble",
    "CriticMLP",
    "Dense",
    "LayerNorm",
    "MLP",
    "NoiseActor",
    "sinusoidal_embedding",
    "Standardise",
    "ValueMLP",
    "VelocityMLP",
]
