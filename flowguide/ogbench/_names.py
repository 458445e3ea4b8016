"""OGBench's names of datasets and tasks."""

import difflib

from .._rollout import environments

# What the datasets of an environment are called, by the package that the environment is from.
_KINDS = {
    "ogbench.locomaze": ("navigate", "stitch", "explore"),
    "ogbench.manipspace": ("play", "noisy"),
}


def dataset_name(name: str) -> str:
    """The name of the dataset behind a task.

    **Arguments:**

    - `name`: an OGBench name. `cube-single-play-singletask-task1-v0` and
        `cube-single-play-oraclerep-v0` have the dataset `cube-single-play-v0`.
    """
    parts = name.split("-")
    for word in ("singletask", "oraclerep"):
        if word in parts:
            return "-".join([*parts[: parts.index(word)], parts[-1]])
    return name


def is_goal_conditioned(name: str) -> bool:
    """Whether an OGBench `name` is of goals to be reached, not of a single task with rewards."""
    return "singletask" not in name.split("-")


def check_name(name: str) -> None:
    """Refuses what is no state-based dataset or task of OGBench.

    **Arguments:**

    - `name`: of a dataset or task.

    **Raises:**

    `ValueError` naming those that are nearest.
    """
    if name.startswith(("visual-", "powderworld-")):
        raise ValueError(
            f"{name!r} observes pixels. Only state-based datasets are supported, such as "
            "'cube-single-play-singletask-task1-v0'."
        )
    names = all_names()
    if name not in names:
        close = difflib.get_close_matches(name, names) or [
            "cube-single-play-v0",
            "cube-single-play-singletask-task1-v0",
        ]
        raise ValueError(
            f"{name!r} is no OGBench dataset or task. Did you mean one of "
            f"{', '.join(map(repr, close))}?"
        )


def all_names() -> list[str]:
    """All names of state-based datasets, tasks and oracle representations."""
    with environments.quiet():
        import gymnasium
        import ogbench  # noqa: F401

    names = []
    for env_name, spec in gymnasium.registry.items():
        package = ".".join(str(spec.entry_point).split(".")[:2])
        if env_name.startswith("visual-") or package not in _KINDS:
            continue
        environment, task, rest = env_name.partition("-singletask")
        for kind in _KINDS[package]:
            if task:
                names.append(f"{environment}-{kind}{task}{rest}")
            else:
                size, _, version = environment.rpartition("-")
                names += [f"{size}-{kind}-{version}", f"{size}-{kind}-oraclerep-{version}"]
    return names
