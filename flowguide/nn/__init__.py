from ._ensemble import critic_ensemble as critic_ensemble
from ._layers import Dense as Dense, LayerNorm as LayerNorm
from ._mlp import MLP as MLP
from ._networks import CriticMLP as CriticMLP, ValueMLP as ValueMLP, VelocityMLP as VelocityMLP
from ._time import sinusoidal_embedding as sinusoidal_embedding
