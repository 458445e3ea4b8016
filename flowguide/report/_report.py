import datetime
import json
import os
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from .._results.conditions import UNGUIDED
from .._results.tables import markdown, number, Table
from .._system.files import replace_file
from .._system.versions import versions
from ._findings import find, Findings
from ._html import page
from ._picture import Picture
from ._pictures import pictures
from ._read import read_results
from ._runs import find_runs
from ._sections import Key, Section, sections
from ._source import source_table
from ._summary import summary_of

HTML_FILE = "report.html"
MARKDOWN_FILE = "report.md"
SUMMARY_FILE = "summary.json"
VIDEOS = "videos"
# Tables that a terminal has no room for.
ON_THE_PAGE = ("source", "runs")


def report(
    files: Iterable[str | os.PathLike],
    out: str | os.PathLike,
    *,
    baseline: str = UNGUIDED,
    training: str | None = None,
    runs: Iterable[str | os.PathLike] | None = None,
    command: str = "",
    on_message: Callable[[str], Any] = print,
    on_table: Callable[[Table], Any] | None = None,
) -> Path:
    """Writes what results files say: a verdict, tables, pictures, a page, and all numbers.

    Its first line is the verdict: the best guidance against the baseline, and against the best of
    n unguided actions or else the best other method, "undecided" where the interval of a difference
    includes 0.

    `out` gets `report.html`, which needs nothing but itself; `report.md` with the same tables;
    `summary.json` with all numbers; and the pictures as PNG. Videos in `out/videos` go into the
    page. Every number comes with its interval and its count: see `flowguide.results.compare` and
    `flowguide.results.interquartile_mean`. Methods need not be known here: lines say what was
    played and what it cost.

    **Arguments:**

    - `files`: JSON Lines of episodes, and folders of `flowguide tune`. Tasks and trainings in them
        are distinguished; the same line twice counts once.
    - `out`: the folder; made if missing. What it holds of an earlier report is replaced.
    - `baseline`: what all conditions are compared with: a label, or the name of a method of which
        one weight was played.
    - `training`: the name of the training that others are compared with; by default the one with
        the highest success.
    - `runs`: folders of the training runs that played, whose settings and learning curves are
        shown; by default those that lie near the files and have the same policies and critics.
    - `command`: the line that made the report, which it shows.
    - `on_message`: called with each sentence for the user, the verdict first.
    - `on_table`: called with each table of results, before anything is written.

    **Returns:**

    The page.

    **Raises:**

    `ValueError` for files that hold no episodes, or such as do not fit together: one episode with
    two outcomes, two models or two guidances under one name; a baseline that was not played, or a
    training or run that did not play; `FileNotFoundError` for a file that is not there.
    """
    contents = read_report(files, baseline=baseline, training=training, runs=runs, command=command)
    for text in verdict_lines(contents[0]):
        on_message(text)
    if on_table is not None:
        for section in contents[1]:
            if section.key[2] not in ON_THE_PAGE:
                on_table(section.table)
    return write_report(contents, out, on_message=on_message)


def read_report(
    files: Iterable[str | os.PathLike],
    *,
    baseline: str = UNGUIDED,
    training: str | None = None,
    runs: Iterable[str | os.PathLike] | None = None,
    command: str = "",
) -> tuple[Findings, list[Section]]:
    """All numbers of a report and its tables, with nothing written yet."""
    results = read_results(files)
    findings = find(results, baseline, training, find_runs(results, runs))
    return findings, sections(findings, source_table(findings, command))


def verdict_lines(findings: Findings) -> list[str]:
    """The verdicts; of several each with what it is about."""
    several = len(findings.verdicts) > 1
    return [f"{about}: {text}." if several else f"{text}." for about, text in findings.verdicts]


