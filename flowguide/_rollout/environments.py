"""OGBench's environments, reset so that nothing in an episode is left to chance."""

import contextlib
import ctypes
import gc
import random
import warnings
from collections.abc import Iterator
from typing import Any, TYPE_CHECKING

import numpy as np

from .._checks import is_int

# MuJoCo takes a second to import: whoever only trains or samples does not pay for it.
if TYPE_CHECKING:
    import gymnasium


OLD_GYM = (
    "expected one of gymnasium's environments. The package shimmy has adapters for those of the "
    "older gym."
)


def make(name: str, **kwargs: Any) -> "gymnasium.Env":
    """Makes the gymnasium environment of an OGBench dataset or task.

    **Arguments:**

    - `name`: of a dataset, with or without a task (`cube-single-play-v0`,
        `cube-single-play-singletask-task1-v0`), or of an environment (`cube-single-v0`).
    - `kwargs`: go to `gymnasium.make`.

    **Returns:**

    The environment. Reset it with `reset` for episodes that follow from a seed.

    **Raises:**

    `ValueError` for a name that is not OGBench's, or whose observations are pixels.
    """
    if name.startswith(("visual-", "powderworld-")):
        raise ValueError(
            f"{name!r} observes pixels. Only state-based environments are supported, such as "
            "'cube-single-play-singletask-task1-v0'."
        )
    with quiet():
        import gymnasium
        import ogbench

        env: Any
        try:
            if name in gymnasium.registry:
                env = gymnasium.make(name, **kwargs)
            else:
                env = ogbench.make_env_and_datasets(name, env_only=True, **kwargs)
        except gymnasium.error.DependencyNotInstalled:
            raise
        except gymnasium.error.Error as error:
            raise ValueError(_unknown(name)) from error
        if not _is_ogbench(env):
            raise ValueError(_unknown(name))
        # OGBench's manipulation environments build a new action space at every access, so that
        # seeding it would do nothing. Outside the environment at least, there is one.
        if isinstance(env, gymnasium.Wrapper):
            env.action_space = env.action_space
    return env


def reset(
    env: "gymnasium.Env", seed: int, options: dict[str, Any] | None = None
) -> tuple[Any, dict[str, Any]]:
    """Resets an OGBench environment so that the whole episode follows from the seed.

    The same seed and the same actions give bit-identical observations, whatever the environment
    has been through, in any process on the same machine. `env.reset(seed=seed)` does not: see the
    comments.

    This reseeds the *global* random states of NumPy, which is what OGBench reads, and of Python. In
    the teleport mazes the steps read it too: there, nothing else may draw from it or reset another
    environment in the same process during the episode.

    **Arguments:**

    - `env`: any OGBench environment, with any wrappers, or any other of gymnasium's.
    - `seed`: an integer of at least 0.
    - `options`: as in `env.reset`, such as `{"task_id": 2}`.

    **Returns:**

    `(observation, info)`, as `env.reset` gives them.

    **Raises:**

    `ValueError` if the seed is no integer of at least 0 (None would be a random one).
    """
    if not is_int(seed) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}.")
    # Four sources of randomness. Each has its own seed, or they would draw equal numbers.
    #
    # - `env.np_random` places the arm and the objects: the one that `env.reset(seed=...)` seeds.
    # - NumPy's global state: a goal-conditioned environment draws its task from it, and the mazes
    #   the noise on the start and the goal and where a teleport leads.
    # - The action space: `reset` plays a few random actions at the goal, to record it settled. They
    #   change the goal in `info`, and they outlive `reset`: `mjData` keeps the solver's warm start,
    #   the controls, the contact forces (which are observed) and the clock.
    # - Python's global state, which some environments of others use.
    seeds = np.random.SeedSequence(int(seed)).generate_state(4).tolist()
    numpy_seed, space_seed, env_seed, python_seed = seeds
    np.random.seed(numpy_seed)
    random.seed(python_seed)
    if not _is_ogbench(env):
        # Environments in C++ have signed seeds.
        env_seed %= 2**31
    with _one_action_space(env.unwrapped, space_seed):
        result: Any = env.reset(seed=env_seed, options=options)
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
        kind = f"{len(result)} things" if isinstance(result, tuple) else type(result).__name__
        raise ValueError(f"reset returned {kind}, and not (observation, info): {OLD_GYM}")
    return result


def _is_ogbench(env: "gymnasium.Env") -> bool:
    return env.spec is not None and str(env.spec.entry_point).startswith("ogbench.")


def global_state() -> Any:
    """The random states that `reset` seeds and that steps may read."""
    return np.random.get_state(), random.getstate()


def set_global_state(state: Any) -> None:
    """Puts back what `global_state` returned."""
    numpy_state, python_state = state
    np.random.set_state(numpy_state)
    random.setstate(python_state)


@contextlib.contextmanager
def global_state_kept() -> Iterator[None]:
    """Leaves the caller's random states as they were."""
    state = global_state()
    try:
        yield
    finally:
        set_global_state(state)


def give_back_memory() -> None:
    """Returns to the system what building a simulation took and no step needs.

    MuJoCo keeps the files that it parsed in case they are parsed again, and the C library what was
    freed: together more than a cube's simulation itself.
    """
    import mujoco

    gc.collect()
    parsed: Any = mujoco  # Its type stubs lack the cache.
    parsed.mj_clearCache(parsed.mj_getCache())
    # Only glibc has it.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextlib.contextmanager
def _one_action_space(env: "gymnasium.Env", seed: int) -> Iterator[None]:
    """Seeds the action space that the environment itself samples from."""
    with quiet():
        space = env.action_space
        is_attribute = env.action_space is space
    space.seed(seed)
    if is_attribute:  # The mazes.
        yield
        return
    # The manipulation environments: a property without a setter that builds a new space each time,
    # seeded by the operating system. A subclass for this one object, for as long as it resets,
    # leaves the class alone, which other environments of the process share.
    kind = type(env)
    env.__class__ = type(kind.__name__, (kind,), {"action_space": space})
    try:
        yield
    finally:
        env.__class__ = kind


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that OGBench gives on every machine without a screen, and for float64
    bounds of its own float32 action space."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="glfw")
        warnings.filterwarnings("ignore", message=".*precision lowered by casting")
        yield


def _unknown(name: str) -> str:
    return (
        f"{name!r} is no OGBench environment. Expected a dataset's or a task's name, such as "
        "'cube-single-play-v0', 'cube-single-play-singletask-task1-v0' or "
        "'pointmaze-medium-navigate-singletask-task1-v0'."
    )
