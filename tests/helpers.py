"""Policies, critics and tables of methods that the tests are crossed with.

Observation and action sizes differ everywhere: equal ones would hide a swapped argument.
"""

import contextlib
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jaxtyping
import optax

import flowguide as fg
from flowguide import nn

OBSERVATION_SIZE = 7
ACTION_SHAPES = [(3,), (2, 3)]
HIDDEN = (16, 16)

# Every method by its name, as the catalogue has them: what is added there is tested here.
METHODS = [name for name, method in fg.CATALOGUE.items() if method.family != "own"]
WEIGHTED = [name for name in METHODS if fg.CATALOGUE[name].has_weight]

# Those that any policy and any critic can be guided by.
GRADIENT_METHODS = {
    name: method.make
    for name, method in fg.CATALOGUE.items()
    if method.family == "gradient" and not method.needs
}

# Options of methods that have no weight, or are quicker with these.
OPTIONS = {
    "guided_action_flow": {"beta": 2.0, "scale": 2.0, "floor": 0.1},
    "trust_region": {"radius": 0.2},
    "best_of_n": {"n": 3},
    "beam": {"n": 3, "keep": 2, "levels": (0.5,)},
    "noise_ascent": {"steps": 2},
    "grad_step": {"steps": 2},
}

# One guidance of each kind, and combinations of them.
GUIDANCES = {
    **{name: make(0.3) for name, make in GRADIENT_METHODS.items()},
    "qgf array weight": fg.qgf(jnp.array([0.1, 0.0, 2.0])),
    "qgf weight of t": fg.qgf(lambda t: 1 - t),
    "qgf clipped": fg.qgf(0.3, shaping=optax.clip_by_global_norm(0.1)),
    "qgf gated": fg.qgf(0.3, gate=fg.DisagreementGate(scale=2.0, floor=0.1)),
    "qgf of the score": fg.qgf(fg.ScoreWeight(0.3, cap=5.0)),
    "qgf in an interval": fg.qgf(fg.WeightInterval(0.3, 0.2, 0.7)),
    "guided_action_flow": fg.guided_action_flow(2.0, scale=2.0, floor=0.1),
    "trust_region": fg.trust_region(fg.qgf(0.3), radius=0.2),
    "best_of_n": fg.best_of_n(3),
    "beam": fg.beam(3, keep=2, levels=(0.3, 0.6)),
    "noise_ascent": fg.noise_ascent(0.1, steps=2),
    "grad_step": fg.grad_step(0.1, steps=2),
    "grad_step sign": fg.grad_step(0.1, steps=2, sign=True),
    "qgf then best_of_n": [fg.qgf(0.3), fg.best_of_n(3)],
    "qgf then beam": [fg.qgf(0.3), fg.beam(2, levels=(0.5,))],
    "qgf then qgf_jacobian": [fg.qgf(0.3), fg.qgf_jacobian(0.2)],
}

# Those that are no method of the catalogue as it is, all of which are tested elsewhere.
COMBINATIONS = [name for name in GUIDANCES if name not in fg.CATALOGUE]

SOLVERS = {
    "Euler": diffrax.Euler(),
    "Heun": diffrax.Heun(),
    "Midpoint": diffrax.Midpoint(),
    "Tsit5": diffrax.Tsit5(),
}


class Affine(eqx.Module):
    """The field `matrix a + drift o`, whose flow has a closed form."""

    matrix: jax.Array
    drift: jax.Array

    def __call__(self, t, action, observation):
        del t
        return self.matrix @ action + self.drift @ observation


class Quadratic(eqx.Module):
    """The critic `-|a - target(o)|^2 / 2`."""

    target: jax.Array

    def __call__(self, observation, action):
        return -jnp.sum((action - self.target @ observation) ** 2) / 2


def mlp_policy(key, action_shape=(3,), **options) -> fg.FlowPolicy:
    velocity = nn.VelocityMLP(OBSERVATION_SIZE, action_shape, HIDDEN, key=key)
    return fg.FlowPolicy(velocity, action_shape, **options)


def mlp_critic(key, action_shape=(3,), num_members=3, **options) -> fg.Ensemble:
    return nn.critic_ensemble(
        num_members, OBSERVATION_SIZE, action_shape, HIDDEN, key=key, **options
    )


def affine_policy(key, size=3, **options) -> Any:
    """Unbounded, so that closed forms hold without a clip."""
    matrix_key, drift_key = jr.split(key)
    velocity = Affine(
        0.5 * jr.normal(matrix_key, (size, size)), jr.normal(drift_key, (size, OBSERVATION_SIZE))
    )
    options = {"low": -jnp.inf, "high": jnp.inf, **options}
    return fg.FlowPolicy(velocity, (size,), **options)


def quadratic_critic(key, size=3) -> Quadratic:
    return Quadratic(jr.normal(key, (size, OBSERVATION_SIZE)))


def observation(key) -> jax.Array:
    return jr.normal(key, (OBSERVATION_SIZE,))


