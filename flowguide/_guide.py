import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from jaxtyping import PyTree

from ._critic import Critic
from ._guidance import (
    beam,
    best_of_n,
    bptt,
    cfg,
    grad_step,
    guided_action_flow,
    noise_ascent,
    ode,
    ood,
    posterior,
    qgf,
    qgf_jacobian,
    qgf_orthogonal,
    qgf_regularised,
    robust_q,
    trust_region,
)
from ._policy import AbstractPolicy
from ._unit import DEFAULT_KAPPA, weight_unit

Guidance: TypeAlias = Callable[[Any, Critic], Any]

METHODS: dict[str, Callable[..., Guidance]] = {
    "qgf": qgf,
    "qgf_jacobian": qgf_jacobian,
    "qgf_regularised": qgf_regularised,
    "qgf_orthogonal": qgf_orthogonal,
    "posterior": posterior,
    "ode": ode,
    "bptt": bptt,
    "ood": ood,
    "robust_q": robust_q,
    "guided_action_flow": guided_action_flow,
    "cfg": cfg,
    "trust_region": trust_region,
    "best_of_n": best_of_n,
    "beam": beam,
    "noise_ascent": noise_ascent,
    "grad_step": grad_step,
}


def guide(
    policy: AbstractPolicy,
    critic: Critic,
    method: str | Guidance | Sequence[str | Guidance] = "qgf",
    *,
    kappa: float | None = None,
    observations: PyTree = None,
    **options: Any,
) -> Any:
    """Guides a frozen policy by a critic. No weight of either changes.

    ```python
    flowguide.guide(policy, critic, method="qgf", weight=0.1)
    flowguide.guide(policy, critic, flowguide.qgf(weight=0.1))                       # the same
    flowguide.guide(policy, critic, [flowguide.qgf(weight=0.1), flowguide.best_of_n(4)])
    flowguide.guide(policy, critic, method="qgf", weight="auto", observations=some)
    ```

    **Arguments:**

    - `policy`: any policy; gradient guidance needs a `flowguide.FlowPolicy`.
    - `critic`: any callable `critic(observation, action) -> scalar`.
    - `method`: the name of a method, a guidance, or a sequence of them, applied left to right.
    - `kappa`: the weight in units of the task, `weight = kappa * flowguide.weight_unit(...)`, for a
        method given by name; `weight="auto"` is `kappa=flowguide.DEFAULT_KAPPA`. Measured here,
        once: inside `jax.jit` or a loop, pass the number as `weight`.
    - `observations`: some that the policy meets, with a leading axis, which the unit is measured
        from; a training run keeps 256 (`flowguide.load_observations`).
    - `options`: for the method that `method` names.

    **Returns:**

    The guided policy.

    **Raises:**

    `ValueError` for an unknown name, or for an order that cannot work. `TypeError` for an option
    that the method does not have, or options without a name.
    """
    if not callable(critic):
        raise TypeError(
            f"critic must be a callable critic(observation, action) -> scalar, got {critic!r}."
        )
    if isinstance(options.get("weight"), str):
        if options["weight"] != "auto" or kappa is not None:
            raise ValueError(
                f'weight must be "auto", without kappa, or a number; got {options["weight"]!r} '
                f"with kappa={kappa}."
            )
        kappa = DEFAULT_KAPPA
    if kappa is not None:
        if observations is None or "weight" in options and options["weight"] != "auto":
            raise ValueError(
                "kappa, or weight='auto', is a weight in units of the task: expected "
                "observations=..., from which the unit is measured, and no other weight."
            )
        options["weight"] = kappa * weight_unit(policy, critic, observations)
    if not isinstance(method, str):
        if options:
            raise TypeError(
                f"Options {sorted(options)} go to a method given by name, such as "
                'method="qgf"; a guidance is made with its options, such as '
                "flowguide.qgf(weight=0.1)."
            )
    guidances = [method] if isinstance(method, str) or callable(method) else list(method)
    for guidance in guidances:
        if isinstance(guidance, str):
            guidance = _named(guidance, options)
        if not callable(guidance):
            raise TypeError(
                f"method must be a name, a guidance or a sequence of them, got {guidance!r}."
            )
        policy = guidance(policy, critic)
    return policy


def _named(name: str, options: dict[str, Any]) -> Guidance:
    if name not in METHODS:
        raise ValueError(f"Unknown method {name!r}: expected one of {sorted(METHODS)}.")
    known = inspect.signature(METHODS[name]).parameters
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"{name} has no option {unknown}: its options are {sorted(known)}.")
    return METHODS[name](**options)
