import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

MAX_PERIOD = 10_000.0
TIME_SCALE = 10_000.0


def sinusoidal_embedding(t: Float[ArrayLike, ""], size: int = 16) -> Float[Array, " size"]:
    r"""Cosines, then sines, of $10^4\, t \cdot 10^{-4 k / h}$ for $k = 0, \dots, h - 1$.

    **Arguments:**

    - `t`: a time in [0, 1].
    - `size`: the number of features, `2 h`.

    **Returns:**

    Shape `(size,)`.

    Source: the embedding of the published QGF code (bc44a67). It multiplies `t` by 10,000 before
    the usual transformer frequencies, so that nearby times differ much.
    """
    half = size // 2
    frequencies = np.exp(-np.log(MAX_PERIOD) * np.arange(half) / half)
    time = jnp.asarray(t)
    phase = TIME_SCALE * time * frequencies.astype(time.dtype)
    return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)])
