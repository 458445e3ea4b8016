"""What the jobs of a sweep do. Each can be called again, and goes on from what is there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._tables import from_table

Arguments = dict[str, Any]


def collect(out: Path, arguments: Arguments, cpus: int) -> None:
    from ..ogbench import collect

    folder = _path(out, arguments["folder"])
    # The dataset that policies were trained on is never replaced.
    if not (folder / f"{arguments['dataset']}.npz").exists():
        collect(arguments["dataset"], arguments["episodes"], folder, workers=cpus, progress=False)


def download(out: Path, arguments: Arguments, cpus: int) -> None:
    del cpus
    from ..ogbench import load_ogbench

    load_ogbench(arguments["dataset"], _path(out, arguments["folder"]))


def policy(out: Path, arguments: Arguments, cpus: int) -> None:
    del cpus
    from ..runs import run, Settings

    settings = from_table(Settings, _with_paths(out, arguments["settings"]), "the settings")
    run(settings, out / arguments["folder"])


def critic(out: Path, arguments: Arguments, cpus: int) -> None:
    policy(out, arguments, cpus)


def learner(out: Path, arguments: Arguments, cpus: int) -> None:
    policy(out, arguments, cpus)


def evaluate(out: Path, arguments: Arguments, cpus: int) -> None:
    from ..evaluate import evaluate_runs

    runs = [out / run for run in arguments["runs"]]
    episodes = evaluate_runs(
        *(runs, _guidances(runs, arguments["conditions"])),
        arguments["episodes"],
        out / arguments["file"],
        # A workflow that an older version wrote has none.
        first_episode_seed=arguments.get("first_episode_seed", 0),
        training=arguments["training"],
        **_options(arguments, cpus),
    )
    errors = [episode.error for episode in episodes if episode.error is not None]
    if errors:
        raise RuntimeError(
            f"{len(errors)} of {len(episodes)} episodes ended with an error, the first: {errors[0]}"
        )


def tune(out: Path, arguments: Arguments, cpus: int) -> None:
    from ..evaluate import tune_runs

    runs = [out / run for run in arguments["runs"]]
    tune_runs(
        *(runs, _guidances(runs, arguments["candidates"])),
        out / arguments["folder"],
        validation_episodes=arguments["validation_episodes"],
        test_episodes=arguments["test_episodes"],
        training=arguments["training"],
        **_options(arguments, cpus),
    )


def report(out: Path, arguments: Arguments, cpus: int) -> None:
    del cpus
    from ..report import report

    files = [out / file for file in arguments["files"]]
    # What failed has left nothing, and what it has left in the middle of a tuning is no result.
    found = [file for file in files if (file / "tuned.json" if not file.suffix else file).is_file()]
    if not found:
        raise RuntimeError(f"None of the {len(files)} evaluations left any episodes to report.")
    for file in sorted({*files} - {*found}):
        print(f"Missing: {file}")
    training = arguments["training"]
    is_there = any(training in file.relative_to(out).parts for file in found)
    report(found, out / arguments["folder"], training=training if is_there else None)


def _path(out: Path, folder: str) -> Path:
    return out / Path(folder).expanduser()


def _with_paths(out: Path, settings: Arguments) -> Arguments:
    frozen = settings["frozen"]
    return {
        **settings,
        "dataset_dir": _path(out, settings["dataset_dir"]),
        "frozen": None if frozen is None else out / frozen,
    }


def _guidances(runs: Sequence[Path], tables: Sequence[Arguments]) -> dict[str, Any]:
    """What tables of a plan name, by labels; kappas are measured from what the first run keeps."""
    from .._agent.cross import Crossing, merged
    from .._agent.runs import observations_of

    crossings = [from_table(Crossing, table, "the conditions") for table in tables]
    needed = any(crossing.kappas for crossing in crossings)
    return merged(crossings, observations_of(runs) if needed else None)


def _options(arguments: Arguments, cpus: int) -> Arguments:
    from ..evaluate import ENVS_PER_CORE

    num_envs = arguments["options"]["num_envs"] or ENVS_PER_CORE * cpus
    return {**arguments["options"], "num_envs": num_envs}
