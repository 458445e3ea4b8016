from .._estimate import OneStepEstimate
from .._jacobian import ExactJacobian
from .._weight import Relative, WeightLike
from .gradient import GradientGuidance


def qpilots(weight: WeightLike | None = None, *, debug: bool = False) -> GradientGuidance:
    r"""QPILOTS-U: the gradient carried back one step, as long as a share of the velocity.

    $$v + \alpha\, \lVert v \rVert\, \frac{g}{\lVert g \rVert}, \qquad
      g = J^\top \nabla Q(o, \hat a)$$

    with $\hat a$ the one-step estimate and $J$ its Jacobian, in which the bounds count as if they
    were not there. The first step, at `t = 0`, is left unguided.

    **Arguments:**

    - `weight`: as in `flowguide.GradientGuidance`; None for
        `flowguide.Relative(0.2, skip_first=True)`, whose $\alpha$ is between 0.1 and 0.5 in the
        paper.
    - `debug`: as in `flowguide.GradientGuidance`.

    **Returns:**

    A `flowguide.GradientGuidance`. Each call of the guided velocity costs 1 velocity, 1 backward
    pass of it and 1 critic gradient.

    Source: QPILOTS-U (arXiv 2606.14801), whose critic is the `flowguide.Pessimism(0.5)` of ten. Its
    variant M averages over samples of a network that is trained for it; see `flowguide.posterior`
    with a `temperature`.
    """
    return GradientGuidance(
        *(OneStepEstimate(straight_through=True), ExactJacobian()),
        Relative(0.2, skip_first=True) if weight is None else weight,
        debug=debug,
    )
