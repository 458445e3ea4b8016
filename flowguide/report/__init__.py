from .._extras import check_extra

check_extra("ogbench", __name__)

from ._report import report

__all__ = [
    "report",
]
