import hashlib
import json
import os
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from jaxtyping import ArrayLike
from safetensors import SafetensorError
from safetensors.flax import load_file, save_file

from ._checks import is_int
from ._classifier_free import ClassifierFreeVelocity
from ._critic import Ensemble, NoiseConditionedCritic, Pessimism
from ._files import replace_file
from ._policy import FlowPolicy
from ._velocity import ReversedVelocity
from ._versions import versions
from .nn import CriticMLP, ValueMLP, VelocityMLP

CONFIG_FILE = "config.json"
ARRAYS_FILE = "model.safetensors"
OBSERVATIONS_FILE = "observations.npy"
# A training run writes it last.
FINISHED_FILE = "finished.json"
FORMAT = 1

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
}
_SOLVERS: dict[str, type] = {
    name: getattr(diffrax, name)
    for name in ("Euler", "Heun", "Midpoint", "Ralston", "Bosh3", "Tsit5", "Dopri5", "Dopri8")
}


def save(
    folder: str | os.PathLike[str],
    policy: FlowPolicy | None,
    critic: Any,
    *,
    observations: ArrayLike | None = None,
) -> None:
    """Writes a policy and a critic: arrays as safetensors, the configuration as JSON, no pickle.

    **Arguments:**

    - `folder`: made if missing; what an earlier `save` left there is replaced.
    - `policy`: a `FlowPolicy` of flowguide's networks. Guidance is not saved: it is a line of code.
    - `critic`: a critic of flowguide's networks, an `Ensemble` of them, or such an ensemble in a
        `NoiseConditionedCritic`; None if there is none.
    - `observations`: some observations of the data, shape `(count, *observation)`, from which
        `flowguide.weight_unit` can be measured; a training run leaves 256.

    **Raises:**

    `ValueError` for a class, solver or reduction outside the closed list, named with the list.
    """
    model = {"policy": policy, "critic": critic}
    description = {name: _describe(part, name) for name, part in model.items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays_file, config_file = folder / ARRAYS_FILE, folder / CONFIG_FILE
    arrays = {name: array for name, array in named_arrays(model)}
    replace_file(arrays_file, lambda path: save_file(arrays, path))
    (folder / OBSERVATIONS_FILE).unlink(missing_ok=True)
    if observations is not None:
        _write_observations(folder / OBSERVATIONS_FILE, np.asarray(observations))
    # Written last, with the hash of the arrays: a save that was cut short does not look finished.
    config = {
        "format": FORMAT,
        "sha256": _hash(arrays_file),
        "versions": versions(),
        **description,
    }
    replace_file(config_file, lambda path: path.write_text(json.dumps(config, indent=2) + "\n"))


def load(folder: str | os.PathLike[str], *, seed: int | None = None) -> tuple[Any, Any]:
    """Reads what `flowguide.save` or a training run wrote.

    **Arguments:**

    - `folder`: a folder that `flowguide.save` or `flowguide train` wrote.
    - `seed`: which of a run's training seeds; may be left out if there is one.

    **Returns:**

    `(policy, critic)`; None for what was saved as None.

    **Raises:**

    `FileNotFoundError` if the folder holds no saved model; `ValueError` for what is damaged, of
    another shape or of an unknown class, or a run of several seeds. The message names it.
    """
    folder = _of_seed(Path(folder), seed)
    config_file, arrays_file = Path(folder) / CONFIG_FILE, Path(folder) / ARRAYS_FILE
    for file in (config_file, arrays_file):
        if not file.is_file():
            raise FileNotFoundError(
                f"{folder} holds no saved policy and critic: {file.name} is missing. "
                "flowguide.save(folder, policy, critic) writes it, and flowguide train when it is "
                "done."
            )
    try:
        config = json.loads(config_file.read_text())
        if config["format"] != FORMAT:
            raise ValueError(f"format is {config['format']!r}, this flowguide reads {FORMAT}")
        skeleton = {name: _construct(config[name], name) for name in ("policy", "critic")}
        digest = config["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{config_file} cannot be read: {error}") from error
    if _hash(arrays_file) != digest:
        raise ValueError(
            f"{arrays_file} is damaged, or belongs to another save: its SHA-256 differs from the "
            f"one in {CONFIG_FILE}."
        )
    try:
        arrays = load_file(arrays_file)
    except SafetensorError as error:
        raise ValueError(f"{arrays_file} is damaged: {error}") from error
    model = _fill(skeleton, arrays, arrays_file)
    return model["policy"], model["critic"]


def _write_observations(file: Path, observations: np.ndarray) -> None:
    def write(path: Path) -> None:
        # Through a handle: given a name, numpy would append its own ending.
        with path.open("wb") as handle:
            np.save(handle, observations, allow_pickle=False)

    replace_file(file, write)


def load_observations(folder: str | os.PathLike[str], *, seed: int | None = None) -> np.ndarray:
    """The observations that were saved with a policy and a critic.

    **Arguments:**

    - `folder`, `seed`: as in `flowguide.load`.

    **Returns:**

    An array `(count, *observation)`.

    **Raises:**

    `FileNotFoundError` if none were saved; `ValueError` for a file that is damaged.
    """
    file = _of_seed(Path(folder), seed) / OBSERVATIONS_FILE
    if not file.is_file():
        raise FileNotFoundError(
            f"{file.parent} holds no observations: {file.name} is missing. "
            "flowguide.save(folder, policy, critic, observations=...) writes it."
        )
    try:
        return np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file} is damaged: {error}") from error


