from collections.abc import Callable, Sequence
from typing import Any, Literal, overload, TypeAlias, TypeVar

from ._catalogue import method_named
from ._critic import Critic
from ._guidance import (
    AbstractFlowGuidance,
    BeamPolicy,
    BestOfNPolicy,
    GradStepPolicy,
    NoiseAscentPolicy,
    TrustRegionPolicy,
)
from ._policy import AbstractPolicy, FlowPolicy
from ._pytree import PyTree
from ._weight import DEFAULT_KAPPA, Kappa

Guidance: TypeAlias = Callable[[Any, Any], Any]
"""Any callable `(policy, critic) -> policy`."""

P = TypeVar("P", bound=AbstractPolicy)

FlowMethod: TypeAlias = Literal[
    "qgf",
    "qgf_jacobian",
    "qgf_regularised",
    "qgf_orthogonal",
    "posterior",
    "ode",
    "bptt",
    "ood",
    "robust_q",
    "agf",
    "guided_action_flow",
    "qpilots",
    "cfg",
]


@overload
def guide(
    policy: FlowPolicy,
    critic: Critic | None,
    method: FlowMethod = "qgf",
    *,
    kappa: float | None = None,
    observations: PyTree = None,
    **options: Any,
) -> FlowPolicy: ...


@overload
def guide(
    policy: AbstractPolicy, critic: Critic | None, method: Literal["best_of_n"], *, n: int = 4
) -> BestOfNPolicy: ...


@overload
def guide(
    policy: FlowPolicy, critic: Critic | None, method: Literal["beam"], **options: Any
) -> BeamPolicy: ...


@overload
def guide(
    policy: AbstractPolicy, critic: Critic | None, method: Literal["grad_step"], **options: Any
) -> GradStepPolicy: ...


@overload
def guide(
    policy: AbstractPolicy, critic: Critic | None, method: Literal["noise_ascent"], **options: Any
) -> NoiseAscentPolicy: ...


@overload
def guide(
    policy: AbstractPolicy, critic: Critic | None, method: Literal["trust_region"], **options: Any
) -> TrustRegionPolicy: ...


@overload
def guide(policy: AbstractPolicy, critic: Critic | None, method: Callable[[Any, Any], P]) -> P: ...


@overload
def guide(
    policy: FlowPolicy, critic: Critic | None, method: Sequence[AbstractFlowGuidance]
) -> FlowPolicy: ...


@overload
def guide(
    policy: AbstractPolicy,
    critic: Critic | None,
    method: str | Guidance | Sequence[str | Guidance],
    *,
    kappa: float | None = None,
    observations: PyTree = None,
    **options: Any,
) -> AbstractPolicy: ...


def guide(
    policy: AbstractPolicy,
    critic: Critic | None,
    method: str | Guidance | Sequence[str | Guidance] = "qgf",
    *,
    kappa: float | None = None,
    observations: PyTree = None,
    **options: Any,
) -> Any:
    """Guides a frozen policy by a critic. No weight of either changes.

    ```python
    flowguide.guide(policy, critic)  # qgf, at a weight that fits
    flowguide.guide(policy, critic, method="qgf", weight=0.1)  # of its scale
    flowguide.guide(policy, critic, flowguide.qgf(weight=0.1))  # the same
    in_units = flowguide.qgf(weight=flowguide.Kappa(3.0, some))
    flowguide.guide(policy, critic, in_units)
    both = [flowguide.qgf(weight=0.1), flowguide.best_of_n(4)]
    flowguide.guide(policy, critic, both)
    ```

    Without a `weight` a gradient method has the weight `flowguide.Kappa()`, which follows the
    critic's scale: what is added to the critic, or multiplied with it, changes no action.

    **Arguments:**

    - `policy`: any policy; gradient guidance needs a `flowguide.FlowPolicy`.
    - `critic`: any callable `critic(observation, action) -> scalar`; None for methods that ask
        none, such as `cfg`.
    - `method`: the name of a method, a guidance, or a sequence of them, applied left to right.
    - `kappa`: `weight=flowguide.Kappa(kappa, observations)`, for a method given by name.
        `weight="auto"` is the same with the default kappa.
    - `observations`: for that `Kappa`: some that the policy meets, with a leading axis. None to
        measure at the observation at hand.
    - `options`: for the method that `method` names.

    **Returns:**

    The guided policy. Gradient methods and `cfg` return a `flowguide.FlowPolicy` whose `guidance`
    is longer; the others a policy around the given one.

    **Raises:**

    `ValueError` for an unknown name, or for an order that cannot work. `TypeError` for an option
    that the method does not have, or options without a name.
    """
    if critic is not None and not callable(critic):
        raise TypeError(
            f"critic must be a callable critic(observation, action) -> scalar, got {critic!r}."
        )
    options = _with_kappa(method, kappa, observations, options)
    if options and not isinstance(method, str):
        raise TypeError(
            f"Options {sorted(options)} go to a method given by name, such as "
            'method="qgf"; a guidance is made with its options, such as '
            "flowguide.qgf(weight=0.1)."
        )
    guidances: Any = method if isinstance(method, (list, tuple)) else [method]
    for guidance in guidances:
        if isinstance(guidance, str):
            guidance = _made(guidance, options)
        if not callable(guidance):
            raise TypeError(
                f"method must be a name, a guidance or a sequence of them, got {guidance!r}."
            )
        guided: Any = guidance(policy, critic)
        policy = guided
    return policy


def _with_kappa(
    method: Any, kappa: float | None, observations: PyTree, options: dict[str, Any]
) -> dict[str, Any]:
    """The options with the weight that `kappa`, or `weight="auto"`, stands for."""
    weight = options.get("weight")
    if isinstance(weight, str):
        if weight != "auto" or kappa is not None:
            raise ValueError(
                f'weight must be "auto", without kappa, or a number; got {weight!r} '
                f"with kappa={kappa}."
            )
        kappa = DEFAULT_KAPPA
    elif kappa is not None and weight is not None:
        raise ValueError(f"kappa is a weight: expected no other, got weight={weight!r}.")
    if kappa is None:
        if observations is not None:
            raise ValueError("observations are what kappa is measured from: expected kappa=....")
        return options
    if not isinstance(method, str):
        raise TypeError(
            "kappa is for a method given by name. For a guidance, or in a sequence: "
            "flowguide.qgf(weight=flowguide.Kappa(5.0, observations))."
        )
    named = method_named(method)
    if named.family == "conditioned":
        raise TypeError(f"{method} asks no critic, so its weight has no other unit, such as kappa.")
    if not named.has_weight:
        raise TypeError(
            f"{method} has no weight that kappa could be: its options are {sorted(named.options)}."
        )
    return {**options, "weight": Kappa(kappa, observations)}


def _made(name: str, options: dict[str, Any]) -> Guidance:
    method = method_named(name)
    unknown = sorted(set(options) - set(method.options))
    if unknown and not method.takes_any:
        raise TypeError(
            f"{name} has no option {unknown}: its options are {sorted(method.options)}."
        )
    return method.make(**options)
