from .._extras import check_extra as _check_extra

_check_extra("ogbench", __name__)

from ._compute import draw_compute
from ._curves import draw_curves
from ._figures import add_legend, add_title, episodes_each, errors_of, finish_axes, new_figure
from ._styles import method_style, Styles
from ._success import draw_along_training, plot_along_training, plot_success
from ._ticks import scale_weights

__all__ = [
    "add_legend",
    "add_title",
    "draw_along_training",
    "draw_compute",
    "draw_curves",
    "episodes_each",
    "errors_of",
    "finish_axes",
    "method_style",
    "new_figure",
    "plot_along_training",
    "plot_success",
    "scale_weights",
    "Styles",
]
