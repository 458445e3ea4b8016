from collections.abc import Iterable, Sequence

from .conditions import Condition
from .episodes import Episode

SHOWN = 5


def dropped_note(episodes: Sequence[Episode]) -> str:
    """A sentence about the conditions whose guidance was dropped in some steps; empty if none."""
    shares: dict[Condition, list[float]] = {}
    for episode in episodes:
        if episode.dropped is not None:
            shares.setdefault(episode.condition, []).append(episode.dropped)
    return note_of((c, sum(found) / len(found)) for c, found in sorted(shares.items()))


def note_of(shares: Iterable[tuple[Condition, float | None]]) -> str:
    """The same, of the mean shares of conditions."""
    found = [(condition, share) for condition, share in shares if share]
    if not found:
        return ""
    found.sort(key=lambda each: -each[1])
    shown = ", ".join(f"{condition} ({_percent(share)})" for condition, share in found[:SHOWN])
    if len(found) > SHOWN:
        shown += f" and {len(found) - SHOWN} more"
    return (
        "Steps of the flow that were left unguided, because a gradient was not finite, as a share "
        f"of all: {shown}."
    )


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "below 0.1%"
