"""What guidance gains on MetaWorld, of the episodes that `examples.lerobot.reproduce` left.

python -m examples.lerobot.draw --runs runs/lerobot --out docs/images
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from flowguide.plot import add_title, finish_axes, new_panels, save_picture
from flowguide.results import compare, Comparison, read_episodes

SEEN = {
    "state": "critics see the state",
    "features": "critics see features",
    "state-at-chunks": "critics see the state, at chunks",
    "features-at-chunks": "critics see features, at chunks",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where the episodes are, and where the picture goes."""

    runs: Path = Path("runs/lerobot")
    """What `--out` was."""

    out: Path = Path("docs/images")
    """The folder of the picture, metaworld.svg and metaworld-dark.svg."""


def rows_of(folder: Path) -> list[Comparison]:
    """The arms of a task against the unguided policy, which plays for every critic."""
    episodes, unguided = (read_episodes(folder / name) for name in ("test.jsonl", "unguided.jsonl"))
    for seed in sorted({each.train_seed for each in episodes}):
        episodes += [dataclasses.replace(each, train_seed=seed) for each in unguided]
    return compare(episodes)


def draw(panels: dict[str, list[Comparison]]) -> Any:
    """A matplotlib figure: a panel for each task and kind of critic, a row for each arm."""
    figure, all_axes = new_panels(len(panels), columns=1, height=1.9, sharex=True)
    for axes, (title, rows) in zip(all_axes, panels.items(), strict=True):
        arms = [row for row in rows if row.difference is not None]
        for y, row in enumerate(arms):
            d: Any = row.difference
            color = "#D55E00" if row.condition.label.startswith("best of") else "#0072B2"
            ends = np.array([[d.value - d.low], [d.high - d.value]])
            axes.errorbar(d.value, y, xerr=ends, fmt="o", markersize=4, capsize=2, color=color)
        axes.axvline(0, color="0.5", linewidth=1, linestyle="--")
        axes.set_yticks(range(len(arms)), [row.condition.label for row in arms])
        axes.invert_yaxis()
        alone = next(row.success for row in rows if row.difference is None)
        assert alone is not None
        axes.set_title(f"{title}; unguided {alone.rate:.2f}", fontsize=9, loc="left")
        finish_axes(axes, is_rate=False)
    all_axes[-1].set_xlabel("success above unguided")
    several = {row.episodes for rows in panels.values() for row in rows}
    add_title(
        figure,
        "Guided SmolVLAs on MetaWorld",
        f"{min(several)} paired episodes each, 95% intervals over episode seeds",
    )
    return figure


def main(settings: Settings) -> None:
    files = sorted(settings.runs.glob("*/*/test.jsonl"))
    if not files:
        raise FileNotFoundError(f"{settings.runs} has no TASK/CRITIC/test.jsonl: run it first.")
    panels = {}
    for name, seen in SEEN.items():
        for file in files:
            if file.parent.name == name:
                panels[f"{file.parent.parent.name}, {seen}"] = rows_of(file.parent)
    settings.out.mkdir(parents=True, exist_ok=True)
    light, dark = save_picture(draw(panels), settings.out / "metaworld.svg")
    print(f"Wrote {light} and {dark.name}.")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