def seed_folder(run: Path, seed: int) -> Path:
    """Where a training run leaves the policy and the critic of a seed."""
    return run / f"seed_{seed}"


def seeds_of(run: Path) -> list[int]:
    """The training seeds that a finished run holds."""
    file = run / FINISHED_FILE
    return json.loads(file.read_text())["seeds"] if file.is_file() else []


def _of_seed(folder: Path, seed: int | None) -> Path:
    seeds = seeds_of(folder)
    if not seeds and seed is None:
        return folder
    if seed is None and len(seeds) > 1:
        raise ValueError(
            f"{folder} holds the training seeds {seeds}: name one, load(folder, seed=...)."
        )
    if seed is not None and seed not in seeds:
        raise ValueError(f"{folder} holds the training seeds {seeds}, not {seed}.")
    return seed_folder(folder, seeds[0] if seed is None else seed)


def _describe(part: Any, where: str) -> dict[str, Any]:
    kind = type(part).__name__
    if type(part) is FlowPolicy:
        for name, given in (("guidance", part.guidance), ("encode", part.encode)):
            if given:
                raise ValueError(
                    f"{where} has {name}, which is not saved: it is a line of code. Save the "
                    "policy without it (policy.unguided), and add it to what flowguide.load "
                    "returns."
                )
        return {
            "class": kind,
            "velocity": _describe(part.velocity, f"{where}.velocity"),
            "action_shape": list(part.action_shape),
            "solver": _name_of(part.solver, _SOLVERS, f"{where}.solver"),
            "num_steps": part.num_steps,
            "low": np.asarray(part.low).tolist(),
            "high": np.asarray(part.high).tolist(),
            "stepsize_controller": _describe_controller(part.stepsize_controller, where),
            "max_steps": part.max_steps,
        }
    if type(part) is ReversedVelocity:
        return {"class": kind, "velocity": _describe(part.velocity, f"{where}.velocity")}
    if type(part) is ClassifierFreeVelocity:
        return {
            "class": kind,
            "velocity": _describe(part.velocity, f"{where}.velocity"),
            "condition": _as_label(part.condition, f"{where}.condition"),
            "null": _as_label(part.null, f"{where}.null"),
        }
    if type(part) is NoiseConditionedCritic:
        return {"class": kind, "critic": _describe(part.critic, f"{where}.critic")}
    if part is None:
        return {"class": kind}
    if type(part) is Ensemble:
        reduction = _describe_reduction(part.reduction, where)
        described: dict[str, Any] = {"class": kind, "reduction": reduction}
        if isinstance(part.critics, tuple):
            described["members"] = [
                _describe(member, f"{where}.members.{i}") for i, member in enumerate(part.critics)
            ]
        else:
            described["stacked"] = _describe(part.critics, f"{where}.members")
            described["num_members"] = len(jax.tree.leaves(part.critics)[0])
        return described
    if kind in _NETWORKS and type(part) is _NETWORKS[kind][0]:
        return {"class": kind, **{name: getattr(part, name) for name in _NETWORKS[kind][1]}}
    parts = (
        *(FlowPolicy, ReversedVelocity, ClassifierFreeVelocity),
        *(Ensemble, NoiseConditionedCritic),
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


def _describe_reduction(reduction: Any, where: str) -> Any:
    if isinstance(reduction, str):
        return reduction
    if type(reduction) is Pessimism:
        return {"class": "Pessimism", "rho": reduction.rho}
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


def _construct(description: Any, where: str) -> Any:
    """The described part with shapes in place of arrays."""
    kind = description.get("class") if isinstance(description, dict) else None
    if kind == "FlowPolicy":
        return FlowPolicy(
            _construct(description["velocity"], f"{where}.velocity"),
            description["action_shape"],
            solver=_one_of(description["solver"], _SOLVERS, f"{where}.solver")(),
            num_steps=description["num_steps"],
            low=np.asarray(description["low"]),
            high=np.asarray(description["high"]),
            stepsize_controller=_construct_controller(description["stepsize_controller"]),
            max_steps=_max_steps(description),
        )
    if kind == "ReversedVelocity":
        return ReversedVelocity(_construct(description["velocity"], f"{where}.velocity"))
    if kind == "ClassifierFreeVelocity":
        velocity = _construct(description["velocity"], f"{where}.velocity")
        return ClassifierFreeVelocity(velocity, description["condition"], description["null"])
    if kind == "Ensemble" and "members" in description:
        members = enumerate(description["members"])
        members = [_construct(member, f"{where}.members.{i}") for i, member in members]
        return Ensemble(members, _construct_reduction(description["reduction"], where))
    if kind == "Ensemble":
        member = _construct(description["stacked"], f"{where}.members")
        count = description["num_members"]

        def stack(leaf):
            return jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype)

        reduction = _construct_reduction(description["reduction"], where)
        return Ensemble(jax.tree.map(stack, member), reduction)
    if kind == "NoiseConditionedCritic":
        return NoiseConditionedCritic(_construct(description["critic"], f"{where}.critic"))
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


