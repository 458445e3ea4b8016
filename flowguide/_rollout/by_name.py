"""Environments by their names, or by functions that make them."""

import dataclasses
import functools
import types
from collections.abc import Callable
from typing import Any

import gymnasium

from .._describe import describe
from .._fingerprint import fingerprint
from . import environments
from .rules import Rules


def make_environment(
    environment: str | Callable[[], gymnasium.Env],
    rules: Rules = Rules(),
    *,
    spec: Any = None,
    **kwargs: Any,
) -> gymnasium.Env:
    """An OGBench environment by its name, any other by its gymnasium name or a function.

    **Arguments:**

    - `environment`: the name or the function.
    - `rules`: of which an environment by its name gets the limit of steps, which can be longer than
        its own.
    - `spec`: what another process has registered under the name.
    - `kwargs`: go to whatever makes it.

    **Raises:**

    `ValueError` for an unknown name, or what gymnasium refuses to make; `ImportError` where it
    needs a package that is not installed.
    """
    try:
        return _made(environment, rules, spec, **kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        raise ImportError(str(error)) from error
    except gymnasium.error.Error as error:
        raise ValueError(f"{environment!r} cannot be made: {error}") from error


def _made(
    environment: str | Callable[[], gymnasium.Env], rules: Rules, spec: Any, **kwargs: Any
) -> gymnasium.Env:
    limit = rules.max_episode_steps
    if not isinstance(environment, str):
        env = environment(**kwargs)
        return env if limit is None else gymnasium.wrappers.TimeLimit(env, limit)
    if limit is not None:
        kwargs["max_episode_steps"] = limit
    if spec is not None:
        return gymnasium.make(spec, **kwargs)
    try:
        return environments.make(environment, **kwargs)
    except ValueError as error:
        try:
            with environments.quiet():
                return gymnasium.make(environment, **kwargs)
        except (gymnasium.error.UnregisteredEnv, ModuleNotFoundError) as other:
            raise ValueError(
                f"{error} Nor is it registered with gymnasium: {other} An environment of another "
                "package is named 'package:Name-v0'."
            ) from other


def spec_of(environment: str | Callable[[], gymnasium.Env]) -> Any:
    """What this process has registered under a name; None for what every process knows."""
    if not isinstance(environment, str):
        return None
    spec = gymnasium.registry.get(environment)
    packages = ("ogbench.", "gymnasium.")
    return None if spec is None or str(spec.entry_point).startswith(packages) else spec


def name_of(environment: str | Callable[[], gymnasium.Env]) -> str:
    """What results call an environment.

    Of functions that have no name of their own the arguments, or a hash of the code, are part of
    it: their episodes must not be taken for one another's. Objects may have a `__name__`.
    """
    if isinstance(environment, str):
        return environment
    is_function = isinstance(environment, (types.FunctionType, type))
    is_function |= isinstance(environment, (types.MethodType, functools.partial))
    named = None if is_function else getattr(environment, "__name__", None)
    if isinstance(named, str):
        return named
    described = describe(environment)
    if is_function or dataclasses.is_dataclass(environment):
        return described
    has_parts = bool(getattr(environment, "__dict__", None))
    return f"{described}#{fingerprint(environment)[:6]}" if has_parts else described
