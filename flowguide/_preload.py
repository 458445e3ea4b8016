"""What the server of worker processes imports; see `_processes`. Nothing else imports this."""

from . import _environments

with _environments.quiet():
    import ogbench.locomaze.maze
    import ogbench.manipspace.envs.cube_env  # noqa: F401

from .data import _generate  # noqa: E402, F401
from .evaluate import _player  # noqa: E402, F401
