import functools
from importlib.metadata import PackageNotFoundError, version


@functools.cache
def versions() -> dict[str, str | None]:
    """The versions that a result depends on; None for a package that is not installed."""
    found: dict[str, str | None] = {}
    for name in ("flowguide", "jax", "equinox", "diffrax", "ogbench", "mujoco"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
