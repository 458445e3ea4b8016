"""The configuration of a policy or a critic: what JSON holds, and what is built from it again."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.random as jr
import numpy as np

from ._checks import is_int
from ._critic import Costate, EncodedCritic, Ensemble, NoiseConditionedCritic, Pessimism
from ._policy import FlowPolicy
from ._velocity import ClassifierFreeVelocity, ReversedVelocity
from .nn import CriticMLP, NoiseActor, Standardise, ValueMLP, VelocityMLP

# The closed list: a file names one of these, and nothing else is ever constructed.
_NETWORKS: dict[str, tuple[type, tuple[str, ...]]] = {
    "VelocityMLP": (
        VelocityMLP,
        ("observation_size", "action_shape", "hidden", "num_labels", "compute_dtype"),
    ),
    "CriticMLP": (
        CriticMLP,
        ("observation_size", "action_shape", "hidden", "noisy", "compute_dtype"),
    ),
    "ValueMLP": (ValueMLP, ("observation_size", "hidden", "compute_dtype")),
    "NoiseActor": (
        NoiseActor,
        ("observation_size", "noise_shape", "hidden", "scale", "compute_dtype"),
    ),
}
_SOLVERS: dict[str, type] = {
    name: getattr(diffrax, name)
    for name in ("Euler", "Heun", "Midpoint", "Ralston", "Bosh3", "Tsit5", "Dopri5", "Dopri8")
}


def configuration(part: Any, where: str) -> dict[str, Any]:
    kind = type(part).__name__
    if type(part) is FlowPolicy:
        for name, given in (
            ("guidance", part.guidance),
            ("encode", part.encode),
            ("observe", part.observe),
        ):
            if given:
                raise ValueError(
                    f"{where} has {name}, which is not saved: it is a line of code. Save the "
                    "policy without it (policy.unguided), and add it to what flowguide.load "
                    "returns."
                )
        # Only where there is one: what older versions of flowguide can read stays as it was.
        steered = {"steer": configuration(part.steer, f"{where}.steer")} if part.steer else {}
        return {
            "class": kind,
            "velocity": configuration(part.velocity, f"{where}.velocity"),
            "action_shape": list(part.action_shape),
            "solver": _name_of(part.solver, _SOLVERS, f"{where}.solver"),
            "num_steps": part.num_steps,
            "low": np.asarray(part.low).tolist(),
            "high": np.asarray(part.high).tolist(),
            "stepsize_controller": _describe_controller(part.stepsize_controller, where),
            "max_steps": part.max_steps,
            **steered,
        }
    if type(part) is ReversedVelocity:
        return {"class": kind, "velocity": configuration(part.velocity, f"{where}.velocity")}
    if type(part) is ClassifierFreeVelocity:
        return {
            "class": kind,
            "velocity": configuration(part.velocity, f"{where}.velocity"),
            "condition": _as_label(part.condition, f"{where}.condition"),
            "null": _as_label(part.null, f"{where}.null"),
        }
    if type(part) is NoiseConditionedCritic:
        return {"class": kind, "critic": configuration(part.critic, f"{where}.critic")}
    if type(part) is Costate:
        return {"class": kind, "network": configuration(part.network, f"{where}.network")}
    if type(part) is EncodedCritic:
        return {
            "class": kind,
            "critic": configuration(part.critic, f"{where}.critic"),
            "encode": configuration(part.encode, f"{where}.encode"),
        }
    if type(part) is Standardise:
        return {"class": kind, "shapes": _describe_shapes(part.mean, where)}
    if part is None:
        return {"class": kind}
    if type(part) is Ensemble:
        reduction = _describe_reduction(part.reduction, where)
        described: dict[str, Any] = {"class": kind, "reduction": reduction}
        if isinstance(part.critics, tuple):
            described["members"] = [
                configuration(member, f"{where}.members.{i}")
                for i, member in enumerate(part.critics)
            ]
        else:
            described["stacked"] = configuration(part.critics, f"{where}.members")
            described["num_members"] = len(jax.tree.leaves(part.critics)[0])
        return described
    if kind in _NETWORKS and type(part) is _NETWORKS[kind][0]:
        return {"class": kind, **{name: getattr(part, name) for name in _NETWORKS[kind][1]}}
    parts = (
        *(FlowPolicy, ReversedVelocity, ClassifierFreeVelocity),
        *(Costate, EncodedCritic, Ensemble, NoiseConditionedCritic, Standardise),
    )
    known = sorted([*_NETWORKS, *(each.__name__ for each in parts)])
    raise ValueError(
        f"{where} is a {kind}, which cannot be saved: expected one of {known}. Of a guided policy, "
        "save the policy that flowguide.guide was given."
    )


def _as_label(label: Any, where: str) -> int:
    if not is_int(label):
        raise ValueError(f"{where} cannot be saved: expected a label, an integer, got {label!r}.")
    return int(label)


def _describe_shapes(tree: Any, where: str) -> Any:
    """The shapes of arrays in dictionaries, as JSON has them."""
    if isinstance(tree, dict) and all(isinstance(name, str) for name in tree):
        return {name: _describe_shapes(each, where) for name, each in tree.items()}
    if isinstance(tree, dict) or not eqx.is_array_like(tree):
        raise ValueError(
            f"{where} cannot be saved: expected observations that are arrays, or dictionaries of "
            f"them by names, got {type(tree).__name__}."
        )
    return list(tree.shape)


def _construct_shapes(shapes: Any) -> Any:
    """Observations of such shapes, one row of each."""
    if isinstance(shapes, dict):
        return {name: _construct_shapes(each) for name, each in shapes.items()}
    return np.zeros((1, *shapes), np.float32)


def _describe_reduction(reduction: Any, where: str) -> Any:
    if isinstance(reduction, str):
        return reduction
    if type(reduction) is Pessimism:
        return {"class": "Pessimism", "rho": float(reduction.rho)}
    raise ValueError(
        f"{where}.reduction is a callable, which cannot be saved: expected 'min', 'mean' or "
        "flowguide.Pessimism(rho)."
    )


def _construct_reduction(description: Any, where: str) -> Any:
    if isinstance(description, str):
        return description
    known = {"Pessimism": Pessimism}
    return _one_of(description["class"], known, f"{where}.reduction")(float(description["rho"]))


def _describe_controller(controller: Any, where: str) -> dict[str, Any]:
    if type(controller) is diffrax.ConstantStepSize:
        return {"class": "ConstantStepSize"}
    if type(controller) is diffrax.PIDController:
        rtol, atol = float(controller.rtol), float(controller.atol)
        described = {"class": "PIDController", "rtol": rtol, "atol": atol}
        if _construct_controller(described) == controller:
            return described
    raise ValueError(
        f"{where}.stepsize_controller {controller!r} cannot be saved: expected "
        "ConstantStepSize() or PIDController(rtol=..., atol=...)."
    )


def construct(description: Any, where: str) -> Any:
    """The described part with shapes in place of arrays."""
    kind = description.get("class") if isinstance(description, dict) else None
    if kind == "FlowPolicy":
        return FlowPolicy(
            construct(description["velocity"], f"{where}.velocity"),
            description["action_shape"],
            solver=_one_of(description["solver"], _SOLVERS, f"{where}.solver")(),
            num_steps=description["num_steps"],
            low=np.asarray(description["low"]),
            high=np.asarray(description["high"]),
            stepsize_controller=_construct_controller(description["stepsize_controller"]),
            max_steps=_max_steps(description),
            steer=construct(description.get("steer", {"class": "NoneType"}), f"{where}.steer"),
        )
    if kind == "ReversedVelocity":
        return ReversedVelocity(construct(description["velocity"], f"{where}.velocity"))
    if kind == "ClassifierFreeVelocity":
        velocity = construct(description["velocity"], f"{where}.velocity")
        return ClassifierFreeVelocity(velocity, description["condition"], description["null"])
    if kind == "Ensemble" and "members" in description:
        members = enumerate(description["members"])
        members = [construct(member, f"{where}.members.{i}") for i, member in members]
        return Ensemble(members, _construct_reduction(description["reduction"], where))
    if kind == "Ensemble":
        member = construct(description["stacked"], f"{where}.members")
        count = description["num_members"]

        def stack(leaf):
            return jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype)

        reduction = _construct_reduction(description["reduction"], where)
        return Ensemble(jax.tree.map(stack, member), reduction)
    if kind == "NoiseConditionedCritic":
        return NoiseConditionedCritic(construct(description["critic"], f"{where}.critic"))
    if kind == "Costate":
        return Costate(construct(description["network"], f"{where}.network"))
    if kind == "EncodedCritic":
        return EncodedCritic(
            construct(description["critic"], f"{where}.critic"),
            construct(description["encode"], f"{where}.encode"),
        )
    if kind == "Standardise":
        return jax.eval_shape(lambda: Standardise(_construct_shapes(description["shapes"])))
    if kind == "NoneType":
        return None
    network, arguments = _one_of(kind, _NETWORKS, where)
    # What an older flowguide did not write has its default.
    chosen = {name: description[name] for name in arguments if name in description}
    return eqx.filter_eval_shape(lambda: network(**chosen, key=jr.key(0)))


def _max_steps(description: dict[str, Any]) -> int | None:
    """flowguide 0.1.0 wrote the number of equal steps where nobody had given a maximum."""
    max_steps, is_constant = (
        description["max_steps"],
        description["stepsize_controller"]["class"] == "ConstantStepSize",
    )
    return None if is_constant and max_steps == description["num_steps"] else max_steps


def _construct_controller(description: dict[str, Any]) -> diffrax.AbstractStepSizeController:
    if description["class"] == "ConstantStepSize":
        return diffrax.ConstantStepSize()
    if description["class"] == "PIDController":
        return diffrax.PIDController(rtol=description["rtol"], atol=description["atol"])
    raise ValueError(f"stepsize_controller is of the unknown class {description['class']!r}")


def _name_of(part: Any, known: dict[str, type], where: str) -> str:
    name = type(part).__name__
    if known.get(name) is not type(part) or part != known[name]():
        raise ValueError(f"{where} {part!r} cannot be saved: expected one of {sorted(known)}.")
    return name


def _one_of(name: Any, known: dict[str, Any], where: str) -> Any:
    if name not in known:
        raise ValueError(f"{where} is of the unknown class {name!r}: expected {sorted(known)}")
    return known[name]
