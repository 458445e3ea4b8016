"""The actions of many episodes at a time, in one compiled call."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PyTree, UInt32

from .._dtypes import as_float
from .._policy import Acted
from .._random import seed_key
from .agents import Agent
from .guided import Guided
from .program import Program


def chunk_length(agent: Agent, observation: PyTree, action_shape: tuple[int, ...]) -> int:
    """How many actions of the environment one action of the agent's policy has.

    **Arguments:**

    - `agent`: of any policy.
    - `observation`: one of the environment's, for its shape.
    - `action_shape`: of the environment.

    **Raises:**

    `ValueError` for a policy that cannot act on the observation, or not in this environment.
    """
    observation = jax.tree.map(as_float, observation)
    try:
        chosen = eqx.filter_eval_shape(lambda o: agent.policy(o, key=seed_key(0)), observation)
    except (TypeError, ValueError) as error:
        shapes = jax.tree.map(jnp.shape, observation)
        raise ValueError(
            f"The policy cannot act on the environment's observations, of shape {shapes}: {error}"
        ) from error
    if chosen.shape == action_shape:
        return 1
    if chosen.shape[1:] == action_shape:
        return chosen.shape[0]
    raise ValueError(
        f"The environment's actions have the shape {action_shape}, and the policy's "
        f"{chosen.shape}: expected that, or a chunk {('horizon', *action_shape)}."
    )


def default_batch_size() -> int:
    """How many observations a call of a policy has; see `evaluate`."""
    return 8 if jax.default_backend() == "cpu" else 64


def act(
    guided: Sequence[Guided],
    observations: PyTree,
    episode_seeds: Sequence[int],
    decisions: Sequence[int],
    *,
    batch_size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the actions of episodes whose policies can be rows of one call.

    **Arguments:**

    - `guided`: the policy of each row; they share their `parts.kin`.
    - `observations`: each leaf `(rows, *shape)`.
    - `episode_seeds`, `decisions`: of each row; the noise follows from the episode and the number
        of the decision in it alone, so conditions are paired.
    - `batch_size`: every call of the policy has so many rows, whatever their number: nothing is
        compiled twice, and no action is rounded in another way because others were chosen with it.

    **Returns:**

    Actions `(rows, *action)`, and of each the share of the flow's steps that were left unguided
    because a gradient was not finite, `(rows,)`; NaN where that is not known.
    """
    count, parts = len(guided), guided[0].parts
    numbers = (
        [np.stack(several) for several in zip(*(g.parts.own for g in guided), strict=True)],
        jax.tree.map(as_float, observations),
        np.array(episode_seeds, np.uint32),
        np.array(decisions, np.uint32),
    )
    chosen = []
    for start in range(0, count, batch_size):
        rows = np.resize(np.arange(start, min(start + batch_size, count)), batch_size)
        batch = jax.tree.map(lambda x, rows=rows: jnp.asarray(x[rows]), numbers)
        chosen.append(_act(parts.program, parts.shared, *batch))
    # Only now are they waited for.
    blocks = [(np.asarray(result.action), np.asarray(result.dropped)) for result in chosen]
    actions, dropped = (np.concatenate(several)[:count] for several in zip(*blocks, strict=True))
    mapped = [
        action if g.to_environment is None else g.to_environment(action)
        for g, action in zip(guided, actions, strict=True)
    ]
    return np.stack(mapped), dropped


@eqx.filter_jit
def _act(
    program: Program,
    shared: tuple[Any, ...],
    own: list[Any],
    observations: PyTree,
    seeds: UInt32[Array, " rows"],
    decisions: UInt32[Array, " rows"],
) -> Acted:
    def one(own, observation, seed, decision):
        policy = program.policy(shared, own)
        key = jr.fold_in(jr.fold_in(seed_key(0), seed), decision)
        return policy.act(jr.normal(key, policy.noise_shape), observation)

    return jax.vmap(one)(own, observations, seeds, decisions)