def _fill(skeleton: Any, arrays: dict[str, jax.Array], file: Path) -> Any:
    expected = dict(named_arrays(skeleton))
    for problem, names in (
        ("lacks", sorted(set(expected) - set(arrays))),
        ("holds unexpected", sorted(set(arrays) - set(expected))),
    ):
        if names:
            raise ValueError(f"{file} {problem} {names[0]!r} ({len(names)} such arrays).")
    for name, leaf in expected.items():
        found = arrays[name]
        if (found.shape, found.dtype) != (leaf.shape, leaf.dtype):
            raise ValueError(
                f"{name!r} in {file} is {found.dtype}{found.shape}, but the configuration says "
                f"{leaf.dtype}{leaf.shape}."
            )
    leaves, treedef = jax.tree.flatten(skeleton)
    names = iter(expected)
    filled = [arrays[next(names)] if _is_array(leaf) else leaf for leaf in leaves]
    return jax.tree.unflatten(treedef, filled)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct))


def named_arrays(tree: Any) -> list[tuple[str, Any]]:
    """The arrays of a tree with their paths, in the order of its leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(_path_name(path), leaf) for path, leaf in leaves if _is_array(leaf)]


def _path_name(path: Any) -> str:
    # The critics of an ensemble are its members in files, as they were when files began.
    name = jax.tree_util.keystr(path, simple=True, separator=".")
    return ".".join("members" if part == "critics" else part for part in name.split("."))


def _name_of(part: Any, known: dict[str, type], where: str) -> str:
    name = type(part).__name__
    if known.get(name) is not type(part) or part != known[name]():
        raise ValueError(f"{where} {part!r} cannot be saved: expected one of {sorted(known)}.")
    return name


def _one_of(name: Any, known: dict[str, Any], where: str) -> Any:
    if name not in known:
        raise ValueError(f"{where} is of the unknown class {name!r}: expected {sorted(known)}")
    return known[name]


def _hash(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
