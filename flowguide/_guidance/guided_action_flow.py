import functools

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import ArrayLike

from .._estimate import OneStepEstimate
from .._jacobian import DroppedJacobian
from .gate import DisagreementGate
from .gradient import GradientGuidance

# The same object for the same norm: what is compiled for one beta is then there for the others.
_clip = functools.cache(optax.clip_by_global_norm)


def guided_action_flow(
    beta: ArrayLike = 1.0,
    *,
    max_norm: float | None = 1.0,
    scale: float = 1.0,
    floor: float = 0.0,
    debug: bool = False,
) -> GradientGuidance:
    r"""Guided Action Flow: the clipped gradient of an ensemble's mean, trusted as it agrees.

    $$v + \frac1\beta\, \max\!\big(f, e^{-s\,\sigma(\hat a)}\big)\,
      \mathrm{clip}_{c}\!\big(\nabla \bar Q(o, \hat a)\big)$$

    with $\hat a$ the one-step estimate, $\bar Q$ the mean and $\sigma$ the standard deviation
    (divided by K) of the members' values. It is `flowguide.qgf` with a shaping and a gate, and
    with the mean in place of the ensemble's own reduction.

    **Arguments:**

    - `beta`: $\beta > 0$, how much the critic's value counts against the policy's likelihood; the
        guidance weight is `1 / beta`. An array leaf.
    - `max_norm`: $c$, the longest gradient; None to leave gradients as they are.
    - `scale`, `floor`: $s$ and $f$; see `flowguide.DisagreementGate`.
    - `debug`: as in `flowguide.GradientGuidance`.

    **Returns:**

    A `flowguide.GradientGuidance` for a critic that has members, such as a `flowguide.Ensemble`; it
    raises a `ValueError` for another critic. Each call of the guided velocity costs 1
    velocity and 1 gradient of the ensemble.

    **Raises:**

    `equinox.EquinoxRuntimeError` for a beta that is not above 0.

    ??? cite "Reference"

        ```bibtex
        @article{tang2026guided,
            title={Guided Action Flow: Q-Guided Inference for Flow-Matching
                   Vision-Language-Action Policies},
            author={Tang, Zezhi and Yang, Liuhaichen and Jiang, Zhuang and Sheng, Chenchao},
            journal={arXiv preprint arXiv:2607.02092},
            year={2026},
        }
        ```
    """
    beta = jnp.asarray(beta, float)
    message = "flowguide.guided_action_flow: beta must be above 0."
    beta = eqx.error_if(beta, beta <= 0, message)
    return GradientGuidance(
        *(OneStepEstimate(), DroppedJacobian(), 1 / beta),
        shaping=None if max_norm is None else _clip(float(max_norm)),
        gate=DisagreementGate(scale, floor),
        mean_of_members=True,
        debug=debug,
    )
