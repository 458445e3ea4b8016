"""What the parts of flowguide need beyond the library, and who brings it."""

import importlib.util

# The modules that show whether an extra of pyproject.toml is installed.
EXTRAS = {
    "ogbench": ("gymnasium", "matplotlib", "mujoco", "ogbench", "orbax", "PIL", "rich", "tyro"),
    "lerobot": ("lerobot", "torch", "torchax", "transformers"),
    "sweep": ("snakemake", "snakemake_executor_plugin_slurm"),
    "torch": ("torch",),
}


def check_extra(extra: str, needed_by: str) -> None:
    """Says in one line what is not installed.

    **Arguments:**

    - `extra`: one of `EXTRAS`.
    - `needed_by`: what the user asked for, such as `flowguide.evaluate`.

    **Raises:**

    `ImportError` naming what is missing and the extra that brings it.
    """
    missing = [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"{needed_by} needs {', '.join(missing)}, which the library itself does not: "
            f"pip install 'flowguide[{extra}]', or pip install '.[{extra}]' in a clone."
        )
