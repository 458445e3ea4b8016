import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ._critic import Critic
from ._policy import AbstractPolicy

NUM_ACTIONS = 16

DEFAULT_KAPPA = 5.0
"""What `weight="auto"` asks for, in units of the task: the best of 1, 3, 5, 10, 30 and 100 on four
OGBench tasks with three training seeds each. `docs/weights.md` has the evidence."""


def weight_unit(
    policy: AbstractPolicy,
    critic: Critic,
    observations: PyTree,
    *,
    key: PRNGKeyArray | None = None,
    num_actions: int = NUM_ACTIONS,
) -> Float[Array, ""]:
    r"""The unit in which guidance weights carry over from task to task.

    $$u = \frac{\mathbb{E}_o \, \mathrm{mean}_i \mathrm{Var}(a_i)}{\mathbb{E}_o \, \mathrm{sd}(Q)}$$

    over the policy's own actions at each observation. A Gaussian of standard deviation $s$ that is
    tilted by $\exp(Q / \beta)$, with a linear $Q$, moves by $(s^2 / \beta) \nabla Q$. With
    $\beta = \mathrm{sd}(Q) / \kappa$ that is $\kappa\, u\, \nabla Q$, of length $\kappa s$. So
    `weight = kappa * unit` asks for a shift of about kappa standard deviations of the action,
    whatever the scale of rewards and actions.

    **Arguments:**

    - `policy`: the unguided policy.
    - `critic`: the critic that guides it.
    - `observations`: some that the policy meets, each leaf with a leading axis; a training run
        keeps 256 (`flowguide.load_observations`).
    - `key`: of the actions' noise, by default `jax.random.key(0)`: a unit is a constant.
    - `num_actions`: sampled at each observation, at least 2.

    **Returns:**

    The unit, above 0.

    **Raises:**

    `ValueError` if it is not a number above 0: the policy has one action for each observation, or
    the critic one value.
    """
    if num_actions < 2:
        raise ValueError(f"num_actions must be at least 2, got {num_actions}.")
    variance, spread = _spreads(
        policy, critic, observations, jr.key(0) if key is None else key, num_actions
    )
    unit = variance / spread
    if not (jnp.isfinite(unit) and unit > 0):
        raise ValueError(
            "The unit of guidance weights is E[var(a)] / E[sd(Q)] over the policy's own actions, "
            f"but those are {float(variance):.3g} and {float(spread):.3g}: both must be above 0 "
            "and finite."
        )
    return unit


@eqx.filter_jit
def _spreads(
    policy: AbstractPolicy,
    critic: Critic,
    observations: PyTree,
    key: PRNGKeyArray,
    num_actions: int,
) -> tuple[Array, Array]:
    """The variance of the actions and the standard deviation of their values."""

    def at(observation, key):
        keys = jr.split(key, num_actions)
        actions = jax.vmap(lambda k: policy(observation, key=k))(keys)
        values = jax.vmap(lambda a: critic(observation, a))(actions)
        return jnp.mean(jnp.var(actions, axis=0, ddof=1)), jnp.std(values, ddof=1)

    count = len(jax.tree.leaves(observations)[0])
    variances, spreads = jax.vmap(at)(observations, jr.split(key, count))
    return jnp.mean(variances), jnp.mean(spreads)
