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

from .._checks import is_int
from .._critic import Costate, Critic, value_of
from .._guidance import agf
from .._policy import Flow, FlowPolicy
from .._velocity import VelocityField
from .._weight import WeightLike
from ..data import Batch
from ._adjoint import carry_back
from ._learner import (
    AbstractLearner,
    apply_gradient,
    init_state,
    LearnerState,
    mean_loss,
    weighted_mean,
)


class Walk(eqx.Module):
    """One path of a guided flow, with what comes back through it.

    **Attributes:**

    - `times`, `actions`: of its m steps and its end, shapes `(m + 1,)` and `(m + 1, *action)`.
    - `costates`: the gradients of the finished action's value in the actions.
    - `counts`: 1 for these, and 0 for the steps that a solver did not need.
    """

    times: Float[Array, " n"]
    actions: Float[Array, "n *action"]
    costates: Float[Array, "n *action"]
    counts: Float[Array, " n"]


class AGF(AbstractLearner):
    r"""A network of costates, regressed on gradients that come back through a frozen flow (AGF).

    $$g(t, a_t, o) \leftarrow \lambda_t =
      \Big(\frac{\partial a_1}{\partial a_t}\Big)^{\!\top} \nabla Q(o, a_1), \qquad
      \frac{\mathrm d a}{\mathrm d t} = v(t, a, o) + u_t, \quad u_t = w\, g(t, a_t, o)$$

    at all steps of the flow that the network guides as it is, from noise to the clipped action. The
    control $u_t$ is held while the gradient comes back: only the frozen field $v$ is
    differentiated. `flowguide.agf` guides with the network, and asks no critic then.

    Where `num_particles` are asked for, the Jacobian of $v$ in each step is its mean over as many
    actions around the one at hand, $a_t + r\, \epsilon_m$, which makes the target smoother.

    **Arguments:**

    - `make_network`: a callable from a key to a network of velocity fields' form.
    - `policy`: the frozen flow policy, unguided.
    - `critic`: the frozen critic.
    - `weight`: $w$, as in `flowguide.agf`; 0 for the costates of the unguided flow.
    - `num_particles`, `radius`: how many, and $r$; 0 particles for the Jacobian at the action.
    - `optimiser`: an optax optimiser.

    **Returns:**

    Of `result`: a `flowguide.Costate`.

    **Raises:**

    `ValueError` for a guided policy, or numbers that make no sense.

    Source: Adjoint Guidance Flow, Kim et al. (arXiv 2609.34944). There the weight of training is 1
    per unit of the critic's gradient, which suits critics of one scale only.
    """

    make_network: Callable[[PRNGKeyArray], VelocityField]
    policy: FlowPolicy
    critic: Critic
    weight: WeightLike | None = None
    num_particles: int = 4
    radius: float = 0.02
    optimiser: optax.GradientTransformation = optax.adam(3e-4)

    def __check_init__(self):
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
        keys = jr.split(key, len(batch.weight))
        walk = partial(self.walk, state.model)
        asked, walks = jax.vmap(walk)(batch.observation, keys)

        @eqx.filter_value_and_grad
        def loss(network):
            def of_sample(observation, walk):
                def of_step(t, action, costate):
                    return jnp.mean((network(t, action, observation) - costate) ** 2)

                each = jax.vmap(of_step)(walk.times, walk.actions, walk.costates)
                return weighted_mean(each, walk.counts)

            return mean_loss(of_sample, batch.weight, asked, walks)

        value, gradient = loss(state.model)
        return apply_gradient(state, gradient, self.optimiser), {"loss": value}

    def walk(
        self, network: VelocityField, observation: PyTree, key: PRNGKeyArray
    ) -> tuple[PyTree, "Walk"]:
        """What the network is to be asked about along one path of the flow that it guides, the
        observation first, and what it should have said."""
        noise_key, key = jr.split(key)
        guided = agf(self.weight)(self.policy, Costate(network))
        flow = Flow(guided, guided.prepare(observation), 1)
        noise = jr.normal(noise_key, guided.noise_shape)
        path: Any = flow.solve(flow.start(noise), saveat=diffrax.SaveAt(t0=True, steps=True))
        # A solver that chooses its steps takes fewer than it may. The rest becomes steps of no
        # length, through which a gradient comes as it is.
        counts = jnp.isfinite(path.ts)
        times = jnp.where(counts, path.ts, 1.0)
        actions = jnp.where(jnp.expand_dims(counts, range(1, path.ys.ndim)), path.ys, 0.0)

        def value(action):
            return value_of(self.critic, flow.observation, flow.clip(action))

        def step(action, t0, t1):
            return self._step(key, t0, t1, action, flow)

        end = jax.grad(value)(actions[counts.sum() - 1])
        costates = carry_back(step, end, actions[:-1], times[:-1], times[1:])
        costates = jnp.concatenate([costates, end[None]])
        return flow.observation, Walk(times, actions, costates, counts.astype(actions.dtype))

    def _step(self, key: PRNGKeyArray, t0: Array, t1: Array, action: Array, flow: Flow) -> Array:
        """One step of the guided flow, of which the frozen field alone has a derivative."""
        held: Any = partial(self._held, key)
        terms, solver = diffrax.ODETerm(held), flow.policy.solver
        state = solver.init(terms, t0, t1, action, flow)
        return solver.step(terms, t0, t1, action, flow, state, made_jump=False)[0]

    def _held(self, key: PRNGKeyArray, t: Array, action: Array, flow: Flow) -> Array:
        """The guided velocity, of which the frozen field alone has a derivative."""
        frozen = Flow(flow.policy, flow.prepared, 0)
        guided = jax.lax.stop_gradient(flow.velocity(t, action))
        if not self.num_particles:
            around = frozen.velocity(t, action)
        else:
            # Others at each stage of each step.
            key = jr.fold_in(key, jax.lax.bitcast_convert_type(t.astype(jnp.float32), jnp.uint32))
            apart = self.radius * jr.normal(key, (self.num_particles, *action.shape), action.dtype)
            around = jnp.mean(jax.vmap(lambda x: frozen.velocity(t, action + x))(apart), axis=0)
        return guided + around - jax.lax.stop_gradient(around)

    def result(self, state: LearnerState) -> Costate:
        return Costate(state.model)
