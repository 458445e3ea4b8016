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


def register(name: str, make: Callable[..., Guidance]) -> None:
    """Gives a method of your own a name, as those of flowguide have one.

    With it `flowguide.guide(policy, critic, name)` finds the method, and, if `make` takes a
    `weight`, an evaluation can name it in its conditions, so that it is compared with the others on
    the same episodes. For as long as the process lives.

    ```python
    flowguide.register("gaf", lambda weight=1.0: flowguide.guided_action_flow(1 / weight))
    ```

    **Arguments:**

    - `name`: a Python identifier that no other method has.
    - `make`: a callable from options, such as `weight`, to a guidance.

    **Raises:**

    `ValueError` for a name that is taken or no identifier; `TypeError` if `make` cannot be called.
    """
    if not callable(make):
        raise TypeError(f"make must be a callable from options to a guidance, got {make!r}.")
    if not str(name).isidentifier():
        raise ValueError(f"name must be an identifier, such as 'my_method', got {name!r}.")
    # What was compiled under a name is not compiled again, so a name stays what it is.
    if METHODS.get(name, make) is not make or name == "unguided":
        raise ValueError(f"There is a method {name!r} already: choose another name.")
    METHODS[name] = make


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

    Without a `weight` a gradient method has the raw weight 1, which suits few critics: give one, or
    `kappa`.

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
        _check_has_weight(method)
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


def _check_has_weight(method: Any) -> None:
    """Refuses kappa where it would not reach a weight, before anything is measured."""
    if not isinstance(method, str):
        raise TypeError(
            "kappa is for a method given by name. In a sequence, or for a guidance: "
            "unit = flowguide.weight_unit(policy, critic, observations), and then "
            "flowguide.qgf(weight=5 * unit)."
        )
    known = sorted(inspect.signature(METHODS[method]).parameters) if method in METHODS else []
    if known and "weight" not in known:
        raise TypeError(f"{method} has no weight that kappa could be: its options are {known}.")


def _named(name: str, options: dict[str, Any]) -> Guidance:
    if name not in METHODS:
        raise ValueError(f"Unknown method {name!r}: expected one of {sorted(METHODS)}.")
    known = inspect.signature(METHODS[name]).parameters
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"{name} has no option {unknown}: its options are {sorted(known)}.")
    return METHODS[name](**options)
