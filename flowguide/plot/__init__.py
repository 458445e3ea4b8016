from .._extras import check_extra as _check_extra

_check_extra("ogbench", __name__)

from ._compute import compute_panels, costs_of, draw_compute, split_costs
from ._curves import curve_panels, draw_curves
from ._figures import (
    add_legend,
    add_title,
    episodes_each,
    errors_of,
    finish_axes,
    name_outer,
    new_figure,
    new_panels,
    WIDTH,
)
from ._multiples import in_turn, MAX_IN_PANEL, split_curves
from ._save import save_picture
from ._styles import method_style, Styles
from ._success import draw_along_training, plot_along_training, plot_success
from ._ticks import scale_weights

__all__ = [
    "add_legend",
    "add_title",
    "compute_panels",
    "costs_of",
    "curve_panels",
    "draw_along_training",
    "draw_compute",
    "draw_curves",
    "episodes_each",
    "errors_of",
    "finish_axes",
    "in_turn",
    "MAX_IN_PANEL",
    "method_style",
    "name_outer",
    "new_figure",
    "new_panels",
    "plot_along_training",
    "plot_success",
    "save_picture",
    "scale_weights",
    "split_costs",
    "split_curves",
    "Styles",
    "WIDTH",
]
