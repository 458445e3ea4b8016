# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import torch  # pyright: ignore[reportMissingImports]
from jaxtyping import Array, Float

from .._critic import check_reduction, CriticArithmetic
from .._pytree import PyTree
from ._ask import ask_with_gradients
from ._function import TorchFunction
from ._result import find_result, result_like


class TorchCritic(CriticArithmetic):
    """See `critic`."""

    function: TorchFunction = eqx.field(static=True)
    reduction: str | Callable[[Array], Array]

    def members(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, " K"]:
        """The values that the function gives, shape `(K,)`; `(1,)` if it gives one."""
        arguments = self.function.arrays(observation, action)
        (found,) = find_result(self.function, arguments, _members).leaves
        values = result_like(jax.ShapeDtypeStruct(found.shape, action.dtype), _members)
        return ask_with_gradients(arguments, self.function, values)

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        if callable(self.reduction):
            return self.reduction(self.members(observation, action))
        arguments = self.function.arrays(observation, action)
        # Reduced in PyTorch, K members have one backward pass together.
        value = result_like(jax.ShapeDtypeStruct((), action.dtype), _REDUCED[self.reduction])
        return ask_with_gradients(arguments, self.function, value)


def critic(
    function: Callable[..., Any],
    *,
    reduction: str | Callable[[Array], Array] = "min",
    dtype: Any = None,
    device: Any = None,
) -> CriticArithmetic:
    """A critic of PyTorch, for `flowguide.guide`.

    Value and gradient come from one call of the function. It can be added to others and scaled, as
    every critic of flowguide.

    **Arguments:**

    - `function`: a callable `function(observation, action)` of tensors with a batch axis in front,
        which autograd can differentiate in `action`. It returns values of shape `(B,)`, or
        `(B, K)` for an ensemble of K.
    - `reduction`: what K values are together, as in `flowguide.Ensemble`. `"min"` and `"mean"` are
        computed in PyTorch; a callable, of JAX, from the values, shape `(K,)`, to a scalar takes K
        backward passes.
    - `dtype`, `device`: as in `flowguide.torch.velocity`.

    **Returns:**

    A critic `critic(observation, action)` of one sample, with `members(observation, action)`, the
    values of shape `(K,)`.

    **Raises:**

    `ValueError` for an unknown reduction; otherwise as `flowguide.torch.velocity`, and, when it is
    differentiated, for values that do not depend on the action.
    """
    check_reduction(reduction)
    asked = TorchFunction("critic", ("observation", "action"), function, dtype, device)
    return TorchCritic(asked, reduction)


def _members(result: Any) -> torch.Tensor:
    if not isinstance(result, torch.Tensor):
        raise TypeError(f"The critic returned a {type(result).__name__}: expected a tensor.")
    if result.ndim not in (1, 2):
        raise ValueError(
            f"The critic returned a tensor of shape {tuple(result.shape)}: expected values of "
            "shape (B,), or (B, K) for an ensemble of K."
        )
    return result if result.ndim == 2 else result[:, None]


def _smallest(result: Any) -> torch.Tensor:
    return _members(result).amin(1)


def _mean(result: Any) -> torch.Tensor:
    return _members(result).mean(1)


_REDUCED = {"min": _smallest, "mean": _mean}
