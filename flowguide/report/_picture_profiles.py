import numpy as np

from .._results.profiles import performance_profile
from ..plot import add_legend, add_title, episodes_each, finish_axes, new_figure, Styles, WIDTH
from ._over_tasks import best_of_curves, in_order, Overall, Tasks
from ._picture import Picture

# Bands of more curves than these cover each other.
MAX_PROFILES = 5
_THRESHOLDS = np.linspace(0, 1, 101)


def draw_profiles(name: str, title: str, tasks: Tasks, styles: Styles) -> Picture | None:
    """Which share of the runs reaches each success rate; None for fewer than two conditions."""
    best = best_of_curves(tasks.overall)
    # The baseline is always among them.
    best.sort(key=lambda row: row.name != tasks.baseline)
    looks: dict[tuple[str, str], Overall] = {}
    for row in best:
        # Units of one method look alike: the best one is drawn.
        if styles.has(row.condition):
            look = styles.color(row.condition), str(styles.dashes(row.condition))
            looks.setdefault(look, row)
    drawn = list(looks.values())[:MAX_PROFILES]
    if len(drawn) < 2:
        return None
    figure = new_figure(WIDTH, 4.0)
    axes = figure.subplots()
    for row in drawn:
        found = performance_profile(in_order(row.scores), _THRESHOLDS.tolist())
        color = styles.color(row.condition)
        look = {"color": color, "linestyle": styles.dashes(row.condition), "linewidth": 1.6}
        axes.step(_THRESHOLDS, [x.value for x in found], where="post", label=row.name, **look)
        low, high = [x.low for x in found], [x.high for x in found]
        axes.fill_between(_THRESHOLDS, low, high, step="post", color=color, alpha=0.12, linewidth=0)
    finish_axes(axes, is_rate=True)
    axes.set_xlabel("success rate of a run")
    axes.set_ylabel("share of runs above it")
    add_legend(figure, [axes])
    counts = episodes_each((row.iqm.count for row in drawn), "runs")
    add_title(figure, title, f"{counts}, 95% stratified bootstrap intervals at each point")
    caption = (
        f"Performance profiles: {title}. A curve that lies higher has more runs above any success "
        "rate; of each method the weight and unit with the highest interquartile mean."
    )
    few = f"{len(drawn)} of {len(best)} curves are shown." if len(drawn) < len(best) else ""
    return Picture(name, figure, caption, few)
