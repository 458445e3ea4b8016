from ._graph import make_jobs as make_jobs
from ._jobs import Job as Job
from ._plan import Plan as Plan, read_plan as read_plan
from ._status import Status as Status
from ._sweep import dry_run as dry_run, status as status, sweep as sweep
