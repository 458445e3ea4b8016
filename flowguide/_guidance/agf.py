import optax

from .._estimate import NoisyAction
from .._jacobian import DroppedJacobian
from .._weight import Relative, WeightLike
from .gradient import GradientGuidance


def agf(
    weight: WeightLike | None = None,
    *,
    shaping: optax.GradientTransformation | None = None,
    debug: bool = False,
) -> GradientGuidance:
    r"""Adjoint Guidance Flow: a network of costates in place of the critic, $v + w\,g(t, a_t, o)$.

    A costate is what `bptt` computes, the gradient of the finished action's value in the noisy one.
    Here a `flowguide.Costate` has learnt it (`flowguide.train.AGF`), so that no critic is asked and
    nothing is differentiated.

    **Arguments:**

    - `weight`: as in `flowguide.GradientGuidance`; None for `flowguide.Relative(1.0)`. There is no
        value from which a `flowguide.Kappa` could be measured.
    - `shaping`, `debug`: as in `flowguide.GradientGuidance`.

    **Returns:**

    A `flowguide.GradientGuidance`. Each call of the guided velocity costs 1 velocity and a pass of
    the network, which counts as another one. It takes a `flowguide.Costate`, or something made of
    one; for another critic it raises a `ValueError`.

    Source: Adjoint Guidance Flow, Kim et al. (arXiv 2609.34944), whose terms are 0.25 to 4 times as
    long as the velocity.
    """
    return GradientGuidance(
        *(NoisyAction(costate=True), DroppedJacobian()),
        Relative(1.0) if weight is None else weight,
        shaping=shaping,
        debug=debug,
    )
