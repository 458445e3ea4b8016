# pyright: reportAttributeAccessIssue=false

from typing import Any

import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]


def torch_dtype(dtype: Any) -> torch.dtype:
    """PyTorch's dtype of the same name."""
    found = getattr(torch, jnp.dtype(dtype).name, None)
    if not isinstance(found, torch.dtype):
        raise TypeError(f"PyTorch has no dtype {jnp.dtype(dtype).name}.")
    return found


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """An array that XLA handed over, as a tensor: the function's to keep and to write into."""
    # A copy that JAX has made, in the versions that are known.
    array = array if array.flags.owndata else array.copy()
    array.flags.writeable = True
    if array.dtype != jnp.bfloat16:
        return torch.from_numpy(array)
    # PyTorch does not know the bfloat16 that JAX brings to NumPy.
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)


def placed(tensor: torch.Tensor, device: torch.device, dtype: torch.dtype | None) -> torch.Tensor:
    """A tensor on a device; in a dtype, if it has floats."""
    return tensor.to(device, dtype if tensor.is_floating_point() else None)


def as_numpy(tensor: torch.Tensor, dtype: Any, lead: tuple[int, ...]) -> np.ndarray:
    """A batch as an array with these axes in front: what XLA copies its result from."""
    tensor = tensor.detach().to("cpu", torch_dtype(dtype)).contiguous()
    tensor = tensor.reshape((*lead, *tensor.shape[1:]))
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy()
    return tensor.view(torch.int16).numpy().view(jnp.bfloat16)
