from collections.abc import Sequence
from typing import Any

from .._run_folder import RunFolder
from ..plot import add_legend, add_title, draw_along_training, finish_axes, new_figure, WIDTH
from ..runs import read_metrics
from ._picture import Picture
from ._picture_tasks import short
from ._runs import FoundRun

_VALIDATION = "validation/"
_LOOKS = {"": ("#0072B2", "-", "training"), _VALIDATION: ("#D55E00", "--", "validation")}
# A logarithmic axis where the largest loss is so many times the smallest.
_DECADES = 30


def draw_training(name: str, run: FoundRun) -> Picture | None:
    """The losses of a run along training, and its success where it was evaluated; None without a
    log."""
    folder = RunFolder(run.folder)
    try:
        lines = [line for line in read_metrics(folder.metrics_file) if line["seed"] in run.seeds]
    except (ValueError, KeyError):
        lines = []
    losses = sorted({key.removeprefix(_VALIDATION) for line in lines for key in line})
    losses = [key for key in losses if key.rpartition("_")[2] == "loss" or key.endswith("/loss")]
    has_success = any(folder.evaluations.glob("*_update_*.jsonl"))
    count = len(losses) + has_success
    if not count:
        return None
    figure = new_figure(WIDTH, 1.1 + 1.9 * count)
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for axes, key in zip(panels[has_success:], losses, strict=True):
        _draw_loss(axes, lines, key)
    if has_success:
        draw_along_training(panels[0], folder.evaluations)
        finish_axes(panels[0], is_rate=True)
        panels[0].set_ylabel("success rate")
    panels[-1].set_xlabel("updates")
    add_legend(figure, panels)
    title = short(run.task) + (f", training {run.training}" if run.training else "")
    seeds = ", ".join(map(str, run.seeds))
    below = f"{run.folder.name}: a line for each training seed ({seeds})"
    if has_success:
        below += "; success with 95% Wilson intervals"
    add_title(figure, title, below)
    return Picture(name, figure, f"Learning curves of {run.folder}: {title}.")


def _draw_loss(axes: Any, lines: Sequence[dict[str, Any]], key: str) -> None:
    everything = []
    for prefix, (color, dashes, label) in _LOOKS.items():
        curves: dict[int, list[tuple[int, float]]] = {}
        for line in lines:
            if isinstance(line.get(prefix + key), float | int):
                curves.setdefault(line["seed"], []).append((line["step"], line[prefix + key]))
        for points in curves.values():
            steps, values = zip(*points, strict=True)
            # One point is no line.
            marker = "." if len(points) < 3 else None
            look = {"color": color, "linestyle": dashes, "linewidth": 1.2, "label": label}
            axes.plot(steps, values, marker=marker, **look)
            everything += values
    if everything and min(everything) > 0 and max(everything) > _DECADES * min(everything):
        axes.set_yscale("log")
    finish_axes(axes, is_rate=False)
    axes.set_ylabel(key.replace("/", "\n").replace("_", " "))
