from .._extras import check_extra as _check_extra

_check_extra("ogbench", __name__)

from ._videos import record_videos, video_problem

__all__ = [
    "record_videos",
    "video_problem",
]
