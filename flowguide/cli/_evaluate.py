import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from .._catalogue import CATALOGUE
from .._system.progress import make_console, printer

KAPPAS = (1.0, 3.0, 10.0, 30.0, 100.0)
# Nothing is said of a default that is empty.
Floats = Annotated[tuple[float, ...], tyro.conf.arg(help_behavior_hint="")]
# For tyro several are none or more: none is refused where they are loaded.
Runs = Annotated[
    tuple[Path, ...],
    tyro.conf.Positional,
    tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)"),
]
METHODS = f"Methods: {', '.join(CATALOGUE)}. Those without a weight stand with their defaults."


@dataclasses.dataclass(frozen=True)
class Guidances:
    """The conditions that are compared, besides the unguided policy."""

    method: Annotated[tuple[str, ...], tyro.conf.arg(help=METHODS)] = ("qgf",)

    weights: Floats = ()
    """Weights as flowguide.guide takes them."""

    kappas: Floats = ()
    """Weights in units of the task, measured from observations that the first run keeps. Without
    any weight: 1 3 10 30 100 of these."""

    local: Floats = ()
    """Weights in units of the observation at hand, measured for every action."""

    relatives: Floats = ()
    """Weights as shares of the velocity."""

    norms: Floats = ()
    """Weights of the normalised gradient."""

    best_of_n: tuple[int, ...] = (1,)
    """How many actions are sampled for each one played."""

    def made(self, runs: Sequence[Path]) -> dict[str, Any]:
        """The guidances by their labels, for these runs."""
        from .._agent.cross import Crossing
        from .._agent.runs import observations_of

        given = vars(self).copy()
        crossing = Crossing(given.pop("method"), **given)
        if not (self.weights or self.kappas or self.local or self.relatives or self.norms):
            weighted = [name for name in self.method if _has_weight(name)]
            crossing = dataclasses.replace(crossing, kappas=KAPPAS if weighted else ())
        # What is wrong with them is said before anything is loaded.
        assert crossing.conditions
        return crossing.guidances(observations_of(runs) if crossing.kappas else None)


def _has_weight(name: str) -> bool:
    return name in CATALOGUE and CATALOGUE[name].has_weight


@dataclasses.dataclass(frozen=True)
class Playing:
    """How episodes are played."""

    environment: str | None = None
    """What is played: any gymnasium environment. By default the task that the runs were trained
    for."""

    replan: int | None = None
    """How many actions of a chunk are played before the next is chosen; by default all."""

    max_episode_steps: int | None = None
    """Where an episode ends at the latest; by default where the environment ends it."""

    success_at: Literal["end", "any"] = "end"
    """Whether the last step of an episode says if it is solved, or one solved step is enough."""

    rescale: bool = False
    """Maps the policy's range of actions onto the environment's."""

    num_envs: int | None = None
    """Environments that play at a time, in one process for each core; by default 8 for each."""

    timeout: float = 120.0
    """Seconds after which a worker that has not answered is replaced."""

    training: Annotated[str, tyro.conf.arg(help_behavior_hint="")] = ""
    """A name for how the runs were trained, recorded with each episode."""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Plays paired episodes with finished training runs, into a file of JSON Lines.

    Every condition meets the same episodes: the same environment seeds and the same noise. Killed
    and started again, it plays only what is missing. `flowguide report` makes tables and pictures.
    """

    runs: Runs
    """Folders of flowguide train, of one task. All their training seeds play."""

    out: Path
    """The file of episodes; other episodes in it stay."""

    guidances: Guidances = Guidances()

    playing: Playing = Playing()

    episodes: int = 50
    """Episodes of each training seed and condition."""

    first_episode_seed: int = 0
    """Episodes have the seeds from this one on."""

    videos: int = 0
    """So many of the episodes are shown side by side, a video each, in the folder videos beside the
    file; those that guidance gained or lost first."""

    def run(self) -> None:
        from .._results.verdict import verdict
        from ..evaluate import evaluate_runs
        from ..results import compare, Condition, summarise
        from ..video import record_videos, video_problem
        from ._terminal import next_command, show_rates

        console = make_console()
        on_message = printer(console)
        playing = dataclasses.asdict(self.playing)
        guidances = self.guidances.made(self.runs)
        # Before the episodes, which take long; they are played all the same.
        if self.videos:
            problem = video_problem(self.runs, environment=self.playing.environment)
            if problem:
                on_message(f"There will be no videos: {problem}")
        episodes = evaluate_runs(
            self.runs,
            guidances,
            self.episodes,
            self.out,
            first_episode_seed=self.first_episode_seed,
            on_message=on_message,
            **playing,
        )
        rates = summarise(episodes)
        if rates:
            show_rates(console, rates)
            on_message(f"{verdict(episodes, compare(episodes), Condition())}.")
        else:
            on_message("No episode says whether it was a success: the report compares returns.")
        on_message(f"The episodes are in {self.out}.")
        if self.videos:
            folder = self.out.parent / "videos"
            record_videos(
                self.runs, guidances, episodes, self.videos, folder, on_message=on_message
            )
        # A report shows the videos that are in its folder.
        report = self.out.parent if self.videos else self.out.parent / "report"
        on_message(next_command("report", self.out, "--out", report))


@dataclasses.dataclass(frozen=True)
class Tune:
    """Chooses weights on validation episodes, and tests what was chosen on others.

    The weights of a method compete by successive halving, so that bad ones cost few episodes. The
    folder OUT gets validation.jsonl, test.jsonl and tuned.json. Killed and started again, it plays
    only what is missing.
    """

    runs: Runs
    """Folders of flowguide train, of one task. One choice serves all their training seeds."""

    out: Path
    """The folder for the results; made if missing."""

    guidances: Guidances = Guidances()

    playing: Playing = Playing()

    validation_episodes: int = 32
    """Episodes of each training seed that the last two weights play."""

    test_episodes: int = 50
    """Episodes of each training seed that test what was chosen."""

    def run(self) -> None:
        from .._results.verdict import verdict
        from ..evaluate import tune_runs
        from ..results import compare, Condition, summarise
        from ._terminal import next_command, show_rates

        console = make_console()
        on_message = printer(console)
        tuned = tune_runs(
            self.runs,
            self.guidances.made(self.runs),
            self.out,
            validation_episodes=self.validation_episodes,
            test_episodes=self.test_episodes,
            on_message=on_message,
            **dataclasses.asdict(self.playing),
        )
        console.print("Validation: success in the episodes that chose, so optimistic for the best.")
        show_rates(console, summarise(tuned.validation))
        console.print("Test: other episodes.")
        show_rates(console, summarise(tuned.test))
        rows = compare(tuned.test)
        said = verdict(tuned.test, rows, Condition(), is_chosen_elsewhere=True)
        on_message(f"{said}.")
        on_message(next_command("report", self.out, "--out", self.out / "report"))
