from .._extras import check_extra as _check_extra

_check_extra("ogbench", __name__)

from ._report import report

__all__ = [
    "report",
]
