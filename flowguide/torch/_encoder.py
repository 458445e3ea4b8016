from collections.abc import Callable
from typing import Any

import equinox as eqx

from .._pytree import PyTree
from ._ask import ask
from ._function import TorchFunction
from ._result import find_result


class TorchEncoder(eqx.Module):
    """See `encoder`."""

    function: TorchFunction = eqx.field(static=True)

    def __call__(self, observation: PyTree) -> PyTree:
        arguments = self.function.arrays(observation)
        return ask(arguments, self.function, find_result(self.function, arguments))


def encoder(
    function: Callable[..., Any], *, dtype: Any = None, device: Any = None
) -> Callable[[PyTree], PyTree]:
    """An encoder of PyTorch, for `flowguide.FlowPolicy(encode=...)`.

    What shapes it returns is found by asking it about two observations of zeros, once for each
    shape of observation, before anything is compiled.

    **Arguments:**

    - `function`: a callable `function(observation)` of a pytree of tensors with a batch axis in
        front. It returns a tensor, or tensors in tuples, lists and dictionaries, with that axis in
        front: features, or the key-value cache of a prefix. They keep their dtypes, but 64 bits
        become 32 without `jax_enable_x64`.
    - `dtype`: what floating-point inputs are cast to. None for that of a module's first
        floating-point parameter, and without a module for their own.
    - `device`: as in `flowguide.torch.velocity`.

    **Returns:**

    A callable of one observation.

    **Raises:**

    As `flowguide.torch.velocity`; what the function raises about zeros comes as it is.
    """
    return TorchEncoder(TorchFunction("encoder", ("observation",), function, dtype, device))
