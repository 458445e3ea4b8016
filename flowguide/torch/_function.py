# pyright: reportAttributeAccessIssue=false

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from .._pytree import PyTree


@dataclasses.dataclass(frozen=True)
class TorchFunction:
    """A PyTorch function, and how it is asked: in batches, in a dtype, on a device.

    Two of the same function are equal, so that what is compiled for one serves the other.

    **Attributes:**

    - `name`: what errors call it.
    - `takes`: the names of its arguments.
    - `function`: the caller's own.
    - `dtype`, `device`: as the caller gave them; None for those of the module. A device may be a
        callable that says where the function is now.
    """

    name: str
    takes: tuple[str, ...]
    function: Callable[..., Any]
    dtype: Any = None
    device: Any = None

    def __post_init__(self):
        where = f"flowguide.torch.{self.name}"
        if not callable(self.function):
            raise TypeError(
                f"{where} takes a callable of ({', '.join(self.takes)}), got {self.function!r}."
            )
        try:
            hash(self.function)
        except TypeError as error:
            raise TypeError(
                f"{where} was given a {type(self.function).__name__}, which has no hash, by which "
                "compiled programs are found: give a function that calls it."
            ) from error
        if self.dtype is not None and not getattr(self.dtype, "is_floating_point", False):
            raise TypeError(
                f"dtype must be a floating-point dtype of PyTorch, such as torch.float32, or None; "
                f"got {self.dtype!r}."
            )
        if self.device is not None and not callable(self.device):
            object.__setattr__(self, "device", torch.device(self.device))
        # No field: what was tried once is no part of what the function is.
        object.__setattr__(self, "_tried", {})

    def arrays(self, *arguments: PyTree) -> tuple[PyTree, ...]:
        """The arguments with a JAX array for each leaf.

        **Raises:**

        `TypeError` that names a leaf which PyTorch has no tensor for.
        """

        def as_array(path: Any, leaf: Any) -> jax.Array:
            name = self.takes[path[0].idx] + jax.tree_util.keystr(path[1:])
            if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
                raise TypeError(
                    f"{name} is a random key of JAX, which PyTorch has no tensor for: "
                    "jax.random.key_data makes integers of it."
                )
            is_array = isinstance(leaf, (jax.Array, np.ndarray, np.generic, bool, int, float))
            if not is_array or np.result_type(leaf).kind in "OSU":
                raise TypeError(
                    f"{name} is of type {type(leaf).__name__} ({leaf!r}), but functions of PyTorch "
                    "are handed arrays: turn it into one, or let the function hold it itself."
                )
            return jnp.asarray(leaf)

        return jax.tree_util.tree_map_with_path(as_array, arguments)

    def place(self) -> torch.device:
        """Where the function is asked."""
        if self.device is not None:
            return self.device() if callable(self.device) else self.device
        first = next(self._parameters(), None)
        return torch.device("cpu") if first is None else first.device

    def precision(self, arguments: tuple[PyTree, ...]) -> torch.dtype | None:
        """In which dtype the function is asked about these tensors; None for that of each."""
        own = (each.dtype for each in self._parameters() if each.is_floating_point())
        found = self.dtype or next(own, None)
        if found is None and "action" in self.takes:
            action = arguments[self.takes.index("action")]
            return action.dtype if action.is_floating_point() else None
        return found

    def _parameters(self) -> Iterator[torch.Tensor]:
        # Looked up at each call: a module may be moved.
        owner: Any = getattr(self.function, "__self__", self.function)
        return owner.parameters() if isinstance(owner, torch.nn.Module) else iter(())

    def action_index(self, arguments: tuple[PyTree, ...]) -> int | None:
        """The number of the leaf that is the action."""
        if "action" not in self.takes:
            return None
        return len(jax.tree.leaves(arguments[: self.takes.index("action")]))


@contextlib.contextmanager
def modes(device: torch.device, *, gradient: bool) -> Iterator[None]:
    """PyTorch's modes as functions are asked in them.

    They belong to a thread, and XLA calls from its own or from the caller's: none of the caller's
    counts. Without a gradient it is still no inference mode, since what a function keeps from one
    (rotary embeddings, say) could not be differentiated through later.
    """
    with (
        torch.inference_mode(False),
        torch.set_grad_enabled(gradient),
        _no_autocast(device),
    ):
        yield


def _no_autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    # Public, though not exported by its type stubs.
    is_known: Any = vars(torch.amp)["is_autocast_available"]
    if not is_known(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)
