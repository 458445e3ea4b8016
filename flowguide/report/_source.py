from collections import Counter
from collections.abc import Sequence

from .._results.episodes import Episode
from .._results.tables import mark, number, Table
from ._findings import Findings


def source_table(findings: Findings, command: str) -> Table:
    """Where the numbers come from: the command, the files, how, by what and with which versions.

    **Arguments:**

    - `findings`: what was read.
    - `command`: the line that made the report; empty for none.
    """
    rows = [("command", command)] if command else []
    for file in findings.files:
        said = f"{number(file.episodes)} episodes, last written {file.written}"
        rows.append((file.path, f"{said}, SHA-256 {file.sha256}"))
    for each in findings.compared:
        rows.append((each.heading, _played(each.group.episodes)))
    episodes = [e for each in findings.compared for e in each.group.episodes]
    versions = Counter(tuple((e.versions or {}).items()) for e in episodes)
    for found, count in versions.most_common():
        listed = ", ".join(f"{name} {version or 'not installed'}" for name, version in found)
        rows.append(("played with", f"{listed or 'unknown versions'} ({number(count)} episodes)"))
    return Table("Where it comes from", ("what", "which"), rows, tuple(mark(None) for _ in rows))


def _played(episodes: Sequence[Episode]) -> str:
    """The seeds, the models and the rules of a group, which has one set of rules."""
    seeds = sorted({e.episode_seed for e in episodes})
    models = sorted({(e.train_seed, e.model) for e in episodes})
    parts = [f"episode seeds {seeds[0]} to {seeds[-1]}"]
    parts += [f"training seed {seed}: model {model or 'unknown'}" for seed, model in models]
    rules = episodes[0].rules
    parts.append(", ".join(f"{name} {value}" for name, value in rules.items() if value is not None))
    return "; ".join(parts)
