import dataclasses
from collections import Counter
from collections.abc import Sequence

from .._agent.finished import versions_note
from .._results.compare import compare, Comparison
from .._results.conditions import UNGUIDED
from .._results.episodes import Episode
from ._baseline import baseline_of, check_baseline
from ._compared import Compared, compared_of
from ._names import namer
from ._over_tasks import over_tasks, Tasks
from ._read import Results, SourceFile, TunedFolder
from ._runs import FoundRun
from ._trainings import Trainings, trainings_of


@dataclasses.dataclass(frozen=True)
class Findings:
    """All numbers of a report, before they are written.

    **Attributes:**

    - `verdicts`: what each is about, and the answer in a sentence; the first lines of a report.
    - `compared`: for each task and training the conditions.
    - `tasks`: for each training with several tasks what was reached over them.
    - `trainings`: ways of training against each other.
    - `tuned`: with the comparison of the validation episodes of each.
    - `errors`: the episodes that ended in one.
    - `duplicates`: how many lines count once though they were there twice.
    - `doubts`: what is doubtful about some of the episodes, in sentences.
    - `files`: what was read.
    - `runs`: the training runs that played, as far as their folders are known.
    """

    verdicts: list[tuple[str, str]]
    compared: list[Compared]
    tasks: list[Tasks]
    trainings: list[Trainings]
    tuned: list[tuple[TunedFolder, list[Comparison]]]
    errors: list[Episode]
    duplicates: int
    doubts: list[str]
    files: list[SourceFile]
    runs: list[FoundRun]


def find(
    results: Results,
    baseline: str = UNGUIDED,
    training: str | None = None,
    runs: Sequence[FoundRun] = (),
) -> Findings:
    """Computes everything that a report shows.

    **Raises:**

    `ValueError` for a baseline that no group has, or a training that did not play.
    """
    check_baseline(results, baseline)
    compared = [compared_of(group, baseline) for group in results.groups]
    # What was tuned first: its numbers are the ones to quote.
    compared.sort(key=lambda each: each.group.kind != "test")
    played = [e for group in results.groups for e in group.episodes]
    played += [e for tuned in results.tuned for e in tuned.validation]
    name = namer(results.tuned)
    tasks = over_tasks(compared, name)
    return Findings(
        _verdicts(compared, tasks),
        compared,
        tasks,
        trainings_of(results.groups, name, training),
        [
            (tuned, compare(tuned.validation, baseline_of(tuned.validation, baseline)))
            for tuned in results.tuned
        ],
        sorted((e for e in played if e.error is not None), key=lambda e: e.key),
        results.duplicates,
        _doubts(played),
        results.files,
        list(runs),
    )


def _verdicts(compared: Sequence[Compared], tasks: Sequence[Tasks]) -> list[tuple[str, str]]:
    """What each is about, and its verdict: over tasks where there are several."""
    covered = {(each.training, each.kind) for each in tasks}
    found = [(each.about, each.verdict) for each in tasks]
    for each in compared:
        if (each.group.training, each.group.kind) not in covered:
            found.append((each.heading, each.verdict))
    return found


def _doubts(episodes: Sequence[Episode]) -> list[str]:
    counts = Counter(doubt for episode in episodes for doubt in episode.doubts)
    sentences = [f"Of {count:,} episodes: {doubt}" for doubt, count in counts.items()]
    note = versions_note(episodes, _usual_versions(episodes))
    return sentences if note is None else [*sentences, note]


def _usual_versions(episodes: Sequence[Episode]) -> dict[str, str | None]:
    """What played most of the episodes."""
    counts = Counter(tuple((each.versions or {}).items()) for each in episodes)
    return dict(counts.most_common(1)[0][0]) if counts else {}
