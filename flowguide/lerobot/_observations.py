# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from typing import Any

import jax.numpy as jnp
import torch
from jaxtyping import Array

PREFIX = "observation"


def observations(batch: dict[str, Any]) -> dict[str, Array]:
    """The observations of a LeRobot batch as arrays: what `flow_policy` and critics are given.

    **Arguments:**

    - `batch`: what LeRobot's preprocessor returned.

    **Returns:**

    The tensors whose names begin with `observation`, each with its leading batch axis.

    **Raises:**

    `ValueError` where there are none, or they do not share their leading axis.
    """
    return {name: as_array(value) for name, value in observed(batch).items()}


def observed(batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The same as tensors."""
    tensors = {
        name: value
        for name, value in batch.items()
        if name.startswith(PREFIX) and isinstance(value, torch.Tensor)
    }
    sizes = {name: tuple(value.shape[:1]) for name, value in tensors.items()}
    if not tensors or len(set(sizes.values())) != 1 or () in sizes.values():
        raise ValueError(
            "batch must have tensors whose names begin with 'observation', with one leading batch "
            f"axis, as LeRobot's preprocessor returns them; got {sizes or sorted(batch)}."
        )
    return tensors


def as_array(tensor: torch.Tensor) -> Array:
    """A tensor as an array of its own, of the same dtype."""
    return jnp.array(jnp.from_dlpack(tensor.detach().cpu().contiguous()))
