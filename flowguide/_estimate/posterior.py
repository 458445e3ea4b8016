import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import PRNGKeyArray

from .._checks import as_positive_int
from .base import AbstractEstimate
from .one_step import OneStepEstimate


class PosteriorEstimate(AbstractEstimate):
    r"""Several clean actions that the noisy one may become, each from another look.

    $$\hat a = \mathrm{one\ step}(a_t), \qquad
      \hat a_k = \mathrm{one\ step}\big((1 - t)\,\epsilon_k + t\,\hat a\big)$$

    The one-step estimate is noised again, to the same level, with K noises that are the same in
    all steps and for all observations: a policy stays a deterministic map from its noise. At
    `t = 0`, where the noisy action says nothing, they are K estimates from fresh noise.

    **Arguments:**

    - `num_samples`: K, at least 1.
    - `key`: of the K noises; None for `jax.random.key(0)`.
    """

    num_samples: int = eqx.field(static=True)
    key: PRNGKeyArray

    def __init__(self, num_samples: int = 4, key: PRNGKeyArray | None = None):
        self.num_samples = as_positive_int("num_samples", num_samples)
        self.key = jr.key(0) if key is None else key

    @property
    def is_single(self):
        return False

    def __call__(self, policy, t, action, observation):
        one_step = OneStepEstimate()
        clean_action, velocity = one_step(policy, t, action, observation)
        noises = jr.normal(self.key, (self.num_samples, *action.shape), action.dtype)

        def look_again(noise):
            renoised = (1 - t) * noise + t * clean_action
            return one_step(policy, jnp.asarray(t), renoised, observation)[0]

        return jax.vmap(look_again)(noises), velocity
