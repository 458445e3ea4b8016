"""What the server of worker processes imports, and nothing else; see `_system/processes.py`."""

from ._rollout import environments

with environments.quiet():
    import ogbench.locomaze.maze
    import ogbench.manipspace.envs.cube_env  # noqa: F401
