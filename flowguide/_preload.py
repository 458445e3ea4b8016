"""What the server of worker processes imports; see `_processes`. Nothing else imports this."""

from ._rollout import environments

with environments.quiet():
    import ogbench.locomaze.maze
    import ogbench.manipspace.envs.cube_env  # noqa: F401
