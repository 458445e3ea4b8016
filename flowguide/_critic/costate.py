from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._pytree import PyTree
from .._velocity import ask_velocity, VelocityField
from .arithmetic import CriticArithmetic
from .value import Critic


class Costate(CriticArithmetic):
    r"""A network of a critic's gradients, in place of the critic: $g(t, a_t, o)$.

    What it says is where the value of the action rises that the noisy one $a_t$ will become; see
    `flowguide.train.AGF`. It stands where critics stand, and can be added to them: its gradient in
    the action is the network's output, computed in one pass forth. Its value is not known, and NaN.

    **Arguments:**

    - `network`: a callable `network(t, action, observation)`, as velocity fields are, such as a
        `flowguide.nn.VelocityMLP`. It is asked about the observation that critics are asked about.
    - `time`: the `t` that it is asked with.
    """

    network: VelocityField
    time: Any = 1.0

    def at(self, t: float | Float[Array, ""]) -> "Costate":
        """The network asked about actions of cleanness `t`."""
        return Costate(self.network, t)

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        return _unknown(action, self, observation)


@eqx.filter_custom_jvp
def _unknown(action: Array, costate: Costate, observation: PyTree) -> Array:
    del costate, observation
    with jax.debug_nans(False):
        return jnp.full((), jnp.nan, action.dtype)


@_unknown.def_jvp
def _(primals, tangents):
    # Not a derivative of the NaN: that of the value which nobody has computed.
    action, costate, observation = primals
    moved = tangents[0]
    unknown = _unknown(*primals)
    if moved is None:
        return unknown, jnp.zeros_like(unknown)
    gradient = ask_velocity(costate.network, costate.time, action, observation)
    return unknown, jnp.sum(gradient * moved)


def holds_costate(critic: Critic) -> bool:
    """Whether a critic is a `Costate`, or is made of one and others."""
    leaves = jax.tree.leaves(critic, is_leaf=lambda part: isinstance(part, Costate))
    return any(isinstance(leaf, Costate) for leaf in leaves)


def check_valued(critic: Critic | None, name: str) -> None:
    """Refuses, with a `ValueError`, a critic whose values are not known where they are needed."""
    if critic is not None and holds_costate(critic):
        raise ValueError(
            f"{name} compares values of actions, and a flowguide.Costate has gradients alone: "
            f"expected a critic, got a {type(critic).__name__}. What needs no value is agf, with a "
            "number or a flowguide.Relative as its weight."
        )
