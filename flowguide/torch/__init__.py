# Where PyTorch is not installed, pyright takes this package for it: hence what its files say to it.
from .._extras import check_extra as _check_extra

_check_extra("torch", __name__)

from ._critic import critic
from ._encoder import encoder
from ._velocity import velocity

__all__ = [
    "critic",
    "encoder",
    "velocity",
]
