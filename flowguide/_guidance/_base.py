import abc
from typing import Any

import equinox as eqx
import numpy as np

from .._critic import Critic
from .._policy import AbstractPolicy


class AbstractGuidance(eqx.Module):
    """A transform `(policy, critic) -> policy`. What comes out is a policy, so guidances compose.

    Any callable of that form is a guidance; this class is for those that carry options.
    """

    @abc.abstractmethod
    def __call__(self, policy: AbstractPolicy, critic: Critic) -> AbstractPolicy:
        """The guided policy."""


class AbstractWrapper(AbstractPolicy):
    """A policy around another one, of whose actions and noise its own are."""

    policy: eqx.AbstractVar[Any]

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.policy.bounds

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return self.policy.noise_shape
