"""Every method in one place. What `guide` finds by name, the command line lists, the documentation
tabulates and the tests cross comes from here."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from ._guidance import (
    agf,
    beam,
    best_of_n,
    bptt,
    cfg,
    grad_step,
    GradientGuidance,
    guided_action_flow,
    noise_ascent,
    ode,
    ood,
    posterior,
    qgf,
    qgf_jacobian,
    qgf_orthogonal,
    qgf_regularised,
    qpilots,
    robust_q,
    trust_region,
)
from ._near import did_you_mean, near_names

_OF_ANY_NAME = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)

Family = Literal["gradient", "conditioned", "action", "noise", "around", "own"]


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of guidance.

    **Attributes:**

    - `name`: what `flowguide.guide` calls it.
    - `make`: a callable from options to a guidance.
    - `family`: `"gradient"` methods add a critic's gradient to the velocity, `"conditioned"` ones
        ask a field that knows good actions, `"action"` ones choose or change finished actions,
        `"noise"` ones the noise, `"around"` ones hold another guidance; `"own"` ones were
        registered.
    - `summary`: what it does, in one line.
    - `source`: the paper.
    - `needs`: what it asks for besides a flow policy and a critic; empty for nothing.
    - `any_policy`: whether it takes policies that are no flows.
    - `black_box`: whether it works without a derivative of the policy.
    """

    name: str
    make: Callable[..., Any]
    family: Family
    summary: str
    source: str = ""
    needs: str = ""
    any_policy: bool = False
    black_box: bool = True

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """What `make` takes, by name."""
        parameters = inspect.signature(self.make).parameters
        return {name: p for name, p in parameters.items() if p.kind not in _OF_ANY_NAME}

    @property
    def takes_any(self) -> bool:
        """Whether `make` takes options that it does not name, and passes them on."""
        parameters = inspect.signature(self.make).parameters.values()
        return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)

    @property
    def has_weight(self) -> bool:
        """Whether it has a guidance weight, along which curves are drawn."""
        return "weight" in self.options


_QGF = "QGF (arXiv 2606.11087)"

CATALOGUE: dict[str, Method] = {
    method.name: method
    for method in (
        Method("qgf", qgf, "gradient", "the gradient one Euler step ahead", _QGF),
        Method(
            *("qgf_jacobian", qgf_jacobian, "gradient"),
            *("the same, carried back through that step", _QGF),
            black_box=False,
        ),
        Method(
            *("qgf_regularised", qgf_regularised, "gradient"),
            *("between `qgf` and `qgf_jacobian`", _QGF),
            black_box=False,
        ),
        Method(
            *("qgf_orthogonal", qgf_orthogonal, "gradient"),
            *("the same, only turned by the Jacobian", _QGF),
            black_box=False,
        ),
        Method(
            *("posterior", posterior, "gradient"),
            *("the mean gradient of several clean actions", "QPILOTS (arXiv 2606.14801)"),
        ),
        Method("ode", ode, "gradient", "the gradient at the end of the unguided flow", _QGF),
        Method(
            *("bptt", bptt, "gradient", "the same, carried back through the flow", _QGF),
            black_box=False,
        ),
        Method("ood", ood, "gradient", "the gradient at the noisy action itself", _QGF),
        Method(
            *("robust_q", robust_q, "gradient"),
            *("the same, of a critic that knows the noise", _QGF),
            needs="a critic of noisy actions",
        ),
        Method(
            *("agf", agf, "gradient", "the gradient of `bptt`, as a network has learnt it"),
            "Adjoint Guidance Flow (arXiv 2609.34944)",
            needs="a network of costates as the critic",
        ),
        Method(
            *("guided_action_flow", guided_action_flow, "gradient"),
            "the clipped gradient of an ensemble's mean, trusted as it agrees",
            "Guided Action Flow (arXiv 2607.02092)",
            needs="a critic with members",
        ),
        Method(
            *("qpilots", qpilots, "gradient"),
            "the gradient of `qgf_jacobian`, as long as a share of the velocity",
            "QPILOTS (arXiv 2606.14801)",
            black_box=False,
        ),
        Method(
            *("cfg", cfg, "conditioned", "away from the unconditional velocity"),
            "CFGRL (arXiv 2505.23458)",
            needs="a policy that knows good actions; no critic",
        ),
        Method(
            *("trust_region", trust_region, "around"),
            "another guidance, kept near the unguided action",
            any_policy=True,
        ),
        Method(
            *("best_of_n", best_of_n, "action", "the best of n actions"),
            "IDQL (arXiv 2304.10573)",
            any_policy=True,
        ),
        Method(
            *("beam", beam, "action", "the best of n, noised and denoised again"),
            "Flow Map Q-guidance (arXiv 2605.12416)",
        ),
        Method(
            *("noise_ascent", noise_ascent, "noise", "the noise climbs the critic"),
            "D-Flow (arXiv 2402.14017)",
            any_policy=True,
            black_box=False,
        ),
        Method(
            *("grad_step", grad_step, "action", "the finished action climbs the critic", _QGF),
            any_policy=True,
        ),
    )
}


