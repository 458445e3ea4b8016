import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import PRNGKeyArray

from .._checks import as_positive_int
from .._random import seed_key
from .base import AbstractEstimate, pulled_back
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
        if key is None:
            # A constant, also where a guidance is made inside `jit`.
            with jax.ensure_compile_time_eval():
                key = seed_key(0)
        self.key = key

    @property
    def is_single(self):
        return False

    @property
    def count(self):
        return self.num_samples

    def __call__(self, flow, t, action):
        one_step = OneStepEstimate()
        clean_action, step = one_step(flow, t, action)
        noises = jr.normal(self.key, (self.num_samples, *action.shape), action.dtype)
        time = jnp.asarray(t).astype(action.dtype)

        def look_again(noise):
            renoised = (1 - time) * noise + time * clean_action
            return one_step(flow, t, renoised)[0]

        return jax.vmap(look_again)(noises), step

    def cost(self, flow, t):
        return (1 + self.num_samples) * flow.velocity(t)

    def pullback_cost(self, flow, t):
        return (1 + self.num_samples) * pulled_back(flow.velocity(t))
