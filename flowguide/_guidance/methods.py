"""Published methods of gradient guidance, each a setting of `GradientGuidance`."""

from collections.abc import Callable

import diffrax
import optax
from jaxtyping import Array, ArrayLike

from .._estimate import NoisyAction, OneStepEstimate, RolloutEstimate
from .._jacobian import DroppedJacobian, ExactJacobian
from .gradient import GradientGuidance


def ood(
    weight: ArrayLike | Callable[[Array], Array] = 1.0,
    *,
    shaping: optax.GradientTransformation | None = None,
    gate: Callable[[Array], Array] | None = None,
    debug: bool = False,
) -> GradientGuidance:
    r"""The critic's gradient at the noisy action itself: $v + w\,\nabla Q(o, a_t)$.

    The cheapest method, and the naive one: early on, the critic is asked about noise, which it
    never saw.

    **Arguments:**

    - `weight`, `shaping`, `gate`, `debug`: as in `flowguide.GradientGuidance`.

    **Returns:**

    A `flowguide.GradientGuidance`. Each evaluation of the guided velocity costs 1 velocity and 1
    critic gradient.

    Source: QFQL in the QGF paper (arXiv 2606.11087); see `flowguide.qgf`.
    """
    return GradientGuidance(
        NoisyAction(), DroppedJacobian(), weight, shaping=shaping, gate=gate, debug=debug
    )


def robust_q(
    weight: ArrayLike | Callable[[Array], Array] = 1.0,
    *,
    shaping: optax.GradientTransformation | None = None,
    gate: Callable[[Array], Array] | None = None,
    debug: bool = False,
) -> GradientGuidance:
    r"""The gradient of a critic that knows how noisy the action is: $v + w\,\nabla Q(o, a_t, t)$.

    `ood` with a critic that was trained for it, by `flowguide.train.NoiseConditioned`.

    **Arguments:**

    - `weight`, `shaping`, `gate`, `debug`: as in `flowguide.GradientGuidance`.

    **Returns:**

    A `flowguide.GradientGuidance`. Each evaluation of the guided velocity costs 1 velocity and 1
    critic gradient. Applied to anything but a `flowguide.NoiseConditionedCritic` it raises a
    `ValueError`.

    Source: RobustQ in the QGF paper (arXiv 2606.11087); see `flowguide.qgf`.
    """
    estimate = NoisyAction(noise_conditioned=True)
    return GradientGuidance(
        estimate, DroppedJacobian(), weight, shaping=shaping, gate=gate, debug=debug
    )


def qgf(
    weight: ArrayLike | Callable[[Array], Array] = 1.0,
    *,
    shaping: optax.GradientTransformation | None = None,
    gate: Callable[[Array], Array] | None = None,
    debug: bool = False,
) -> GradientGuidance:
    r"""Q-guided flow: $v + w\,\nabla Q(o, \hat a)$ with $\hat a = \mathrm{clip}(a_t + (1-t) v)$.

    The critic is asked about a clean action, one Euler step ahead; the Jacobian of that step is
    dropped, so nothing is differentiated through the policy, which may be a black box.

    **Arguments:**

    - `weight`, `shaping`, `gate`, `debug`: as in `flowguide.GradientGuidance`.

    **Returns:**

    A `flowguide.GradientGuidance`. Each evaluation of the guided velocity costs 1 velocity and 1
    critic gradient.

    ??? cite "Reference"

        ```bibtex
        @article{zhou2026qgf,
            title={Test-Time Gradient Guidance of Flow Policies in Reinforcement Learning},
            author={Zhou, Zhiyuan and Peng, Andy and Xu, Charles and Li, Qiyang and
                    Springenberg, Jost Tobias and Frans, Kevin and Levine, Sergey},
            journal={arXiv preprint arXiv:2606.11087},
            year={2026},
        }
        ```
    """
    return GradientGuidance(
        OneStepEstimate(), DroppedJacobian(), weight, shaping=shaping, gate=gate, debug=debug
    )


def qgf_jacobian(
    weight: ArrayLike | Callable[[Array], Array] = 1.0,
    *,
    shaping: optax.GradientTransformation | None = None,
    gate: Callable[[Array], Array] | None = None,
    debug: bool = False,
) -> GradientGuidance:
    r"""`qgf` with the Jacobian kept: $v + w\,\nabla_{a_t} Q(o, \mathrm{clip}(a_t + (1-t) v))$.

    One vector-Jacobian product through the clip and the velocity; never a full Jacobian.

    **Arguments:**

    - `weight`, `shaping`, `gate`, `debug`: as in `flowguide.GradientGuidance`.

    **Returns:**

    A `flowguide.GradientGuidance`. Each evaluation of the guided velocity costs 1 velocity with
    its vector-Jacobian product and 1 critic gradient.

    Source: the Jacobian variant of QGF (arXiv 2606.11087); see `flowguide.qgf`.
    """
    return GradientGuidance(
        OneStepEstimate(), ExactJacobian(), weight, shaping=shaping, gate=gate, debug=debug
    )


def ode(
    weight: ArrayLike | Callable[[Array], Array] = 1.0,
    *,
    shaping: optax.GradientTransformation | None = None,
    gate: Callable[[Array], Array] | None = None,
    debug: bool = False,
) -> GradientGuidance:
    r"""The critic's gradient at the action that the unguided flow would reach, Jacobian dropped.

    $v + w\,\nabla Q(o, \hat a)$ with $\hat a$ the flow solved from $t$ to 1 on the policy's own
    remaining steps, clipped.

    **Arguments:**

    - `weight`, `shaping`, `gate`, `debug`: as in `flowguide.GradientGuidance`.

    **Returns:**

    A `flowguide.GradientGuidance`. Step `k` of `N` costs `1 + N - k` velocities and 1 critic
    gradient.

    Source: the ODE estimate studied by QGF (arXiv 2606.11087); see `flowguide.qgf`.
    """
    return GradientGuidance(
        RolloutEstimate(), DroppedJacobian(), weight, shaping=shaping, gate=gate, debug=debug
    )


def bptt(
    weight: ArrayLike | Callable[[Array], Array] = 1.0,
    *,
    adjoint: diffrax.AbstractAdjoint | None = None,
    shaping: optax.GradientTransformation | None = None,
    gate: Callable[[Array], Array] | None = None,
    debug: bool = False,
) -> GradientGuidance:
    r"""The gradient of the finished action's value, backpropagated through the rest of the flow.

    $v + w\,\nabla_{a_t} Q(o, \hat a(a_t))$ with $\hat a$ as in `ode`, by diffrax's adjoint of the
    solve.

    **Arguments:**

    - `adjoint`: the `diffrax` adjoint of the inner solve; `None` for the policy's own.
    - `weight`, `shaping`, `gate`, `debug`: as in `flowguide.GradientGuidance`.

    **Returns:**

    A `flowguide.GradientGuidance`. Step `k` of `N` costs `1 + N - k` velocities, their
    vector-Jacobian products and 1 critic gradient.

    Source: backpropagation through time as studied by QGF (arXiv 2606.11087); see `flowguide.qgf`.
    """
    return GradientGuidance(
        RolloutEstimate(adjoint),
        ExactJacobian(),
        weight,
        shaping=shaping,
        gate=gate,
        debug=debug,
    )
