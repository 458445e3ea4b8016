import dataclasses
from typing import Any

# The kinds of jobs, in the order of the graph.
KINDS = ("collect", "download", "policy", "critic", "evaluate", "tune", "report")

# SLURM warns a job 90 to 150 seconds before its time is over, and it must have started by then.
_LEAST = {"gpus": 0, "cpus": 1, "time": 5, "timeouts": 0}


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a job asks SLURM for; `[slurm]` in a plan.

    **Attributes:**

    - `partition`: None for the cluster's default.
    - `gpus`, `cpus`: of one job.
    - `memory_gb`: None for the cluster's default.
    - `time`: minutes until a job is interrupted and put back into the queue; at least 5.
    - `timeouts`: how often that may happen to a job before it counts as failed.
    - `setup`: lines of shell before the job, such as `module load cuda`.
    - `extra`: any other option of sbatch, such as `{account = "...", constraint = "..."}`.
    """

    partition: str | None = None
    gpus: int = 0
    cpus: int = 4
    memory_gb: float | None = None
    time: int = 240
    timeouts: int = 20
    setup: tuple[str, ...] = ()
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    def check(self, where: str) -> None:
        """Refuses numbers out of range, with a `ValueError`."""
        for name, low in _LEAST.items():
            if getattr(self, name) < low:
                raise ValueError(
                    f"{name} in {where} must be at least {low}, got {getattr(self, name)}."
                )
        if self.memory_gb is not None and not self.memory_gb > 0:
            raise ValueError(f"memory_gb in {where} must be above 0, got {self.memory_gb}.")
        for name, value in self.extra.items():
            if not isinstance(value, (str, int, float)):
                raise ValueError(f"{name} in extra of {where} must be a string, a number or true.")
