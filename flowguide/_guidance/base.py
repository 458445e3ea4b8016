import abc

import equinox as eqx

from .._critic import Critic
from .._policy import AbstractPolicy


class AbstractGuidance(eqx.Module):
    """A transform `(policy, critic) -> policy`. What comes out is a policy, so guidances compose.

    Any callable of that form is a guidance; this class is for those that carry options.
    """

    @abc.abstractmethod
    def __call__(self, policy: AbstractPolicy, critic: Critic) -> AbstractPolicy:
        """The guided policy."""
