import difflib
from collections.abc import Iterable


def near_names(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Those of the known names that a misspelt one is nearest to, the nearest first."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)


def did_you_mean(name: str, known: Iterable[str], *, count: int = 3) -> str:
    """A question to go at the end of an error, with a space before it; empty if none is near."""
    near = near_names(name, known, count=count)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
