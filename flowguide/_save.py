import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike
from safetensors import safe_open, SafetensorError
from safetensors.numpy import save_file

from ._configuration import configuration, construct
from ._near import near_names, question
from ._policy import FlowPolicy
from ._run_folder import RunFolder
from ._system.files import replace_file
from ._system.versions import versions

MODEL_FILE = "model.safetensors"
# Of the arrays, the one that belongs to neither policy nor critic.
OBSERVATIONS = "observations"
# What the file's header has beside the arrays: safetensors keeps texts there.
HEADER = "flowguide"
FORMAT = 2
# flowguide 0.1.0 (format 1) wrote these beside the arrays.
_CONFIG_FILE = "config.json"
_OBSERVATIONS_FILE = "observations.npy"


class NoObservationsError(FileNotFoundError):
    """A policy and a critic are there, and no observations with them."""


def save(
    folder: str | os.PathLike[str],
    policy: FlowPolicy | None,
    critic: Any,
    *,
    observations: ArrayLike | None = None,
) -> None:
    """Writes a policy and a critic into one file: arrays as safetensors, no pickle.

    The file is `model.safetensors`; its header has the configuration as JSON. It appears whole or
    not at all: what an earlier `save` left is there until then.

    **Arguments:**

    - `folder`: made if missing.
    - `policy`: a `FlowPolicy` of flowguide's networks. Guidance is not saved: it is a line of code.
    - `critic`: a critic of flowguide's networks, an `Ensemble` of them, such an ensemble in a
        `NoiseConditionedCritic` or an `EncodedCritic` with a `flowguide.nn.Standardise`, or a
        `Costate`; None if there is none.
    - `observations`: some observations of the data, shape `(count, *observation)`, from which
        `flowguide.weight_unit` can be measured; a training run leaves 256.

    **Raises:**

    `ValueError` for a class, solver or reduction outside the closed list, named with the list, and
    for arrays that do not fit the configuration of their network.
    """
    model = {"policy": policy, "critic": critic}
    described = {name: configuration(part, name) for name, part in model.items()}
    arrays = {name: np.asarray(array) for name, array in named_arrays(model)}
    skeleton = {name: construct(described[name], name) for name in model}
    _check_arrays(dict(named_arrays(skeleton)), arrays, "What is to be saved")
    if observations is not None:
        arrays[OBSERVATIONS] = np.asarray(observations)
        if arrays[OBSERVATIONS].dtype == object:
            raise ValueError(
                "observations must be one array, with a row for each observation, got "
                f"{type(observations).__name__}: those in parts cannot be saved with a policy."
            )
    header = {
        "format": FORMAT,
        "sha256": hash_of(dict(sorted(arrays.items()))),
        "versions": versions(),
        **described,
    }
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    texts = {HEADER: json.dumps(header)}
    try:
        replace_file(folder / MODEL_FILE, lambda path: save_file(contiguous, path, texts))
    except SafetensorError as error:
        raise OSError(f"{folder / MODEL_FILE} could not be written: {error}") from error
    # Files of these names can be somebody else's.
    if _is_first_version(folder / _CONFIG_FILE):
        for name in (_CONFIG_FILE, _OBSERVATIONS_FILE):
            (folder / name).unlink(missing_ok=True)


def load(folder: str | os.PathLike[str], *, seed: int | None = None) -> tuple[Any, Any]:
    """Reads what `flowguide.save` or a training run wrote.

    **Arguments:**

    - `folder`: a folder that `flowguide.save` or `flowguide train` wrote.
    - `seed`: which of a run's training seeds; may be left out if there is one.

    **Returns:**

    `(policy, critic)`; None for what was saved as None.

    **Raises:**

    `FileNotFoundError` if the folder holds no saved model; `ValueError` for what is damaged, of
    another shape or of an unknown class, or a run of several seeds. The message names it. Warns
    where 64-bit numbers become 32-bit ones, since JAX's `jax_enable_x64` is off.
    """
    file, header, arrays = _read(RunFolder(Path(folder).expanduser()).the_one(seed))
    try:
        skeleton = {name: construct(header[name], name) for name in ("policy", "critic")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"The configuration of {file} cannot be read: {error}") from error
    arrays.pop(OBSERVATIONS, None)
    expected = dict(named_arrays(skeleton))
    _check_arrays(expected, arrays, str(file))
    wide = sorted(n for n, x in arrays.items() if jax.dtypes.canonicalize_dtype(x.dtype) != x.dtype)
    if wide:
        warnings.warn(
            f"{len(wide)} arrays of {file}, such as {wide[0]!r}, have 64-bit numbers, and are "
            "loaded with 32 bits: jax_enable_x64 is off.",
            stacklevel=2,
        )
    leaves, structure = jax.tree.flatten(skeleton)
    names = iter(expected)
    filled = [jnp.asarray(arrays[next(names)]) if is_array(x) else x for x in leaves]
    model = jax.tree.unflatten(structure, filled)
    return model["policy"], model["critic"]


