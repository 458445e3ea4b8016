"""The memoryless SDE of a flow policy, and the lean adjoint along one of its paths."""

import diffrax
import jax
import jax.numpy as jnp
import lineax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._policy import FlowPolicy
from ._adjoint import carry_back


def step_times(num_steps: int) -> Float[Array, " n"]:
    """Where the equal steps of a path begin."""
    return jnp.arange(num_steps, dtype=jnp.float32) / num_steps


def noise_scale(t: Float[Array, ""], step: float) -> Float[Array, ""]:
    r"""$\sigma(t) = \sqrt{2 (1 - t + h) / (t + h)}$, of steps of size h.

    Memoryless but for h, which keeps it finite at 0 and above 0 at 1.
    """
    return jnp.sqrt(2 * (1 - t + step) / (t + step))


def drift(
    policy: FlowPolicy,
    observation: PyTree,
    t: Float[Array, ""],
    action: Float[Array, "*action"],
    step: float,
) -> Float[Array, "*action"]:
    """The SDE's drift, and in the last step, which has no noise, the flow's own velocity."""
    velocity = policy.vector_field(t, action, observation)
    return velocity + jnp.where(_is_last(t, step), 0.0, velocity - action / (t + step))


def memoryless_path(
    policy: FlowPolicy,
    observation: PyTree,
    noise: Float[Array, "*action"],
    num_steps: int,
    key: PRNGKeyArray,
) -> Float[Array, "m *action"]:
    r"""A path of the SDE that ends like the policy's flow, and forgets where it began.

    $$\mathrm d a_t = \Big(2 v(t, a_t, s) - \frac{a_t}{t + h}\Big)\, \mathrm d t +
      \sigma(t)\, \mathrm d B_t$$

    in equal steps of size h. The last has no noise and the drift $v$, as in the published code of
    `QAM`, which follows the adjoint matching paper (arXiv 2409.08861).

    **Arguments:**

    - `policy`: whose velocity it is.
    - `observation`: as `policy.vector_field` takes it, prepared or not.
    - `noise`: where it begins, shape `(*action)`.
    - `num_steps`: how many steps.
    - `key`: of the Brownian motion.

    **Returns:**

    The actions from `t = 0` to `t = 1`, not clipped, shape `(num_steps + 1, *action)`.
    """
    step = 1 / num_steps
    identity = lineax.IdentityLinearOperator(jax.ShapeDtypeStruct(noise.shape, noise.dtype))

    def drift_of(t, action, args):
        del args
        return drift(policy, observation, t, action, step)

    def diffusion(t, action, args):
        del action, args
        return identity * jnp.where(_is_last(t, step), 0.0, noise_scale(t, step))

    # Steps are fixed and nothing is differentiated through the path: this noise is safe here.
    brownian = diffrax.UnsafeBrownianPath(noise.shape, key)
    solution = diffrax.diffeqsolve(
        diffrax.MultiTerm(diffrax.ODETerm(drift_of), diffrax.ControlTerm(diffusion, brownian)),
        diffrax.Euler(),
        t0=0.0,
        t1=1.0,
        dt0=None,
        y0=noise,
        saveat=diffrax.SaveAt(t0=True, steps=True),
        stepsize_controller=diffrax.StepTo(jnp.append(step_times(num_steps), 1.0)),
        adjoint=diffrax.ForwardMode(),
        max_steps=num_steps,
        throw=False,  # Fixed steps do not fail.
    )
    return jnp.asarray(solution.ys)


def lean_adjoint(
    policy: FlowPolicy,
    observation: PyTree,
    actions: Float[Array, "m *action"],
    end: Float[Array, "*action"],
) -> Float[Array, "n *action"]:
    r"""What the end of a path owes to each of its points, through the policy's drift alone.

    $$\tilde a_i = \tilde a_{i+1} + h\, \Big(\frac{\partial b(t_i, x_i)}{\partial x}\Big)^{\!\top}
      \tilde a_{i+1}$$

    with $b$ the drift of `memoryless_path`.

    **Arguments:**

    - `policy`, `observation`: as in `memoryless_path`. The policy need not be the one whose path it
        is, and for adjoint matching it is the frozen one.
    - `actions`: the path, shape `(n + 1, *action)`.
    - `end`: the adjoint at its end, the gradient there of what is minimised.

    **Returns:**

    The adjoints at the beginnings of the n steps, shape `(n, *action)`.
    """
    num_steps = len(actions) - 1
    step = 1 / num_steps

    def forward(action, t):
        return action + step * drift(policy, observation, t, action, step)

    return carry_back(forward, end, actions[:-1], step_times(num_steps))


def _is_last(t: Float[Array, ""], step: float) -> Array:
    return t > 1 - 1.5 * step