def ready(
    name: str,
    key,
    action_shape=(3,),
    *,
    weight: Any = 0.3,
    velocity: Any = lambda field: field,
    critic: Any = lambda critic: critic,
    **options,
) -> tuple[Any, Any, Any]:
    """A policy, a critic and a guidance that fit a method of the catalogue.

    `weight` is for methods that have one, None for their default; `velocity` and `critic` change
    what is asked; the other options are the policy's.
    """
    needs = fg.CATALOGUE[name].needs
    is_conditioned = "knows good actions" in needs
    field: Any = nn.VelocityMLP(
        OBSERVATION_SIZE, action_shape, HIDDEN, num_labels=2 if is_conditioned else 0, key=key
    )
    if is_conditioned:
        field = fg.ClassifierFreeVelocity(velocity(field))
    else:
        field = velocity(field)
    policy = fg.FlowPolicy(field, action_shape, **{"num_steps": 4, **options})
    is_noisy = "noisy actions" in needs
    found: Any = mlp_critic(jr.fold_in(key, 1), action_shape, noisy=is_noisy)
    if "costates" in needs:
        # Asked as fields are, and once for each gradient.
        network = nn.VelocityMLP(OBSERVATION_SIZE, action_shape, HIDDEN, key=jr.fold_in(key, 1))
        return policy, critic(fg.Costate(velocity(network))), method(name, weight)
    if is_noisy:
        found = fg.NoiseConditionedCritic(found)
    return policy, None if is_conditioned else critic(found), method(name, weight)


def method(name: str, weight: Any = 0.3) -> Any:
    """The guidance of a name, with options that suit tests."""
    options: dict[str, Any] = dict(OPTIONS.get(name, {}))
    if fg.CATALOGUE[name].has_weight and weight is not None:
        options["weight"] = weight
    if name == "trust_region":
        options["guidance"] = fg.qgf(weight)
    return fg.CATALOGUE[name].make(**options)


class Calls:
    """How often networks are asked: wraps fields and critics, and counts when programs run.

    Under `jax.vmap` each sample counts; `pullbacks` are those of the velocity.
    """

    def __init__(self):
        self.counts: dict[str, int] = {}

    def note(self, what: str, like: jax.Array) -> None:
        # With an argument: under vmap it is then called for each sample.
        def call(_):
            self.counts[what] = self.counts.get(what, 0) + 1

        jax.debug.callback(call, like)

    def velocity(self, field) -> Any:
        return Counted(field, self, "velocities", "velocities", "pullbacks")

    def critic(self, critic) -> Any:
        return Counted(critic, self, "critic_values", "critic_gradients", None)

    def of(self, call, *arguments) -> dict[str, int]:
        """What `call(*arguments)` asks for."""
        jax.effects_barrier()
        self.counts = {}
        jax.block_until_ready(call(*arguments))
        jax.effects_barrier()
        return dict(self.counts)


class Counted(eqx.Module):
    """A field or a critic that is counted; see `Calls`."""

    called: Any
    calls: Calls = eqx.field(static=True)
    plain: str = eqx.field(static=True)
    forth: str = eqx.field(static=True)
    back: str | None = eqx.field(static=True)

    def __call__(self, *arguments):
        return self._counted(lambda called, *rest: called(*rest), self.plain, *arguments)

    def members(self, observation, action):
        # Asked for its value alone, by a gate, it is what XLA has computed for the gradient.
        def ask(called, *rest):
            return called.members(*rest)

        return self._counted(ask, "members", observation, action)

    def at(self, t):
        at = getattr(self.called, "at", lambda t: self.called)
        return Counted(at(t), self.calls, self.plain, self.forth, self.back)

    def _counted(self, call, plain, *arguments):
        arrays, static = eqx.partition((self.called, arguments), eqx.is_array)

        def ask(arrays):
            called, arguments = eqx.combine(arrays, static)
            return call(called, *arguments)

        def action(arrays):
            return arrays[1][1]

        @jax.custom_vjp
        def counted(arrays):
            self.calls.note(plain, action(arrays))
            return ask(arrays)

        def forth(arrays):
            self.calls.note(self.forth, action(arrays))
            return jax.vjp(ask, arrays)

        def back(pullback, cotangent):
            if self.back is not None:
                self.calls.note(self.back, cotangent)
            return pullback(cotangent)

        counted.defvjp(forth, back)
        return counted(arrays)


@contextlib.contextmanager
def without_typechecker():
    """As users run: the annotations forbid most bad input before it is refused in words."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def python_loop(policy, noise, observation, guidance_term):
    """Euler steps in a Python loop: the brute force that everything else is compared with."""
    action, steps = noise, policy.num_steps
    for i in range(steps):
        velocity = policy.velocity(jnp.asarray(i / steps), action, observation)
        action = action + (velocity + guidance_term(i, action, velocity)) / steps
    return policy.clip(action)
