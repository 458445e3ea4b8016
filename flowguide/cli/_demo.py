import dataclasses
import json
import time
from pathlib import Path
from typing import Any, TYPE_CHECKING

from .._random import as_seed
from .._results.conditions import UNGUIDED
from .._system.files import replace_file
from .._system.processes import cores
from .._system.progress import make_console, printer
from .._weight import DEFAULT_KAPPA
from ._terminal import next_command, show_rates

if TYPE_CHECKING:
    from rich.console import Console

    from ..results import Episode

RUN = "run"
RESULTS = "results.jsonl"
PICTURE = "success.png"
VIDEOS = "videos"
INDENT = "    "


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a demo collects, trains and plays."""

    task: str
    collect_episodes: int
    horizon: int
    hidden: tuple[int, ...]
    discount: float
    batch_size: int
    steps: int
    learning_rate: float
    target_rate: float
    best_of_n: int
    episodes: int
    num_envs: int

    def guidances(self) -> dict[str, Any]:
        from ..evaluate import cross

        best_of_n = [self.best_of_n]
        # In the unit of the default weight, which is the middle one.
        local = (DEFAULT_KAPPA / 2, DEFAULT_KAPPA, DEFAULT_KAPPA * 2)
        return {
            **cross(["qgf", "ood"], local=local),
            **cross(["best_of_n"], best_of_n=best_of_n),
            **cross(["qgf"], local=[DEFAULT_KAPPA], best_of_n=best_of_n),
        }


CUBE = Plan(
    task="cube-single-play-singletask-task1-v0",
    collect_episodes=120,
    horizon=5,
    hidden=(256, 256, 256),
    # Lower than the published 0.999: values settle in the few updates that a demo has time for.
    discount=0.98,
    batch_size=256,
    steps=16_000,
    learning_rate=3e-4,
    target_rate=0.005,
    best_of_n=4,
    episodes=40,
    num_envs=16,
)

MAZE = Plan(
    task="pointmaze-medium-navigate-singletask-task1-v0",
    collect_episodes=100,
    horizon=5,
    hidden=(128, 128, 128),
    discount=0.995,
    batch_size=128,
    steps=8_000,
    # So few updates have to reach from the goal to the start.
    learning_rate=1e-3,
    target_rate=0.02,
    best_of_n=4,
    episodes=16,
    num_envs=16,
)


@dataclasses.dataclass(frozen=True)
class Demo:
    """Shows a frozen flow policy getting better at test time on an OGBench robot task.

    Collects a small cube-single-play-v0 dataset, trains a flow policy and a critic, and plays
    paired episodes: unguided, with qgf and ood at the default weight, half and twice of it, best of
    n, and both. Prints a table; writes results.jsonl, success.png, a video where it can render, the
    data and the training run. Run again, it reuses what is finished. Five to seven minutes on two
    cores; no network is needed.
    """

    out: Path
    """The folder for everything; made if missing."""

    quick: bool = False
    """The same on pointmaze-medium-navigate-singletask-task1-v0, in about a minute."""

    seed: int = 0
    """Seed of the data, the training and the episodes."""

    def run(self) -> None:
        run(MAZE if self.quick else CUBE, self.out, self.seed)


def run(plan: Plan, out: Path, seed: int) -> None:
    """Does what is not done yet, in order: data, training, episodes, report."""
    console = make_console()
    started = time.perf_counter()
    out = out.expanduser()
    out.mkdir(parents=True, exist_ok=True)
    _claim(plan, out, as_seed("seed", seed))
    console.rule(f"flowguide demo: {plan.task}")
    _collect(plan, out, seed, console)
    folder = _train(plan, out, seed, console)
    episodes = _evaluate(plan, out, folder, console)
    _report(plan, out, episodes, console)
    video = _film(plan, out, folder, episodes, console)
    say = printer(console)
    for line in _shown(plan, episodes):
        say(line)
    made = ", ".join((PICTURE, *video, RESULTS, RUN))
    say(f"Done in {time.perf_counter() - started:.0f} s. In {out}: {made}.")
    say(f"Next, in Python: policy, critic = flowguide.load({str(folder)!r})")
    say(next_command("report", out / RESULTS, "--out", out / "report"))
    say(next_command("tune", folder, "--method", "qgf", "ood", "--out", out / "tuned"))
    if plan is MAZE:
        say(next_command("demo", "--out", out.with_name(f"{out.name}-cube")))


def _claim(plan: Plan, out: Path, seed: int) -> None:
    """Refuses a folder that holds the demo of another plan: its results must not be mixed in."""
    text = json.dumps({**dataclasses.asdict(plan), "seed": seed}, indent=2) + "\n"
    file = out / "plan.json"
    if file.exists() and file.read_text() != text:
        raise ValueError(
            f"{out} holds the demo of another plan or seed ({file} differs from this one). Choose "
            "another --out, or delete the folder."
        )
    replace_file(file, lambda path: path.write_text(text))


def _collect(plan: Plan, out: Path, seed: int, console: "Console") -> None:
    from ..ogbench import collect, dataset_name

    name = dataset_name(plan.task)
    if (out / f"{name}.npz").exists() and (out / f"{name}-val.npz").exists():
        _head(console, 1, f"The dataset is there already: {out / name}.npz")
        return
    _head(console, 1, f"Collecting {plan.collect_episodes} episodes of {name}")
    collect(name, plan.collect_episodes, out, workers=cores(), seed=seed)


def _train(plan: Plan, out: Path, seed: int, console: "Console") -> Path:
    from ..runs import run, Settings

    _head(console, 2, f"Training a flow policy and a critic, {plan.steps:,} updates")
    settings = Settings(
        plan.task,
        dataset_dir=out,
        steps=plan.steps,
        horizon=plan.horizon,
        hidden=plan.hidden,
        batch_size=plan.batch_size,
        discount=plan.discount,
        learning_rate=plan.learning_rate,
        target_rate=plan.target_rate,
        seed=seed,
        checkpoint_every=plan.steps // 2,
    )
    return run(settings, out / RUN, on_message=printer(console, INDENT))


def _evaluate(plan: Plan, out: Path, folder: Path, console: "Console") -> list["Episode"]:
    from ..evaluate import evaluate_runs

    guidances = plan.guidances()
    _head(console, 3, "Playing the same episodes unguided and guided")
    return evaluate_runs(
        [folder],
        guidances,
        plan.episodes,
        out / RESULTS,
        num_envs=plan.num_envs,
        on_message=printer(console, INDENT),
    )


def _head(console: "Console", number: int, sentence: str) -> None:
    from rich.text import Text

    console.print(Text.assemble((f"{number}/5", "bold"), f" {sentence}"), soft_wrap=True)


def _report(plan: Plan, out: Path, episodes: list["Episode"], console: "Console") -> None:
    from ..plot import plot_success
    from ..results import summarise

    _head(console, 4, "Success, with 95% Wilson intervals")
    show_rates(console, summarise(episodes))
    plot_success(episodes, out / PICTURE, plan.task)


def _film(
    plan: Plan, out: Path, folder: Path, episodes: list["Episode"], console: "Console"
) -> list[str]:
    """One episode, unguided and guided side by side, where this machine can render."""
    from ..video import record_videos

    wanted = {UNGUIDED, f"qgf local {DEFAULT_KAPPA:g}"}
    few = [episode for episode in episodes if episode.condition.label in wanted]
    _head(console, 5, "A video of one episode, unguided and guided")
    if not list((out / VIDEOS).glob("*.mp4")):
        guidances = {name: each for name, each in plan.guidances().items() if name in wanted}
        # Small and coarse: without a GPU a frame takes a third of a second.
        record_videos(
            *([folder], guidances, few, 1, out / VIDEOS),
            frames=30,
            size=240,
            on_message=printer(console, INDENT),
        )
    return [f"{VIDEOS}/{file.name}" for file in sorted((out / VIDEOS).glob("*.mp4"))]


def _shown(plan: Plan, episodes: list["Episode"]) -> list[str]:
    """What the episodes say of the default weight, whichever way they went."""
    from .._results.conditions import Condition
    from .._results.verdict import verdict
    from ..results import compare

    wanted = {UNGUIDED, f"best of {plan.best_of_n}", f"qgf local {DEFAULT_KAPPA:g}"}
    few = [episode for episode in episodes if episode.condition.label in wanted]
    if {episode.condition.label for episode in few} != wanted:
        return []
    return [
        "What it shows of the default weight, the same frozen policy and critic on the same "
        "episodes:",
        f"{verdict(few, compare(few), Condition())}.",
        "All weights that were tried are in the table: a demonstration, and no estimate.",
    ]
