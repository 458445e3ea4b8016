import difflib
from collections.abc import Iterable, Sequence


def near_names(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Those of the known names that a misspelt one is nearest to, the nearest first."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)


def did_you_mean(name: str, known: Iterable[str], *, count: int = 3) -> str:
    """A question to go at the end of an error, with a space before it; empty if none is near."""
    return question(near_names(name, known, count=count))


def question(meant: Sequence[str]) -> str:
    """The same, where what may have been meant is known."""
    return f" Did you mean {' or '.join(map(repr, meant))}?" if meant else ""