def write_report(
    contents: tuple[Findings, Sequence[Section]],
    out: str | os.PathLike,
    *,
    on_message: Callable[[str], Any] = print,
) -> Path:
    """Writes what `read_report` returned; the rest is as in `report`."""
    findings, parts = contents
    out = Path(out).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    drawn = pictures(findings)
    images: dict[str, bytes] = {}
    left_out: dict[str, list[str]] = {}
    for picture in (picture for several in drawn.values() for picture in several):
        images[picture.name] = _png(picture.figure)
        _write(out / f"{picture.name}.png", images[picture.name])
        if picture.left_out:
            left_out.setdefault(picture.left_out, []).append(f"{picture.name}.png")
    for text, names in left_out.items():
        on_message(f"{text} In {', '.join(names)}.")
    title, introduction = _introduction(findings)
    for text in introduction[1:]:
        on_message(text)
    told = verdict_lines(findings)
    now = datetime.datetime.now(datetime.UTC)
    footer = f"Written {now:%Y-%m-%d %H:%M} UTC by flowguide {versions()['flowguide']}."
    _write(out / MARKDOWN_FILE, _markdown(title, told, introduction, parts, drawn, footer).encode())
    summary = (
        json.dumps(summary_of(findings, parts, sorted(images)), indent=1, allow_nan=False) + "\n"
    )
    _write(out / SUMMARY_FILE, summary.encode())
    videos = sorted((out / VIDEOS).glob("*.mp4"))
    text = page(title, told, introduction, parts, drawn, images, videos, footer)
    _write(out / HTML_FILE, text.encode())
    on_message(
        f"Wrote {out / HTML_FILE}, {MARKDOWN_FILE}, {SUMMARY_FILE} and "
        f"{_things(len(images), 'picture')}."
    )
    return out / HTML_FILE


def _write(file: Path, data: bytes) -> None:
    replace_file(file, lambda path: path.write_bytes(data))


def _png(figure: Any) -> bytes:
    buffer = BytesIO()
    # Without the version of matplotlib in it: the same episodes give the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _introduction(findings: Findings) -> tuple[str, list[str]]:
    groups = [each.group for each in findings.compared]
    tasks = sorted({group.task for group in groups})
    trainings = sorted({group.training for group in groups})
    baselines = sorted({str(each.baseline) for each in findings.compared})
    counted = sum(row.episodes for each in findings.compared for row in each.rows)
    title = tasks[0] if len(tasks) == 1 and tasks[0] else f"{len(tasks)} tasks"
    texts = [
        f"{number(counted)} episodes of {_things(len(tasks), 'task')} and "
        f"{_things(len(trainings), 'way')} of training. Every condition meets the same episode "
        "seeds with the same noise. A row is marked where the interval of its difference to "
        f"{' or '.join(baselines)} does not reach 0; of conditions that differ in nothing, one in "
        "twenty is marked by chance, on average."
    ]
    if findings.errors:
        texts.append(
            f"{_things(len(findings.errors), 'episode')} ended in an error: left out of all "
            "numbers, and listed at the end."
        )
    if findings.duplicates:
        texts.append(f"{_things(findings.duplicates, 'line')} there twice, counted once.")
    texts += findings.doubts
    return f"flowguide report: {title}", texts


def _things(count: int, name: str) -> str:
    return f"{number(count)} {name}{'' if count == 1 else 's'}"


def _markdown(
    title: str,
    told: Sequence[str],
    introduction: Sequence[str],
    parts: Sequence[Section],
    drawn: dict[Key, list[Picture]],
    footer: str,
) -> str:
    lines = [f"## {title}", "", *(text for each in told for text in (f"**{each}**", ""))]
    lines += [text for each in introduction for text in (each, "")]
    for part in parts:
        lines.append(markdown(part.table))
        for picture in drawn.get(part.key, []):
            lines.append(f"![{picture.caption}]({picture.name}.png)\n")
            lines += [f"{picture.left_out}\n"] if picture.left_out else []
    return "\n".join([*lines, footer, ""])
