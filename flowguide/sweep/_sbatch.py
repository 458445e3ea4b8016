from collections.abc import Sequence
from typing import Any

from ._jobs import Job
from ._resources import Resources


def parameters(job: Job, name: str, resources: Resources, after: Sequence[str]) -> dict[str, Any]:
    """A job's options of sbatch, as submitit's `SlurmExecutor` takes them."""
    # `requeue`: also when a node fails, or a job is preempted on a cluster that sends no signal.
    extra: dict[str, Any] = {"requeue": True}
    if after:
        # Without the second, jobs would wait for ever for one that has failed.
        extra |= {
            "dependency": f"{'afterany' if job.tolerant else 'afterok'}:{':'.join(after)}",
            "kill-on-invalid-dep": "yes",
        }
    options: dict[str, Any] = {
        "job_name": name,
        "time": resources.time,
        "cpus_per_task": resources.cpus,
        # srun takes no cores over from sbatch, since SLURM 22.05.
        "srun_args": [f"--cpus-per-task={resources.cpus}"],
        "additional_parameters": {**extra, **resources.extra},
    }
    if resources.partition is not None:
        options["partition"] = resources.partition
    if resources.gpus:
        options["gpus_per_node"] = resources.gpus
    if resources.memory_gb is not None:
        options["mem"] = f"{round(resources.memory_gb * 1024)}MB"
    if resources.setup:
        options["setup"] = list(resources.setup)
    return options
