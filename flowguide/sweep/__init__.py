from ._graph import make_jobs
from ._jobs import Job
from ._plan import Plan, read_plan
from ._status import Status
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
