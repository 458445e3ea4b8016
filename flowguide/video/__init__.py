from .._extras import check_extra

check_extra("ogbench", __name__)

from ._videos import record_videos, video_problem

__all__ = [
    "record_videos",
    "video_problem",
]
