"""A graph of jobs as a workflow of Snakemake, and Snakemake as a process."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._system.files import replace_file
from .._system.processes import same_imports
from ._graph import Job
from ._plan import Resources
from ._state import job_file, JOBS, settle, statuses, WORKFLOW

HERE = Path(__file__).parent
# Seconds between two looks at the states of jobs.
POLL = 0.3
# Seconds that processes have to be gone after they were killed.
GONE = 5.0
# Options of sbatch that the executor has names of its own for; the others it passes on.
NAMED = {"account": "slurm_account"} | {n: n for n in "clusters constraint gres nodes qos".split()}


def write_workflow(
    graph: Sequence[Job], folder: Path, resources: Mapping[str, Resources], cpus: int | None
) -> None:
    """Writes what Snakemake reads: the jobs, and what each kind of them asks for: cores of this
    machine, or of SLURM what the plan says."""
    kinds: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(job.kind for job in graph):
        of = resources.get(kind, Resources())
        kinds[kind] = {"cpus": cpus, "resources": {}} if cpus else asked_of_slurm(of)
        # Not in the workflow: a job that is done stays so, whatever comes before it elsewhere.
        lines = "".join(f"{line}\n" for line in (() if cpus else of.setup))
        replace_file(folder / JOBS / f"{kind}.sh", lambda path, lines=lines: path.write_text(lines))
    jobs = [{n: getattr(job, n) for n in ("name", "kind", "needs", "spec")} for job in graph]
    text = json.dumps({"kinds": kinds, "jobs": jobs}, indent=1) + "\n"
    replace_file(folder / WORKFLOW, lambda path: path.write_text(text))
    replace_file(folder / "Snakefile", lambda path: shutil.copyfile(HERE / "Snakefile", path))


def asked_of_slurm(of: Resources) -> dict[str, Any]:
    """Resources of the SLURM executor, by its names."""
    named = {new: of.extra[old] for old, new in NAMED.items() if old in of.extra}
    named |= {"runtime": of.time, "cpus_per_task": of.cpus, "slurm_partition": of.partition}
    named |= {"gpu": of.gpus or None, "mem_mb": of.memory_gb and round(of.memory_gb * 1024)}
    extra = [
        f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}")
        for name, value in of.extra.items()
        if name not in NAMED
    ]
    named["slurm_extra"] = shlex.join(extra) or None
    resources = {name: value for name, value in named.items() if value is not None}
    return {"cpus": of.cpus, "resources": resources, "timeouts": of.timeouts}


def on_slurm(at_a_time: int, poll: int) -> list[str]:
    """Options of Snakemake."""
    # It may be there and have no accounts to read.
    sacct = shutil.which("sacct") and not subprocess.run(["sacct"], capture_output=True).returncode
    return [
        *("--executor", "slurm", "--jobs", f"{at_a_time}", "--slurm-requeue"),
        *("--slurm-status-command", "sacct" if sacct else "squeue"),
        *("--slurm-init-seconds-before-status-checks", str(poll), "--latency-wait", "60"),
    ]


def run_jobs(
    graph: Sequence[Job], folder: Path, where: Sequence[str], on_message: Callable[[str], Any]
) -> None:
    """Runs what is not done. Snakemake keeps back all that needs what failed; what is tolerant of
    that, the report, takes another run of it.

    **Arguments:**

    - `graph`, `folder`: the jobs, after `write_workflow` and `prepare`; the folder of the sweep.
    - `where`: options that say what Snakemake runs them on.
    - `on_message`: called with a line for each change.
    """
    log = folder / JOBS / "snakemake.log"
    strict = [job for job in graph if not job.tolerant]
    for part, options in ((strict, ()), (graph, ("--config", "partial=1"))):
        found = statuses(graph, folder)
        left = [job for job in graph if found[job.name].stage == "waiting"]
        if left:
            targets = [f"{JOBS}/{job.name}.done" for job in left] if options else []
            _run([*targets, *where, *options], graph, folder, log, on_message)
        settle(part, folder, log)


def _run(
    options: Sequence[str],
    graph: Sequence[Job],
    folder: Path,
    log: Path,
    on_message: Callable[[str], Any],
) -> None:
    """Runs Snakemake to its end and shows what becomes of the jobs; it ends with this process."""
    command = [sys.executable, str(HERE / "_engine.py"), *options]
    snakefile = folder.absolute() / "Snakefile"
    command += ["--directory", str(snakefile.parent), "--snakefile", str(snakefile)]
    # The lock of the folder is ours. What is to be done is said by the markers and the plan.
    command += ["--keep-going", "--nolock", "--rerun-incomplete", "--rerun-triggers", "params"]
    command += ["--scheduler", "greedy"]
    # What somebody else's profile says of executors and cores is not meant for this.
    command += ["--profile", "none", "--workflow-profile", "none"]
    before = statuses(graph, folder)
    with log.open("a") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **same_imports()},
            # A group of its own, which ends together.
            start_new_session=True,
        )
    assert process.stdin is not None
    try:
        is_over = False
        while not is_over:
            is_over = process.poll() is not None
            began = time.perf_counter()
            found = statuses(graph, folder)
            for name, status in found.items():
                if status.stage not in ("waiting", before[name].stage):
                    log_of_job = job_file(folder, name, "log")
                    why = {
                        "failed": f": {status.why} (log: {log_of_job})",
                        "blocked": f": {status.why}",
                    }
                    on_message(f"{status.stage}: {name}{why.get(status.stage, '')}")
            before = found
            # Of a thousand jobs it takes a while to look at all.
            time.sleep(0 if is_over else max(POLL, 10 * (time.perf_counter() - began)))
    finally:
        process.stdin.close()
        process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    # Until they are gone, the jobs that were killed look as if they ran.
    deadline = time.monotonic() + GONE
    while time.monotonic() < deadline and any(
        status.stage == "running" for status in statuses(graph, folder).values()
    ):
        time.sleep(POLL)
