"""What a function of PyTorch has to return, and how that is found where it is not known."""

# pyright: reportAttributeAccessIssue=false

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch  # pyright: ignore[reportMissingImports]

from .._checks import described
from .._pytree import PyTree
from ._function import modes, TorchFunction
from ._tensors import placed, torch_dtype


@dataclasses.dataclass(frozen=True)
class Result:
    """The shapes and dtypes of a result for one sample, as something that can be hashed.

    `finish` makes it, in PyTorch, of what the function returns; None for that itself.
    """

    leaves: tuple[jax.ShapeDtypeStruct, ...]
    structure: Any
    finish: Callable[[Any], Any] | None

    @property
    def tree(self) -> PyTree:
        return self.structure.unflatten(self.leaves)

    def tensors(self, name: str, returned: Any, size: int) -> list[torch.Tensor]:
        """The tensors of the result for a batch of that size.

        **Raises:**

        `TypeError` for what is no tensor, `ValueError` for another shape or kind of number.
        """
        result = self.finish(returned) if self.finish else returned
        found, structure = jax.tree.flatten(result)
        if structure != self.structure or not all(isinstance(x, torch.Tensor) for x in found):
            kinds = jax.tree.map(lambda x: type(x).__name__, result)
            is_one = self.structure == jax.tree.structure(0)
            expected = "a tensor" if is_one else f"tensors like {described(self.tree)}"
            raise TypeError(f"The {name} returned {kinds}: expected {expected}.")
        for tensor, like in zip(found, self.leaves, strict=True):
            shape, is_float = (size, *like.shape), jnp.issubdtype(like.dtype, jnp.floating)
            if tensor.shape != shape or tensor.is_floating_point() != is_float:
                raise ValueError(
                    f"The {name} returned a tensor of shape {tuple(tensor.shape)} and dtype "
                    f"{tensor.dtype} for a batch of {size}: expected shape {shape}, of "
                    f"{'floats' if is_float else like.dtype}."
                )
        return found


def result_like(tree: PyTree, finish: Callable[[Any], Any] | None = None) -> Result:
    leaves, structure = jax.tree.flatten(tree)
    return Result(tuple(leaves), structure, finish)


def find_result(
    function: TorchFunction,
    arguments: tuple[PyTree, ...],
    finish: Callable[[Any], Any] | None = None,
) -> Result:
    """What a function returns for arguments of these shapes, found once, on zeros."""
    leaves, structure = jax.tree.flatten(arguments)
    key = finish, structure, tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
    tried: dict[Any, Result] = vars(function)["_tried"]
    if key not in tried:
        # Two samples: with one, the batch axis could be any axis of size 1.
        device = function.place()
        with modes(device, gradient=False):
            zeros = [torch.zeros((2, *x.shape), dtype=torch_dtype(x.dtype)) for x in leaves]
            dtype = function.precision(structure.unflatten(zeros))
            batch = [placed(zero, device, dtype) for zero in zeros]
            returned = function.function(*structure.unflatten(batch))
            result = finish(returned) if finish else returned
        like = jax.tree_util.tree_map_with_path(
            lambda path, leaf: _one_sample(function.name + jax.tree_util.keystr(path), leaf), result
        )
        tried[key] = result_like(like, finish)
    return tried[key]


def _one_sample(where: str, leaf: Any) -> jax.ShapeDtypeStruct:
    if not isinstance(leaf, torch.Tensor):
        raise TypeError(
            f"The result of {where} is of type {type(leaf).__name__}: expected tensors, in tuples, "
            "lists and dictionaries."
        )
    if leaf.shape[:1] != (2,):
        raise ValueError(
            f"The result of {where} has shape {tuple(leaf.shape)} for a batch of 2: its first axis "
            "has to be that of the batch."
        )
    dtype = jnp.dtype(str(leaf.dtype).removeprefix("torch."))
    return jax.ShapeDtypeStruct(tuple(leaf.shape[1:]), jax.dtypes.canonicalize_dtype(dtype))
