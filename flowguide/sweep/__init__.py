from .._extras import check_extra as _check_extra

_check_extra("ogbench", __name__)

from ._graph import Job, make_jobs
from ._plan import Plan, read_plan
from ._state import Status
from ._sweep import dry_run, status, sweep

__all__ = [
    "dry_run",
    "Job",
    "make_jobs",
    "Plan",
    "read_plan",
    "Status",
    "status",
    "sweep",
]
