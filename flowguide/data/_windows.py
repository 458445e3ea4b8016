import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._checks import as_positive_int
from ._dataset import Dataset


class Batch(eqx.Module):
    """Windows of `horizon` actions, each with its n-step return.

    **Attributes:** (for one window; a batch has a leading axis)

    - `observation`: the state that the window starts from, shape `(observation,)`.
    - `action`: its actions, shape `(horizon, action)`.
    - `reward`: the discounted sum of its rewards, up to the first end of the task, shape `()`.
    - `discount`: the factor of the bootstrap, `gamma ** horizon`, 0 if the task ended within.
    - `next_observation`: the state after its last action, shape `(observation,)`.
    - `weight`: how much the window counts in a loss, shape `()`.
    """

    observation: Float[Array, "*batch observation"]
    action: Float[Array, "*batch horizon action"]
    reward: Float[Array, "*batch"]
    discount: Float[Array, "*batch"]
    next_observation: Float[Array, "*batch observation"]
    weight: Float[Array, "*batch"]


class Windows(eqx.Module):
    """All windows of `horizon` actions that lie within one episode, sampled on the device.

    **Arguments:**

    - `dataset`: the episodes.
    - `horizon`: the number of actions in a window (the action chunk).
    - `discount`: gamma, for each step.

    **Raises:**

    `ValueError` if no episode is long enough, or the discount is outside [0, 1].
    """

    dataset: Dataset
    starts: Int[Array, " windows"]
    horizon: int = eqx.field(static=True)
    discount: float = eqx.field(static=True)

    def __init__(self, dataset: Dataset, horizon: int = 1, discount: float = 0.99):
        self.dataset = dataset
        self.horizon = as_positive_int("horizon", horizon)
        if not 0 <= discount <= 1:
            raise ValueError(f"discount must be in [0, 1], got {discount}.")
        self.discount = float(discount)
        ends = np.asarray(dataset.ends)
        # Row of the end of the episode that each row is in: a window needs its next state there.
        end_rows = np.flatnonzero(ends)
        episode_end = end_rows[np.cumsum(ends) - ends]
        starts = np.flatnonzero(np.arange(len(ends)) + self.horizon <= episode_end)
        if not len(starts):
            longest = np.max(np.diff(end_rows, prepend=-1)) - 1
            raise ValueError(
                f"No episode has {self.horizon} actions in a row: the longest has {longest}."
            )
        self.starts = jnp.asarray(starts, jnp.int32)

    def __len__(self) -> int:
        return len(self.starts)

    def at(self, start: Int[Array, ""]) -> Batch:
        """The window that starts at a row of the dataset."""
        data = self.dataset

        def window(x):
            return jax.lax.dynamic_slice_in_dim(x, start, self.horizon)

        rewards, masks = window(data.rewards), window(data.masks)
        gammas = self.discount ** np.arange(self.horizon, dtype=np.float32)
        # 1 until the step at which the task ends, which still counts; 0 after it.
        alive = jnp.cumprod(jnp.concatenate([jnp.ones(1, masks.dtype), masks[:-1]]))
        return Batch(
            observation=data.observations[start],
            action=window(data.actions),
            reward=jnp.sum(gammas * alive * rewards),
            discount=self.discount**self.horizon * jnp.prod(masks),
            next_observation=data.observations[start + self.horizon],
            weight=jnp.ones(()),
        )

    def sample(self, key: PRNGKeyArray, batch_size: int) -> Batch:
        """A batch of windows, drawn uniformly with replacement."""
        chosen = jr.randint(key, (batch_size,), 0, len(self.starts))
        return jax.vmap(self.at)(self.starts[chosen])
