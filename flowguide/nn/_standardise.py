import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._pytree import PyTree


class Standardise(eqx.Module):
    """All entries of an observation in one vector, each with the data's mean 0 and deviation 1.

    Nothing of it is learnt. Of a dictionary it reads the entries that the data have: a policy may
    see more than its critic.

    **Arguments:**

    - `observations`: the data's, an array or a pytree of arrays, each with a leading axis. Means
        and standard deviations are taken over that axis, of every pixel for itself.
    - `least`: no entry is divided by less, so that those which hardly change in the data do not
        become large elsewhere; in the entries' own units, above 0.

    **Raises:**

    `ValueError` for observations without arrays or rows, or when called with one that lacks some of
    the data's entries or has other shapes.
    """

    mean: PyTree
    deviation: PyTree

    def __init__(self, observations: PyTree, *, least: float = 1e-2):
        leaves = jax.tree.leaves(observations)
        if not leaves or not all(np.ndim(leaf) and len(leaf) for leaf in leaves) or least <= 0:
            raise ValueError(
                "Expected arrays of observations with a leading axis of at least one row, and "
                f"least above 0; got {jax.tree.map(np.shape, observations)} and {least}."
            )
        self.mean = jax.tree.map(lambda x: jnp.asarray(_rows(x).mean(0)), observations)
        self.deviation = jax.tree.map(
            lambda x: jnp.asarray(np.maximum(_rows(x).std(0), np.float32(least))), observations
        )

    @property
    def size(self) -> int:
        """How many entries there are."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.mean))

    def __call__(self, observation: PyTree) -> Float[Array, " size"]:
        known = jax.tree.map(jnp.shape, self.mean)
        chosen = _chosen(observation, self.mean)
        if jax.tree.map(jnp.shape, chosen) != known:
            given = jax.tree.map(jnp.shape, observation)
            raise ValueError(f"Expected an observation of shapes {known}, got {given}.")

        def standard(x: Array, mean: Array, deviation: Array) -> Array:
            mean, deviation = jax.lax.stop_gradient((mean, deviation))
            return (x.astype(mean.dtype) - mean) / deviation

        leaves = jax.tree.map(standard, chosen, self.mean, self.deviation)
        return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(leaves)])


def _chosen(observation: PyTree, known: PyTree) -> PyTree:
    """The entries of an observation that are known, as far as it has them."""
    if not (isinstance(known, dict) and isinstance(observation, dict)):
        return observation
    both = [name for name in known if name in observation]
    return {name: _chosen(observation[name], known[name]) for name in both}


def _rows(x: ArrayLike) -> np.ndarray:
    return np.asarray(x).astype(np.float32)
