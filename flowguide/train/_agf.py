from collections.abc import Callable
from functools import partial
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._checks import as_positive_int, is_int
from .._critic import Costate, Critic, value_of
from .._guidance import agf
from .._policy import Flow, FlowPolicy
from .._velocity import VelocityField
from .._weight import WeightLike
from ..data import Batch
from ._flow_matching import sample_noise
from ._learner import AbstractLearner, apply_gradient, init_state, LearnerState, mean_loss


class AGF(AbstractLearner):
    r"""A network of costates, regressed on gradients that come back through a frozen flow (AGF).

    $$g(t, a_t, o) \leftarrow \lambda_t =
      \Big(\frac{\partial a_1}{\partial a_t}\Big)^{\!\top} \nabla Q(o, a_1), \qquad
      \frac{\mathrm d a}{\mathrm d t} = v(t, a, o) + u_t, \quad u_t = w\, g(t, a_t, o)$$

    along the flow that the network guides as it is, from noise to a time of the batch and on to the
    clipped action. The control $u_t$ is held while the gradient comes back: only the frozen field
    $v$ is differentiated. `flowguide.agf` guides with the network, and asks no critic then.

    Where `num_particles` are asked for, the Jacobian of $v$ in each step is its mean over as many
    actions around the one at hand, $a_t + r\, \epsilon_m$, which makes the target smoother.

    **Arguments:**

    - `make_network`: a callable from a key to a network of velocity fields' form.
    - `policy`: the frozen flow policy, unguided.
    - `critic`: the frozen critic.
    - `weight`: $w$, as in `flowguide.agf`; 0 for the costates of the unguided flow.
    - `num_particles`, `radius`: how many, and $r$; 0 particles for the Jacobian at the action.
    - `optimiser`: an optax optimiser.
    - `num_steps`: the times, as in `FlowMatching`.

    **Returns:**

    Of `result`: a `flowguide.Costate`.

    **Raises:**

    `ValueError` for a guided policy, or numbers that make no sense.

    Source: Adjoint Guidance Flow, Kim et al. (arXiv 2609.34944). There each trajectory gives its
    costates at all steps, here at one time; and the weight of training is 1 per unit of the
    critic's gradient, which suits critics of one scale only.
    """

    make_network: Callable[[PRNGKeyArray], VelocityField]
    policy: FlowPolicy
    critic: Critic
    weight: WeightLike | None = None
    num_particles: int = 4
    radius: float = 0.02
    optimiser: optax.GradientTransformation = optax.adam(3e-4)
    num_steps: int | None = None

    def __check_init__(self):
        if self.num_steps is not None:
            as_positive_int("num_steps", self.num_steps)
        if not is_int(self.num_particles) or self.num_particles < 0:
            raise ValueError(
                f"num_particles must be an integer of at least 0, got {self.num_particles!r}."
            )
        if not self.radius >= 0:
            raise ValueError(f"radius must be at least 0, got {self.radius}.")
        if self.policy.guidance:
            raise ValueError(
                "AGF learns to guide a policy: expected one without guidance (policy.unguided), "
                f"got\n{self.policy!r}"
            )

    def init(self, key: PRNGKeyArray) -> LearnerState:
        return init_state(self.make_network(key), self.optimiser)

    def update(
        self, state: LearnerState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[LearnerState, dict[str, Array]]:
        noise, t = sample_noise(key, batch.action, self.num_steps)
        keys = jr.split(jr.fold_in(key, 1), len(batch.weight))
        costate = partial(self.costate, state.model)
        asked, noisy, targets = jax.vmap(costate)(batch.observation, noise, t, keys)

        @eqx.filter_value_and_grad
        def loss(network):
            def of_sample(observation, noisy, t, target):
                return jnp.mean((network(t, noisy, observation) - target) ** 2)

            return mean_loss(of_sample, batch.weight, asked, noisy, t, targets)

        value, gradient = loss(state.model)
        return apply_gradient(state, gradient, self.optimiser), {"loss": value}

    def costate(
        self,
        network: VelocityField,
        observation: PyTree,
        noise: Float[Array, "*action"],
        t: Float[Array, ""],
        key: PRNGKeyArray,
    ) -> tuple[PyTree, Float[Array, "*action"], Float[Array, "*action"]]:
        """What the network is to be asked about, at a time of the flow that it guides: the
        observation and the noisy action; and what it should have said."""
        guided = agf(self.weight)(self.policy, Costate(network))
        flow = Flow(guided, guided.prepare(observation), 1)
        path: Any = flow.solve(flow.start(noise), saveat=diffrax.SaveAt(ts=t[None])).ys
        held = partial(self._held, key)

        def value(action):
            ends: Any = flow.solve(action, t0=t, field=held).ys
            return value_of(self.critic, flow.observation, flow.clip(ends[-1]))

        return flow.observation, path[0], jax.grad(value)(path[0])

    def _held(self, key: PRNGKeyArray, t: Array, action: Array, flow: Flow) -> Array:
        """The guided velocity, of which the frozen field alone has a derivative."""
        frozen = Flow(flow.policy, flow.prepared, 0)
        guided = jax.lax.stop_gradient(flow.velocity(t, action))
        if not self.num_particles:
            around = frozen.velocity(t, action)
        else:
            # Others at each step; the same where a step is computed again on the way back.
            key = jr.fold_in(key, jax.lax.bitcast_convert_type(t.astype(jnp.float32), jnp.uint32))
            apart = self.radius * jr.normal(key, (self.num_particles, *action.shape), action.dtype)
            around = jnp.mean(jax.vmap(lambda x: frozen.velocity(t, action + x))(apart), axis=0)
        return guided + around - jax.lax.stop_gradient(around)

    def result(self, state: LearnerState) -> Costate:
        return Costate(state.model)
