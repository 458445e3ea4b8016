from .._extras import check_extra as _check_extra

_check_extra("ogbench", __name__)

from ._metrics import read_metrics
from ._presets import preset, PRESETS
from ._run import run
from ._settings import Settings, WATCHING

__all__ = [
    "preset",
    "PRESETS",
    "read_metrics",
    "run",
    "Settings",
    "WATCHING",
]
