from ._settings import Settings

PRESETS: dict[str, dict[str, object]] = {
    "default": {},
    # arXiv 2606.11087's networks, batches and length of training; the times are its code's grid.
    "paper": {
        "hidden": (1024, 1024, 1024, 1024),
        "batch_size": 1024,
        "discount": 0.999,
        "horizon": 5,
        "steps": 500_000,
        "times": "grid",
        "checkpoint_every": 50_000,
    },
    # Settles in minutes on two cores: what `flowguide demo` trains.
    "small": {
        "hidden": (256, 256, 256),
        "discount": 0.98,
        "steps": 16_000,
        "checkpoint_every": 4_000,
    },
}
"""What the presets `default`, `paper` and `small` change of the defaults of `Settings`, by name."""


def preset(name: str, task: str) -> Settings:
    """The settings of a preset.

    **Arguments:**

    - `name`: `"default"`, `"paper"` (arXiv 2606.11087's) or `"small"` (for two cores).
    - `task`: an OGBench name.

    **Raises:**

    `ValueError` for an unknown name.
    """
    if name not in PRESETS:
        raise ValueError(f"Unknown preset {name!r}: expected one of {sorted(PRESETS)}.")
    return Settings(task, **PRESETS[name])  # pyright: ignore[reportArgumentType]
