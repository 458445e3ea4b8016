"""What XLA calls, with arrays of NumPy. Nothing of JAX is computed here: it could wait for ever."""

# pyright: reportAttributeAccessIssue=false

import dataclasses
import math

import jax
import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from .._pytree import PyTree
from ._function import modes, TorchFunction
from ._result import Result
from ._tensors import as_numpy, as_tensor, placed


@dataclasses.dataclass(frozen=True)
class Value:
    """The function's result."""

    function: TorchFunction
    result: Result

    def __call__(self, lead: int, arguments: tuple[PyTree, ...]) -> PyTree:
        asked = _Asked(self.function, self.result, lead, arguments)
        return self.result.structure.unflatten(asked.values())


@dataclasses.dataclass(frozen=True)
class Pullback:
    """The cotangents of those arguments that are wanted, as a list."""

    function: TorchFunction
    result: Result
    wanted: tuple[bool, ...]

    def __call__(
        self, lead: int, arguments: tuple[PyTree, ...], cotangents: list[np.ndarray]
    ) -> list[np.ndarray]:
        asked = _Asked(self.function, self.result, lead, arguments, self.wanted, cotangents)
        return asked.pulled_back()


@dataclasses.dataclass(frozen=True)
class ValueAndGradients:
    """The function's one result, `()` or `(K,)`, and the gradients `(*result, *leaf)` of it."""

    function: TorchFunction
    result: Result
    wanted: tuple[bool, ...]

    def __call__(
        self, lead: int, arguments: tuple[PyTree, ...]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        asked = _Asked(self.function, self.result, lead, arguments, self.wanted)
        return asked.values()[0], asked.gradients()


class _Asked:
    """A function that was asked about a batch, with what autograd needs for the wanted leaves.

    The first `lead` axes are of the `vmap`s around the call. Arguments outside of one have an axis
    of size 1 there.
    """

    def __init__(
        self,
        function: TorchFunction,
        result: Result,
        lead: int,
        arguments: tuple[PyTree, ...],
        wanted: tuple[bool, ...] = (),
        cotangents: list[np.ndarray] | None = None,
    ):
        self.function, self.result, self.wanted = function, result, wanted
        leaves, structure = jax.tree.flatten(arguments)
        self.action = function.action_index(arguments)
        self.device = function.place()
        with modes(self.device, gradient=bool(wanted)):
            given = [as_tensor(leaf) for leaf in leaves]
            above = [as_tensor(leaf) for leaf in cotangents or []]
            self.lead = np.broadcast_shapes(*(x.shape[:lead] for x in (*given, *above)))
            self.size = math.prod(self.lead)
            self.cotangents = [self._batched(each.to(self.device)) for each in above]
            dtype = function.precision(structure.unflatten(given))
            batch = [self._batched(placed(each, self.device, dtype)) for each in given]
            chosen = [i for i, is_wanted in enumerate(wanted) if is_wanted]
            for i in chosen:
                batch[i] = batch[i].detach().requires_grad_()
            self.inputs = [batch[i] for i in chosen]
            self.dtypes = [leaves[i].dtype for i in chosen]
            returned = function.function(*structure.unflatten(batch))
            self.found = result.tensors(function.name, returned, self.size)

    def _batched(self, tensor: torch.Tensor) -> torch.Tensor:
        shape = tensor.shape[len(self.lead) :]
        # Copies only if several axes become one of which the tensor has some.
        return tensor.expand((*self.lead, *shape)).reshape((self.size, *shape))

    def values(self) -> list[np.ndarray]:
        dtypes = (leaf.dtype for leaf in self.result.leaves)
        return [as_numpy(x, d, self.lead) for x, d in zip(self.found, dtypes, strict=True)]

    def pulled_back(self) -> list[np.ndarray]:
        """The products of the cotangents with the derivatives in what is wanted."""
        floats = [each for each in self.found if each.is_floating_point()]
        pairs = [
            (each, above.to(each.dtype))
            for each, above in zip(floats, self.cotangents, strict=True)
            if each.requires_grad
        ]
        found = self._differentiated([each for each, _ in pairs], [above for _, above in pairs])
        return self._as_numpy(found)

    def gradients(self) -> list[np.ndarray]:
        """The gradients of the one result, those of K values one after another."""
        value = self.found[0]
        outputs = [value] if value.ndim == 1 else value.unbind(1)
        rows = [self._differentiated([output], None) for output in outputs]
        if value.ndim == 1:
            return self._as_numpy(rows[0])
        return self._as_numpy([torch.stack(each, 1) for each in zip(*rows, strict=True)])

    def _differentiated(
        self, outputs: list[torch.Tensor], cotangents: list[torch.Tensor] | None
    ) -> list[torch.Tensor]:
        """The derivatives of all samples' sum, which are each sample's own."""
        found: list[torch.Tensor | None] = [None] * len(self.inputs)
        with modes(self.device, gradient=True):
            if outputs and outputs[0].requires_grad:
                above = cotangents or [torch.ones_like(each) for each in outputs]
                options = {"retain_graph": True, "allow_unused": True}
                found = list(torch.autograd.grad(outputs, self.inputs, above, **options))
            self._check_all_is_there(found)
            pairs = zip(self.inputs, found, strict=True)
            return [torch.zeros_like(x) if each is None else each for x, each in pairs]

    def _check_all_is_there(self, found: list[torch.Tensor | None]) -> None:
        """Time, and parts of an observation, may not matter. An action always does."""
        chosen = [i for i, is_wanted in enumerate(self.wanted) if is_wanted]
        lost = [i for i, each in zip(chosen, found, strict=True) if each is None]
        if self.action in lost or lost == chosen:
            what = "action" if self.action in lost else "arguments that it is differentiated in"
            raise ValueError(
                f"The result of the {self.function.name} does not depend on the {what}, as far as "
                "PyTorch's autograd knows. Look for .detach(), .item(), .numpy(), torch.no_grad() "
                "and torch.inference_mode() in the function. If it is meant so, add 0 * x.sum()."
            )

    def _as_numpy(self, gradients: list[torch.Tensor]) -> list[np.ndarray]:
        return [as_numpy(x, d, self.lead) for x, d in zip(gradients, self.dtypes, strict=True)]
