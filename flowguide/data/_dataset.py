import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float


class Dataset(eqx.Module):
    """Episodes laid end to end, as arrays that lie on the device. See `from_arrays`.

    **Attributes:**

    - `observations`: shape `(N, observation)`. Each episode's last row is where it ended.
    - `actions`: shape `(N, action)`; an episode's last one was never followed by a state.
    - `rewards`: shape `(N,)`, of the state and action of that row.
    - `masks`: shape `(N,)`, 0 where the task is over (nothing is bootstrapped from beyond), else 1.
    - `ends`: shape `(N,)`, True on each episode's last row.
    """

    observations: Float[Array, "N observation"]
    actions: Float[Array, "N action"]
    rewards: Float[Array, " N"]
    masks: Float[Array, " N"]
    ends: Bool[Array, " N"]

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def success_share(self) -> float:
        """The share of rows in which the task is solved (`masks` is 0)."""
        return float(1 - jnp.mean(self.masks))


def from_arrays(
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    masks: np.ndarray,
    ends: np.ndarray,
) -> Dataset:
    """Any offline data as a `Dataset`.

    **Arguments:**

    - `observations`, `actions`, `rewards`, `masks`, `ends`: as in `Dataset`. Episodes follow one
        another; `ends` is true on the last row of each, which holds the final state.

    **Returns:**

    A `Dataset` on JAX's default device, in float32.

    **Raises:**

    `ValueError` for an empty set, arrays that do not fit each other, or values that are not finite.
    """
    arrays = {
        "observations": np.asarray(observations, np.float32),
        "actions": np.asarray(actions, np.float32),
        "rewards": np.asarray(rewards, np.float32),
        "masks": np.asarray(masks, np.float32),
    }
    ends = np.asarray(ends, bool)
    if not len(ends):
        raise ValueError("The dataset is empty.")
    for name, ndim in (("observations", 2), ("actions", 2), ("rewards", 1), ("masks", 1)):
        shape = arrays[name].shape
        if len(shape) != ndim or shape[0] != len(ends):
            raise ValueError(
                f"{name} has shape {shape}: expected {ndim} dimensions and one row for each of the "
                f"{len(ends)} rows of ends."
            )
        bad = np.flatnonzero(~np.isfinite(arrays[name]).reshape(len(ends), -1).all(axis=1))
        if len(bad):
            raise ValueError(
                f"{name} holds values that are not finite in {len(bad)} of {len(ends)} rows, "
                f"first in row {bad[0]}."
            )
    if not ends[-1]:
        raise ValueError("The last row is not the end of an episode: ends[-1] is False.")
    return Dataset(**{name: jnp.asarray(x) for name, x in arrays.items()}, ends=jnp.asarray(ends))
