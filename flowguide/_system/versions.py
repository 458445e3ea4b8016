import functools
from importlib.metadata import PackageNotFoundError, version


@functools.cache
def versions() -> dict[str, str | None]:
    """The versions that a result depends on; None for a package that is not installed."""
    installed: dict[str, str | None] = {}
    for name in ("flowguide", "jax", "equinox", "diffrax", "ogbench", "mujoco"):
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = None
    return installed
