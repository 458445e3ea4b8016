import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from ._dataset import Dataset
from ._windows import AbstractSampler, Batch, episode_ends, n_step, Windows


class GoalRatios(eqx.Module):
    """How often a hindsight goal is which row of the data. The four ratios sum to 1.

    **Arguments:**

    - `current`: the window's own first row.
    - `geometric`: a later row of the episode, a geometrically distributed number of steps away
        (success probability `1 - discount`), at most the last one with an action.
    - `uniform`: a later row of the episode, up to the last one with an action. As in OGBench, a
        uniform number between the next row and that one, rounded.
    - `random`: the first row of any window.

    The row that an episode ends on is never a goal: no window reaches it, so a critic would never
    learn that reaching it is worth anything.

    **Raises:**

    `ValueError` for ratios that are negative or do not sum to 1.

    Source: hindsight goals as OGBench samples them (Park et al., arXiv 2410.20092); its ratios are
    `CRITIC_GOALS` and `POLICY_GOALS`.
    """

    current: float = eqx.field(static=True, default=0.0)
    geometric: float = eqx.field(static=True, default=0.0)
    uniform: float = eqx.field(static=True, default=0.0)
    random: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        ratios = (self.current, self.geometric, self.uniform, self.random)
        if min(ratios) < 0 or abs(sum(ratios) - 1) > 1e-6:
            raise ValueError(f"Goal ratios must be at least 0 and sum to 1, got {self!r}.")


CRITIC_GOALS = GoalRatios(current=0.2, geometric=0.5, random=0.3)
"""OGBench's ratios for critics: 0.2 this row, 0.5 a later one, 0.3 any."""

POLICY_GOALS = GoalRatios(uniform=1.0)
"""OGBench's ratios for policies: any later row of the episode."""


class GoalWindows(AbstractSampler):
    """Windows with hindsight goals, for goal-conditioned policies and critics.

    The task of a window is to reach the row that was drawn as its goal: reward -1 in every state
    but the goal, where the task is over. Observations are state and goal, one after the other; use
    one `GoalWindows` for a critic and one for a policy, joined by `PerLearner`.

    **Arguments:**

    - `dataset`: the episodes; its own rewards and masks are not read.
    - `horizon`, `discount`: as for `Windows`.
    - `ratios`: which rows are goals, `CRITIC_GOALS` or `POLICY_GOALS`.

    **Raises:**

    `ValueError` as `Windows` does, or for geometric goals with a discount of 1.
    """

    windows: Windows
    last_rows: Int[Array, " N"]
    ratios: GoalRatios

    def __init__(
        self,
        dataset: Dataset,
        horizon: int = 1,
        discount: float = 0.99,
        *,
        ratios: GoalRatios = CRITIC_GOALS,
    ):
        if isinstance(dataset.observations, dict):
            raise ValueError(
                "Goals follow observations that are one array, and this dataset's are a dictionary "
                f"of {sorted(dataset.observations)}: put its entries together."
            )
        self.windows = Windows(dataset, horizon, discount)
        if discount == 1 and ratios.geometric:
            raise ValueError(
                "Geometric goals need a discount below 1: their steps are 1/(1-gamma)."
            )
        last_rows = episode_ends(np.asarray(dataset.ends)) - 1  # The last ones with an action.
        self.last_rows = jax.device_put(last_rows.astype(np.int32))
        self.ratios = ratios

    def at(self, start: Int[Array, ""], goal_row: Int[Array, ""]) -> Batch:
        """The window that starts at a row of the dataset, with another row as its goal."""
        windows, data = self.windows, self.windows.dataset
        window = windows.at(start)
        goal = (data.observations if data.goals is None else data.goals)[goal_row]
        is_goal = (start + jnp.arange(windows.horizon) == goal_row).astype(goal.dtype)
        reward, discount = n_step(is_goal - 1, 1 - is_goal, windows.discount)
        return Batch(
            observation=jnp.concatenate([window.observation, goal]),
            action=window.action,
            reward=reward,
            discount=discount,
            next_observation=jnp.concatenate([window.next_observation, goal]),
            weight=window.weight,
        )

    def sample_goal(self, start: Int[Array, ""], key: PRNGKeyArray) -> Int[Array, ""]:
        """The row of a goal for the window that starts at a row."""
        kind_key, row_key = jr.split(key)
        last = self.last_rows[start]

        def geometric():
            steps = jr.geometric(row_key, 1 - self.windows.discount, dtype=jnp.int32)
            return jnp.minimum(start + steps, last)

        def uniform():
            share, following = jr.uniform(row_key), jnp.minimum(start + 1, last)
            ahead = (last - following).astype(share.dtype)
            return following + jnp.round(share * ahead).astype(start.dtype)

        draws = {
            "current": lambda: start,
            "geometric": geometric,
            "uniform": uniform,
            "random": lambda: self.windows.sample_starts(row_key, 1)[0],
        }
        # One kind is kept, so they can share a key. A kind that never occurs is not drawn.
        ratios = {kind: getattr(self.ratios, kind) for kind in draws}
        kept = [kind for kind, ratio in ratios.items() if ratio]
        rows = jnp.stack([draws[kind]() for kind in kept])
        return rows[jr.choice(kind_key, len(kept), p=jnp.array([ratios[kind] for kind in kept]))]

    def sample(self, key: PRNGKeyArray, batch_size: int) -> Batch:
        start_key, goal_key = jr.split(key)
        starts = self.windows.sample_starts(start_key, batch_size)
        goal_rows = jax.vmap(self.sample_goal)(starts, jr.split(goal_key, batch_size))
        return jax.vmap(self.at)(starts, goal_rows)
