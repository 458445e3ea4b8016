"""What of a policy is compiled, and what its compiled form gets at each call."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

# Arrays of more entries are passed once for all rows: a weight is small, a network is not.
MAX_OWN = 4096


class Program:
    """A policy without its arrays: policies that differ in numbers alone have the same.

    It is hashed once, and not at every call. A policy with a part that has no hash is a program of
    its own.
    """

    def __init__(self, treedef: Any, leaves: tuple[Any, ...], kinds: tuple[Any, ...]):
        self._parts = treedef, leaves, kinds
        self._hash: int | None
        try:
            self._hash = hash(self._parts)
        except TypeError:
            self._hash = None

    def __hash__(self) -> int:
        return id(self) if self._hash is None else self._hash

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Program):
            return self is other
        if self._hash is None or self._hash != other._hash:
            return False
        return bool(self._parts == other._parts)

    def policy(self, shared: Sequence[Any], own: Sequence[Any]) -> Any:
        """The policy with its arrays."""
        treedef, leaves, kinds = self._parts
        arrays = {"shared": iter(shared), "own": iter(own)}
        filled = [
            leaf if kind is None else next(arrays[kind[0]])
            for leaf, kind in zip(leaves, kinds, strict=True)
        ]
        return jax.tree.unflatten(treedef, filled)


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """A policy taken apart.

    **Attributes:**

    - `program`: what is compiled.
    - `shared`: arrays that the policy's rows of a batch must have in common: those of the agent's
        networks, and large ones.
    - `own`: arrays that each row can have its own of: weights, and what else a guidance brings.
    """

    program: Program
    shared: tuple[Any, ...]
    own: tuple[np.ndarray, ...]

    @functools.cached_property
    def kin(self) -> tuple[Any, ...]:
        """What is equal where two policies can be rows of one call."""
        return self.program, *map(id, self.shared)


def take_apart(policy: PyTree, known: PyTree) -> Parts:
    """A policy as a program and its arrays.

    What an array counts as follows from the policy alone, not from what else is played: so does
    the program, and with it how sums are rounded.

    **Arguments:**

    - `policy`: any.
    - `known`: whose arrays are shared: the policy and the critic before guidance.
    """
    networks = {id(leaf) for leaf in jax.tree.leaves(known) if eqx.is_array(leaf)}
    leaves, treedef = jax.tree.flatten(policy)
    shared, own, kinds, rest = [], [], [], []
    for leaf in leaves:
        kind: Any = None
        if eqx.is_array(leaf):
            is_shared = id(leaf) in networks or leaf.size > MAX_OWN or _is_key(leaf)
            kind = "shared" if is_shared else "own", leaf.shape, str(leaf.dtype)
            shared += [leaf] if is_shared else []
            own += [] if is_shared else [np.asarray(leaf)]
        kinds.append(kind)
        rest.append(leaf if kind is None else None)
    program = Program(treedef, tuple(rest), tuple(kinds))
    return Parts(program, tuple(shared), tuple(own))


def _is_key(leaf: Any) -> bool:
    """Random keys are no arrays of NumPy."""
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.extended))