def method_named(name: str) -> Method:
    """The method of a name.

    **Raises:**

    `ValueError` for an unknown one, which lists the nearest names first.
    """
    if name not in CATALOGUE:
        near = near_names(name, CATALOGUE)
        others = sorted(set(CATALOGUE) - set(near))
        raise ValueError(
            f"Unknown method {name!r}: expected one of {[*near, *others]}."
            f"{did_you_mean(name, CATALOGUE)}"
        )
    return CATALOGUE[name]


def register(name: str, make: Callable[..., Any], *, summary: str = "", source: str = "") -> None:
    """Gives a method of your own a name, as those of flowguide have one.

    With it `flowguide.guide(policy, critic, name)` finds the method, and so do plans and the
    command line, for as long as the process lives. An evaluation from Python needs no name: it
    takes guidances.

    ```python
    flowguide.register(
        "gaf", lambda weight=1.0: flowguide.guided_action_flow(1 / weight)
    )
    ```

    **Arguments:**

    - `name`: a Python identifier that no other method has.
    - `make`: a callable from options, such as `weight`, to a guidance.
    - `summary`, `source`: what it does, and where it is from, for tables.

    **Raises:**

    `ValueError` for a name that is taken or no identifier; `TypeError` if `make` cannot be called.
    """
    if not callable(make):
        raise TypeError(f"make must be a callable from options to a guidance, got {make!r}.")
    if not str(name).isidentifier():
        raise ValueError(f"name must be an identifier, such as 'my_method', got {name!r}.")
    known = CATALOGUE.get(name)
    if name == "unguided" or (known is not None and known.make is not make):
        raise ValueError(f"There is a method {name!r} already: choose another name.")
    if known is None:
        CATALOGUE[name] = Method(name, make, "own", summary, source)


def name_of(part: Any) -> tuple[str, dict[str, Any]]:
    """What a part is called, and those of its fields that are not as by default."""
    fields = {
        field.name: getattr(part, field.name, None)
        for field in dataclasses.fields(part)
        if not field.name.startswith("_")
    }
    if isinstance(part, GradientGuidance):
        return _gradient_name(part, fields)
    name = _names_of_classes().get(type(part), type(part).__name__)
    # `measured` is what a rule measured, and no option.
    options = {k: v for k, v in fields.items() if v is not None and k != "measured"}
    return name, options


def _gradient_name(
    guidance: GradientGuidance, fields: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    parts = {k: fields.pop(k) for k in ("estimate", "jacobian", "mean_of_members")}
    options = {k: v for k, v in fields.items() if v is not None and v is not False}
    for name, default in _gradient_defaults().items():
        if _kind(guidance) == _kind(default):
            inner = {}
            for part, usual in (
                (guidance.estimate, default.estimate),
                (guidance.jacobian, default.jacobian),
            ):
                inner |= {
                    f.name: getattr(part, f.name)
                    for f in dataclasses.fields(part)
                    if not _same(getattr(part, f.name), getattr(usual, f.name))
                }
            return name, {**options, **inner}
    return "GradientGuidance", {**{k: v for k, v in parts.items() if v is not False}, **options}


def _kind(guidance: GradientGuidance) -> tuple[Any, ...]:
    estimate = guidance.estimate
    told = "noise_conditioned", "costate", "straight_through"
    options = (getattr(estimate, each, False) for each in told)
    return type(estimate), type(guidance.jacobian), guidance.mean_of_members, *options


def _same(a: Any, b: Any) -> bool:
    from ._describe import describe

    return a is b or describe([a]) == describe([b])


@functools.cache
def _gradient_defaults() -> dict[str, GradientGuidance]:
    gradient = [m for m in CATALOGUE.values() if m.family == "gradient"]
    return {method.name: _made(method) for method in gradient}


@functools.cache
def _names_of_classes() -> dict[type, str]:
    others = [m for m in CATALOGUE.values() if m.family not in ("gradient", "own")]
    return {type(_made(method)): method.name for method in others}


def _made(method: Method) -> Any:
    """The guidance with its defaults, of arrays: also while something is traced, which is a matter
    of the thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(method.make).result()
