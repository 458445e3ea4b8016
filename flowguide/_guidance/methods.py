"""Published methods of gradient guidance, each a setting of `GradientGuidance`."""

from collections.abc import Callable

import diffrax
import optax
from jaxtyping import Array, ArrayLike, PRNGKeyArray

from .._estimate import NoisyAction, OneStepEstimate, PosteriorEstimate, RolloutEstimate
from .._jacobian import DroppedJacobian, ExactJacobian, OrthogonalJacobian, RegularisedJacobian
from .._weight import WeightLike
from .gradient import GradientGuidance


def ood(
    weight: WeightLike | None = None,
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

    A `flowguide.GradientGuidance`. Each call of the guided velocity costs 1 velocity and 1
    critic gradient.

    Source: QFQL in the QGF paper (arXiv 2606.11087); see `flowguide.qgf`.
    """
    return GradientGuidance(
        NoisyAction(), DroppedJacobian(), weight, shaping=shaping, gate=gate, debug=debug
    )


def robust_q(
    weight: WeightLike | None = None,
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

    A `flowguide.GradientGuidance`. Each call of the guided velocity costs 1 velocity and 1
    critic gradient. It takes a `flowguide.NoiseConditionedCritic`, something made of those, or any
    critic whose method `at` makes a difference; for another it raises a `ValueError`.

    Source: RobustQ in the QGF paper (arXiv 2606.11087); see `flowguide.qgf`.
    """
    estimate = NoisyAction(noise_conditioned=True)
    return GradientGuidance(
        estimate, DroppedJacobian(), weight, shaping=shaping, gate=gate, debug=debug
    )


def qgf(
    weight: WeightLike | None = None,
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

    A `flowguide.GradientGuidance`. Each call of the guided velocity costs 1 velocity and 1
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
    weight: WeightLike | None = None,
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

    A `flowguide.GradientGuidance`. Each call of the guided velocity costs 1 velocity with
    its vector-Jacobian product and 1 critic gradient.

    Source: the Jacobian variant of QGF (arXiv 2606.11087); see `flowguide.qgf`.
    """
    return GradientGuidance(
        OneStepEstimate(), ExactJacobian(), weight, shaping=shaping, gate=gate, debug=debug
    )


def qgf_regularised(
    weight: WeightLike | None = None,
    *,
    mix: ArrayLike = 0.5,
    shaping: optax.GradientTransformation | None = None,
    gate: Callable[[Array], Array] | None = None,
    debug: bool = False,
) -> GradientGuidance:
    r"""Between `qgf` and `qgf_jacobian`: $v + w\,((1 - \lambda) I + \lambda J)^\top \nabla Q$.

    $J$ is the Jacobian of the one-step estimate $\hat a$ in $a_t$, and $\nabla Q$ is at $\hat a$.

    **Arguments:**

    - `mix`: $\lambda$ in [0, 1], how much of the Jacobian there is; an array leaf.
    - `weight`, `shaping`, `gate`, `debug`: as in `flowguide.GradientGuidance`.

    **Returns:**

    A `flowguide.GradientGuidance`. Each call of the guided velocity costs 1 velocity with
    its vector-Jacobian product and 1 critic gradient.

    Source: the regularised Jacobian among QGF's variants (arXiv 2606.11087); see `flowguide.qgf`.
    """
    return GradientGuidance(
        *(OneStepEstimate(), RegularisedJacobian(mix), weight),
        shaping=shaping,
        gate=gate,
        debug=debug,
    )


def qgf_orthogonal(
    weight: WeightLike | None = None,
    *,
    shaping: optax.GradientTransformation | None = None,
    gate: Callable[[Array], Array] | None = None,
    debug: bool = False,
) -> GradientGuidance:
    r"""`qgf_jacobian` with the gradient only turned: $v + w\,(U V^\top)^\top \nabla Q(o, \hat a)$.

    $J = U S V^\top$ is the Jacobian of the one-step estimate, whose polar factor $U V^\top$ is the
    nearest orthogonal map: the gradient keeps the length that it has in `qgf`.

    **Arguments:**

    - `weight`, `shaping`, `gate`, `debug`: as in `flowguide.GradientGuidance`.

    **Returns:**

    A `flowguide.GradientGuidance`. Each call of the guided velocity costs 1 velocity, a
    vector-Jacobian product for each entry of the action, a singular value decomposition and 1
    critic gradient.

    Source: the orthogonal Jacobian among QGF's variants (arXiv 2606.11087); see `flowguide.qgf`.
    """
    return GradientGuidance(
        OneStepEstimate(), OrthogonalJacobian(), weight, shaping=shaping, gate=gate, debug=debug
    )


def posterior(
    weight: WeightLike | None = None,
    *,
    num_samples: int = 4,
    temperature: ArrayLike | None = None,
    key: PRNGKeyArray | None = None,
    shaping: optax.GradientTransformation | None = None,
    gate: Callable[[Array], Array] | None = None,
    debug: bool = False,
) -> GradientGuidance:
    r"""The critic's gradient averaged over several clean actions.

    $$v + \frac wK \sum_k \nabla Q(o, \hat a_k)$$

    Each $\hat a_k$ is the one-step estimate after a second look, from the first estimate with new
    noise; see `flowguide.PosteriorEstimate`. Between `qgf` and `ode` in cost.

    **Arguments:**

    - `num_samples`: K, at least 1.
    - `key`: of the K noises, which are the same in all steps; None for `jax.random.key(0)`.
    - `weight`, `temperature`, `shaping`, `gate`, `debug`: as in `flowguide.GradientGuidance`. A
        gate reads the members' mean values over the K actions.

    **Returns:**

    A `flowguide.GradientGuidance`. Each call of the guided velocity costs `1 + K` velocities
    and `K` critic gradients.

    Source: guidance by posterior samples of clean actions, as QPILOTS-M has it (arXiv 2606.14801);
    theirs come from a network that is trained for it, these from the policy itself.
    """
    return GradientGuidance(
        *(PosteriorEstimate(num_samples, key), DroppedJacobian(), weight),
        temperature=temperature,
        shaping=shaping,
        gate=gate,
        debug=debug,
    )


def ode(
    weight: WeightLike | None = None,
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
    weight: WeightLike | None = None,
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
