"""The denoising network as JAX code, by torchax."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import dataclasses
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import torch
import torchax
from jaxtyping import Array, Float
from torchax import interop

from .._pytree import PyTree
from ._denoiser import Denoiser
from ._observations import as_array


class TorchaxVelocity(eqx.Module):
    """The velocity of a denoiser in LeRobot's time, compiled and differentiated by JAX.

    Its parameters are arrays of their own, copied when this is made.
    """

    parameters: dict[str, Array]
    call: Any = eqx.field(static=True)

    def __init__(self, denoiser: Denoiser):
        step = _Step(denoiser).eval()
        # Also buffers that are not saved, such as rotary frequencies.
        tensors = {**dict(step.named_parameters()), **dict(step.named_buffers())}
        self.parameters = {name: as_array(x) for name, x in tensors.items()}

        if denoiser.jax_call is None:
            denoiser.jax_call = _Call(step)
        self.call = denoiser.jax_call

    def __call__(
        self, t: Float[Array, ""], action: Float[Array, "*action"], encoded: PyTree
    ) -> Float[Array, "*action"]:
        batch = jax.tree.map(lambda x: x[None], (jnp.asarray(t, action.dtype), action, encoded))
        # PyTorch's own rules, whatever the caller has chosen for JAX; in inference mode PyTorch
        # leaves operators whole that torchax knows the parts of.
        with (
            torch.inference_mode(False),
            torchax.default_env(),
            warnings.catch_warnings(),
            jax.numpy_rank_promotion("allow"),
            jax.numpy_dtype_promotion("standard"),
        ):
            # LeRobot asks for 64 bits here and there, which JAX has under `jax_enable_x64` only.
            warnings.filterwarnings("ignore", "Explicitly requested dtype", UserWarning)
            return self.call(self.parameters, *batch)[0]


@dataclasses.dataclass(init=False, eq=False)
class _Call:
    """The step as a function of its parameters, which are what identifies it: it has no fields."""

    def __init__(self, step: torch.nn.Module):
        def call(parameters: Any, *inputs: Any) -> Any:
            return torch.func.functional_call(step, parameters, inputs)

        self._view = interop.jax_view(call)

    def __call__(self, parameters: dict[str, Array], *inputs: Any) -> Any:
        return self._view(parameters, *inputs)


class _Step(torch.nn.Module):
    def __init__(self, denoiser: Denoiser):
        super().__init__()
        self.model = denoiser.model
        self.velocity = denoiser.velocity

    def forward(self, t: Any, action: Any, encoded: Any) -> Any:
        return self.velocity(t, action, encoded)
