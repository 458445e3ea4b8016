from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike, Float

from .._pytree import PyTree
from .._velocity import VelocityField
from ._ask import ask
from ._function import TorchFunction
from ._result import result_like


class TorchVelocity(eqx.Module):
    """See `velocity`."""

    function: TorchFunction = eqx.field(static=True)

    def __call__(
        self, t: Float[ArrayLike, ""], action: Float[Array, "*action"], observation: PyTree
    ) -> Float[Array, "*action"]:
        arguments = self.function.arrays(t, action, observation)
        result = result_like(jax.ShapeDtypeStruct(action.shape, action.dtype))
        return ask(arguments, self.function, result)


def velocity(
    function: Callable[..., Any], *, dtype: Any = None, device: Any = None
) -> VelocityField:
    """A velocity field of PyTorch, for `flowguide.FlowPolicy`.

    Under `jax.vmap`, however deep, the function is called once for the whole batch. Its derivative,
    which `qgf_jacobian`, `bptt` and `noise_ascent` ask for, is that of PyTorch's autograd, and
    asks the function once more. Its arguments are copies.

    **Arguments:**

    - `function`: a callable `function(t, action, observation)`, such as a `torch.nn.Module`: `t`
        of shape `(B,)`, noise at 0 (`flowguide.reverse_time` is for those that run the other way),
        `action` of shape `(B, *action)`, and `observation` a pytree of tensors with `B` in front.
        It returns the velocity, shape `(B, *action)`. A module is asked in the mode, training or
        not, that it is in.
    - `dtype`: what floating-point inputs are cast to; the result is cast back to the action's. None
        for that of a module's first floating-point parameter, and without a module for the
        action's.
    - `device`: where the inputs go. None for that of a module's first parameter, and without a
        module for the CPU.

    **Returns:**

    A velocity field `velocity(t, action, observation)` of one sample.

    **Raises:**

    `TypeError` for what cannot be called or hashed. When called: `TypeError` for leaves of the
    observation that are no arrays, and `NotImplementedError` for a derivative of a derivative. What
    the function raises, and what is wrong with its result, is in the message of the
    `jax.errors.JaxRuntimeError` or `ValueError` that JAX raises for it.
    """
    return TorchVelocity(
        TorchFunction("velocity", ("t", "action", "observation"), function, dtype, device)
    )
