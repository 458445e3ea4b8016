import dataclasses
import datetime
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from .._near import question
from .._results.conditions import Condition, without_hashes
from .._results.episodes import condition_from, Episode, read_episodes
from .._results.tuned import TEST_FILE, TUNED_FILE, VALIDATION_FILE
from .._run_folder import RunFolder

Kind = Literal["played", "test"]


@dataclasses.dataclass(frozen=True)
class Group:
    """The episodes of one task and one way of training, each once.

    **Attributes:**

    - `task`, `training`: what they share.
    - `kind`: `"played"` by `flowguide evaluate`, or `"test"` episodes of `flowguide tune`. These
        are kept apart: no weight was chosen on them.
    - `episodes`: the episodes.
    """

    task: str
    training: str
    kind: Kind
    episodes: list[Episode]

    @property
    def key(self) -> tuple[str, str, Kind]:
        """The task, the training and the kind."""
        return self.task, self.training, self.kind


@dataclasses.dataclass(frozen=True)
class TunedFolder:
    """What `flowguide tune` left of one task and one way of training.

    **Attributes:**

    - `task`, `training`: what it tuned for.
    - `chosen`: one condition for each curve.
    - `rounds`: of the successive halving: how many conditions were left in each, and how many
        validation episodes each of them had played.
    - `validation`: the episodes that chose.
    - `test`: the group of the episodes that did not.
    """

    task: str
    training: str
    chosen: list[Condition]
    rounds: list[tuple[int, int]]
    validation: list[Episode]
    test: Group


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file that was read.

    **Attributes:**

    - `path`: as it was given, or in the folder that was.
    - `episodes`: how many lines it has.
    - `sha256`: the beginning of its hash.
    - `written`: when, UTC, to the minute.
    """

    path: str
    episodes: int
    sha256: str
    written: str


@dataclasses.dataclass(frozen=True)
class Results:
    """All that a report is about.

    **Attributes:**

    - `groups`: by task and training; tuned ones too, with their test episodes.
    - `tuned`: the tuned ones.
    - `duplicates`: how many lines were there twice and count once.
    - `files`: what was read.
    """

    groups: list[Group]
    tuned: list[TunedFolder]
    duplicates: int
    files: list[SourceFile] = dataclasses.field(default_factory=list)


def read_results(files: Iterable[str | os.PathLike]) -> Results:
    """Reads results files and folders of `flowguide tune`, and refuses what does not fit together.

    **Arguments:**

    - `files`: JSON Lines of episodes, and folders with tuned.json, validation.jsonl and test.jsonl.

    **Raises:**

    `ValueError` for no files, a file without episodes, a folder that is not tuned or is tuned for
    the same as another, the same episode with two outcomes, or episodes of two models or two ways
    of replanning under one name; `FileNotFoundError` for a file that is not there.
    """
    paths = [Path(file).expanduser() for file in files]
    if not paths:
        raise ValueError("A report needs at least one results file, or folder of flowguide tune.")
    played: list[Episode] = []
    tuned: list[TunedFolder] = []
    duplicates = 0
    for path in paths:
        if path.is_dir():
            folder, repeated = _read_tuned(path)
            tuned.append(folder)
            duplicates += repeated
        else:
            played += _read(path)
    played, repeated = _once(played, ", ".join(map(str, paths)))
    _check_tuned(tuned)
    groups = [*_grouped(played), *(each.test for each in tuned)]
    everything = [e for group in groups for e in group.episodes]
    _check_same_agents([*everything, *(e for each in tuned for e in each.validation)])
    groups.sort(key=lambda group: (group.training, group.task, group.kind))
    tuned.sort(key=lambda each: (each.training, each.task))
    read = [path / name for path in paths for name in (VALIDATION_FILE, TEST_FILE) if path.is_dir()]
    sources = [_source(path) for path in [*(p for p in paths if not p.is_dir()), *read]]
    sources.sort(key=lambda file: file.path)
    return Results(groups, tuned, duplicates + repeated, sources)


def _source(path: Path) -> SourceFile:
    text = path.read_bytes()
    written = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    lines = sum(bool(line.strip()) for line in text.splitlines())
    digest = hashlib.sha256(text).hexdigest()[:12]
    return SourceFile(str(path), lines, digest, f"{written:%Y-%m-%d %H:%M} UTC")


def _read(path: Path) -> list[Episode]:
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: expected a results file or a folder.")
    episodes = read_episodes(path)
    if not episodes:
        raise ValueError(f"{path} holds no episodes.")
    return episodes


def _read_tuned(folder: Path) -> tuple[TunedFolder, int]:
    file = folder / TUNED_FILE
    if not file.exists():
        raise ValueError(
            f"{folder} has no {TUNED_FILE}: expected a folder that flowguide tune finished, or the "
            f"results file itself.{question(_results_in(folder))}"
        )
    validation, first = _once(_read(folder / VALIDATION_FILE), str(folder))
    test, second = _once(_read(folder / TEST_FILE), str(folder))
    text = json.loads(file.read_text())
    try:
        task, training = text["task"], text["training"]
        chosen = _chosen(text["chosen"], validation)
        rounds = [(len(each), max(c["episodes"] for c in each)) for each in text["rounds"] if each]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file} is not what flowguide tune writes: {error!r}") from error
    strange = {(e.task, e.training) for e in [*validation, *test]} - {(task, training)}
    if strange:
        raise ValueError(f"{file} is of {(task, training)}, its episodes of {sorted(strange)}.")
    group = Group(task, training, "test", test)
    return TunedFolder(task, training, chosen, rounds, validation, group), first + second


def _results_in(folder: Path) -> list[str]:
    """What a folder holds that a report could be about."""
    tuned = [file.parent for file in folder.glob(f"*/{TUNED_FILE}")]
    files = [file for file in folder.glob("*.jsonl") if file != RunFolder(folder).metrics_file]
    return [str(each) for each in sorted([*files, *tuned])[:3]]


def _chosen(labels: Sequence[Any], validation: Sequence[Episode]) -> list[Condition]:
    """The conditions of labels; flowguide 0.1.0 wrote whole conditions."""
    conditions = {episode.condition.label: episode.condition for episode in validation}
    return [conditions[each] if isinstance(each, str) else condition_from(each) for each in labels]


def _check_tuned(tuned: Sequence[TunedFolder]) -> None:
    seen: set[tuple[str, str]] = set()
    for each in tuned:
        name = each.task, each.training
        if name in seen:
            raise ValueError(
                f"Two folders are tuned for task {each.task!r}, training {each.training!r}: report "
                "them apart, or name their --training differently."
            )
        seen.add(name)
        shared = {(e.train_seed, e.episode_seed) for e in each.validation} & {
            (e.train_seed, e.episode_seed) for e in each.test.episodes
        }
        if shared:
            raise ValueError(
                f"The folder tuned for task {each.task!r} plays {len(shared)} episodes both for "
                "validation and for test: the chosen weights would look too good."
            )


def _grouped(episodes: Sequence[Episode]) -> list[Group]:
    groups: dict[tuple[str, str], list[Episode]] = {}
    for episode in episodes:
        groups.setdefault((episode.task, episode.training), []).append(episode)
    return [Group(task, training, "played", each) for (task, training), each in groups.items()]


def _once(episodes: Sequence[Episode], where: str) -> tuple[list[Episode], int]:
    """The episodes without repetitions, and how many there were."""
    kept: dict[Any, Episode] = {}
    for episode in episodes:
        first = kept.setdefault(episode.key, episode)
        if first is not episode and _outcome(first) != _outcome(episode):
            raise ValueError(
                f"{where}: two outcomes of one episode (task {episode.task!r}, training "
                f"{episode.training!r}, {episode.condition}, training seed {episode.train_seed}, "
                f"episode seed {episode.episode_seed}): {_shown(first)} and {_shown(episode)}. "
                "Report the files apart, or name their --training differently."
            )
        if set(episode.doubts) - set(first.doubts):
            doubts = tuple(dict.fromkeys((*first.doubts, *episode.doubts)))
            kept[episode.key] = dataclasses.replace(first, doubts=doubts)
    return list(kept.values()), len(episodes) - len(kept)


def _outcome(episode: Episode) -> str:
    # As text: a return that is NaN differs from itself. What is doubtful may be known later.
    return repr(dataclasses.replace(episode, doubts=()))


def _shown(episode: Episode) -> str:
    return (
        f"success {episode.success}, return {episode.episode_return:g}, length {episode.length}, "
        f"model {episode.model!r}, guidance {episode.guidance!r}, replan {episode.replan}, error "
        f"{episode.error!r}"
    )


def _check_same_agents(episodes: Sequence[Episode]) -> None:
    """One name must not stand for two agents or guidances: their episodes would be mixed."""
    models: dict[tuple[str, str, int], set[str]] = {}
    rules: dict[tuple[str, str], set[str]] = {}
    guidances: dict[tuple[str, str, str, str], set[str]] = {}
    for e in episodes:
        # Results of earlier versions name no model.
        if e.model:
            models.setdefault((e.task, e.training, e.train_seed), set()).add(e.model)
        rules.setdefault((e.task, e.training), set()).add(str(e.rules))
        if e.guidance:
            label = e.condition.label
            seeded = e.task, e.training, f", training seed {e.train_seed}", label
            guidances.setdefault(seeded, set()).add(e.guidance)
            # Each training seed may have measured from observations of its own.
            alike = without_hashes(e.guidance)
            guidances.setdefault((e.task, e.training, "", label), set()).add(alike)
    for (task, training, seed), different in models.items():
        if len(different) > 1:
            raise ValueError(
                f"Task {task!r}, training {training!r}, training seed {seed} was played by "
                f"{len(different)} models: {sorted(different)}. Report them apart, or name their "
                "--training differently."
            )
    for (task, training), different in rules.items():
        if len(different) > 1:
            raise ValueError(
                f"Task {task!r}, training {training!r} was played by {len(different)} sets of "
                "rules (--replan, --max-episode-steps, --success-at, --rescale): "
                f"{' and '.join(sorted(different))}. Such episodes are no pairs. Report them apart."
            )
    for (task, training, seed, label), different in guidances.items():
        if len(different) > 1:
            raise ValueError(
                f"Task {task!r}, training {training!r}{seed}: the label {label!r} stands for "
                f"{len(different)} guidances: {sorted(different)}. Report them apart, or name them "
                "differently."
            )