def load_observations(folder: str | os.PathLike[str], *, seed: int | None = None) -> np.ndarray:
    """The observations that were saved with a policy and a critic.

    **Arguments:**

    - `folder`, `seed`: as in `flowguide.load`.

    **Returns:**

    An array `(count, *observation)`.

    **Raises:**

    `FileNotFoundError` if none were saved, or no policy and critic; `ValueError` for a file that is
    damaged.
    """
    file, _, arrays = _read(RunFolder(Path(folder).expanduser()).the_one(seed))
    if OBSERVATIONS not in arrays:
        raise NoObservationsError(
            f"{file} holds no observations: flowguide.save(folder, policy, critic, "
            "observations=...) writes them."
        )
    return arrays[OBSERVATIONS]


def _read(folder: Path) -> tuple[Path, dict[str, Any], dict[str, np.ndarray]]:
    """The file of a folder, its configuration and its arrays, as they were written."""
    file = folder / MODEL_FILE
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no saved policy and critic: {_reason(folder)}")
    try:
        with safe_open(file, "numpy") as opened:
            texts = opened.metadata() or {}
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    old = folder / _CONFIG_FILE
    if HEADER not in texts and not old.is_file():
        raise ValueError(
            f"{file} was not written by flowguide: its header has no {HEADER!r}. Expected what "
            "flowguide.save(folder, policy, critic) writes."
        )
    try:
        header = json.loads(texts[HEADER] if HEADER in texts else old.read_text())
        if header["format"] != (FORMAT if HEADER in texts else 1):
            raise ValueError(f"format is {header['format']!r}, this flowguide reads {FORMAT}")
        digest = header["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        where = file if HEADER in texts else old
        raise ValueError(f"The configuration of {where} cannot be read: {error}") from error
    if digest != (
        hash_of(dict(sorted(arrays.items()))) if HEADER in texts else _hash_of_file(file)
    ):
        raise ValueError(
            f"{file} is damaged, or belongs to another save: its SHA-256 differs from the one in "
            "its configuration."
        )
    if HEADER not in texts:
        arrays |= _old_observations(folder / _OBSERVATIONS_FILE)
    return file, header, arrays


def _reason(folder: Path) -> str:
    """Why a folder holds none, and which one may have been meant."""
    if folder.is_file():
        return "it is a file. Expected the folder that flowguide.save or flowguide train wrote."
    if not folder.is_dir():
        beside = [each.name for each in folder.parent.glob("*/")]
        near = [str(folder.with_name(name)) for name in near_names(folder.name, beside)]
        return f"there is no such folder.{question(near)}"
    inside = [
        str(each)
        for each in sorted(folder.glob("*/"))
        if (each / MODEL_FILE).is_file() or RunFolder(each).finished_file.is_file()
    ]
    if inside:
        return f"{MODEL_FILE} is missing.{question(inside[:3])}"
    if RunFolder(folder).settings_file.is_file():
        return "its training is not finished. The same flowguide train goes on with it."
    return (
        f"{MODEL_FILE} is missing. flowguide.save(folder, policy, critic) writes it, and flowguide "
        "train when it is done."
    )


def _is_first_version(config: Path) -> bool:
    try:
        contents = json.loads(config.read_text())
    except (OSError, ValueError):
        return False
    return (
        isinstance(contents, dict)
        and contents.get("format") == 1
        and {"sha256", "policy"} <= {*contents}
    )


def _old_observations(file: Path) -> dict[str, np.ndarray]:
    if not file.is_file():
        return {}
    try:
        return {OBSERVATIONS: np.load(file, allow_pickle=False)}
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file} is damaged: {error}") from error


def _check_arrays(expected: Mapping[str, Any], arrays: Mapping[str, Any], where: str) -> None:
    """Refuses arrays that do not fit a configuration. Their types are their own: a network has
    bfloat16 weights because somebody cast them."""
    for problem, names in (
        ("lacks", sorted(set(expected) - set(arrays))),
        ("holds unexpected", sorted(set(arrays) - set(expected))),
    ):
        if names:
            raise ValueError(
                f"{where} {problem} {names[0]!r} ({len(names)} such arrays), by the configuration "
                "of its networks."
            )
    for name, wanted in expected.items():
        array = arrays[name]
        kind = jnp.floating if jnp.issubdtype(wanted.dtype, jnp.floating) else jnp.integer
        if array.shape != wanted.shape or not jnp.issubdtype(array.dtype, kind):
            raise ValueError(
                f"{where}: {name!r} is {array.dtype}{array.shape}, but the configuration says "
                f"{wanted.dtype}{wanted.shape}."
            )


def is_array(leaf: Any) -> bool:
    """Whether a leaf holds numbers that are saved: those of NumPy too, which pickled or converted
    networks have."""
    return isinstance(leaf, (jax.Array, np.ndarray, jax.ShapeDtypeStruct))


def named_arrays(tree: Any) -> list[tuple[str, Any]]:
    """The arrays of a tree with their paths, in the order of its leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(_path_name(path), leaf) for path, leaf in leaves if is_array(leaf)]


def _path_name(path: Any) -> str:
    # The critics of an ensemble are its members in files, as they were when files began.
    name = jax.tree_util.keystr(path, simple=True, separator=".")
    return ".".join("members" if part == "critics" else part for part in name.split("."))


def hash_of(arrays: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of arrays with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
    return digest.hexdigest()


def _hash_of_file(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
