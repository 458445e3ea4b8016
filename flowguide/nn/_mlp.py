from collections.abc import Sequence

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import as_float_dtype, as_shape
from ._layers import Dense, LayerNorm


class MLP(eqx.Module):
    """A multilayer perceptron: dense, layer normalisation, gelu (tanh form) on each hidden layer.

    **Arguments:**

    - `in_size`, `out_size`: numbers of features.
    - `hidden`: the hidden sizes, such as `(512, 512, 512, 512)`.
    - `norm_last`: whether the last hidden layer is normalised too.
    - `compute_dtype`: what is computed between the first hidden layer and the last, such as
        `"bfloat16"`. Parameters stay in float32, as do the products with the input and
        with the last hidden layer, and the statistics of the normalisation.
    - `key`: for the initialisation.

    **Raises:**

    `ValueError` for hidden sizes that are no positive integers.
    """

    layers: tuple[Dense, ...]
    norms: tuple[LayerNorm | None, ...]
    compute_dtype: str = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        hidden: Sequence[int],
        *,
        norm_last: bool = True,
        compute_dtype: str = "float32",
        key: PRNGKeyArray,
    ):
        hidden = as_shape("hidden", hidden)
        self.compute_dtype = as_float_dtype("compute_dtype", compute_dtype)
        keys = jr.split(key, len(hidden) + 1)
        sizes = (in_size, *hidden, out_size)
        self.layers = tuple(
            Dense(a, b, key=k) for a, b, k in zip(sizes[:-1], sizes[1:], keys, strict=True)
        )
        self.norms = tuple(
            LayerNorm(size) if norm_last or i + 1 < len(hidden) else None
            for i, size in enumerate(hidden)
        )

    def __call__(self, x: Float[Array, " in_size"]) -> Float[Array, " out_size"]:
        *hidden_layers, out_layer = self.layers
        out_dtype = x.dtype
        for layer, norm in zip(hidden_layers, self.norms, strict=True):
            x = layer(x)
            x = jax.nn.gelu(x if norm is None else norm(x), approximate=True)
            # After the first layer and up to the last: inputs and values keep all their digits.
            x = x.astype(self.compute_dtype)
        return out_layer(x.astype(out_dtype))
