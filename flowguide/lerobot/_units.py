"""What LeRobot's processors do to observations and actions, as maps in JAX."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import torch
from jaxtyping import Array, Float
from lerobot.processor import NormalizerProcessorStep, TransitionKey, UnnormalizerProcessorStep

from ._observations import PREFIX


class Affine(eqx.Module):
    """`x * scale + offset`, for each entry."""

    scale: Array
    offset: Array

    @property
    def is_identity(self) -> bool:
        return bool(jnp.all(self.scale == 1) & jnp.all(self.offset == 0))

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return x * self.scale.astype(x.dtype) + self.offset.astype(x.dtype)


def action_units(postprocessor: Any, shape: tuple[int, ...]) -> Affine:
    """The map from a policy's actions to the environment's, as a postprocessor has it.

    It is found by asking: whatever LeRobot's steps are called and however they normalise, they are
    affine in each entry, and where they are not, nothing could be said of a critic's gradient.

    **Arguments:**

    - `postprocessor`: a LeRobot pipeline of actions.
    - `shape`: of a chunk, unpadded.

    **Raises:**

    `ValueError` for a pipeline that is not affine in each entry.
    """
    return _affine(lambda x: postprocessor(x), shape, "postprocessor")


def observation_units(preprocessor: Any) -> dict[str, Affine]:
    """The maps from a policy's normalised observations to the environment's.

    **Arguments:**

    - `preprocessor`: a LeRobot pipeline with a step that normalises.

    **Returns:**

    A map for each entry of an observation that the step changes.

    **Raises:**

    `ValueError` for a pipeline without such a step, or with several.
    """
    steps = [s for s in preprocessor.steps if isinstance(s, NormalizerProcessorStep)]
    if len(steps) != 1:
        raise ValueError(
            "preprocessor must have one step that normalises, LeRobot's NormalizerProcessorStep; "
            f"got {[type(s).__name__ for s in preprocessor.steps]}."
        )
    (step,) = steps
    inverse = UnnormalizerProcessorStep(
        features=step.features, norm_map=step.norm_map, stats=step.stats, eps=step.eps
    )

    def undo(name: str) -> Any:
        def call(x: torch.Tensor) -> torch.Tensor:
            return inverse({TransitionKey.OBSERVATION: {name: x}})[TransitionKey.OBSERVATION][name]

        return call

    maps = {
        name: _affine(undo(name), tuple(feature.shape), f"preprocessor of {name}")
        for name, feature in step.features.items()
        if name.startswith(PREFIX)
    }
    # Images are left as they are, mostly: a map of each pixel would say nothing.
    return {name: each for name, each in maps.items() if not each.is_identity}


def _affine(call: Any, shape: tuple[int, ...], who: str) -> Affine:
    def at(x: np.ndarray) -> np.ndarray:
        # Of its own: what a pipeline does in place stays there.
        given = torch.tensor(x[None], dtype=torch.float32)
        with torch.inference_mode(False), torch.no_grad():
            return call(given).detach().cpu().double().numpy()[0]

    zero, one = at(np.zeros(shape)), at(np.ones(shape))
    some = np.random.default_rng(0).uniform(-3, 3, shape)
    expected = zero + some * (one - zero)
    if not np.allclose(at(some), expected, rtol=1e-4, atol=1e-4 * (1 + np.abs(one - zero).max())):
        raise ValueError(
            f"The {who} is not a scale and an offset of each entry, so the gradient of a critic in "
            'the environment\'s units is not known: use critic_units="policy".'
        )
    return Affine(jnp.asarray(one - zero, jnp.float32), jnp.asarray(zero, jnp.float32))
