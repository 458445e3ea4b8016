import abc
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from .._pytree import PyTree
from .base import AbstractPolicy, Acted, Trace
from .method import compiled, compiled_with_nans


class AbstractWrapper(AbstractPolicy):
    """A policy around another one, of whose actions and noise its own are.

    Its parts are called `policy`, `critic` and `guidance`, always: `flowguide.with_weight` and
    `flowguide.with_critic` find them. A wrapper defines `_act`, `_trace` and `costs`.
    """

    policy: eqx.AbstractVar[Any]
    critic: eqx.AbstractVar[Any]
    guidance: eqx.AbstractVar[Any]

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.policy.bounds

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return self.policy.noise_shape

    @property
    def num_steps(self) -> int | None:
        """How many steps the flow has; None if that is not known."""
        return getattr(self.policy, "num_steps", None)

    def prepare(self, observation: PyTree) -> PyTree:
        return self.policy.prepare(observation)

    @compiled
    def from_noise(
        self, noise: Float[Array, "*noise"], observation: PyTree
    ) -> Float[Array, "*action"]:
        return self._act(noise, self.prepare(observation)).action

    @compiled_with_nans
    def trace(self, noise: Float[Array, "*noise"], observation: PyTree) -> Trace:
        return self._trace(noise, self.prepare(observation))

    @compiled_with_nans
    def act(self, noise: Float[Array, "*noise"], observation: PyTree) -> Acted:
        return self._act(noise, self.prepare(observation))

    @abc.abstractmethod
    def _act(self, noise: Float[Array, "*noise"], observation: PyTree) -> Acted:
        """`act`, of an observation that is prepared."""

    @abc.abstractmethod
    def _trace(self, noise: Float[Array, "*noise"], observation: PyTree) -> Trace:
        """`trace`, of an observation that is prepared."""

    def __repr__(self) -> str:
        from .._describe import describe_wrapper

        return describe_wrapper(self)
