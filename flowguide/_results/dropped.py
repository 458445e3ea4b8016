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
    return note_of((c, sum(several) / len(several)) for c, several in sorted(shares.items()))


def note_of(shares: Iterable[tuple[Condition, float | None]]) -> str:
    """The same, of the mean shares of conditions."""
    dropped = [(condition, share) for condition, share in shares if share]
    if not dropped:
        return ""
    dropped.sort(key=lambda each: -each[1])
    listed = ", ".join(f"{condition} ({_percent(share)})" for condition, share in dropped[:SHOWN])
    if len(dropped) > SHOWN:
        listed += f" and {len(dropped) - SHOWN} more"
    return (
        "Steps of the flow that were left unguided, because a gradient was not finite, as a share "
        f"of all: {listed}."
    )


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "below 0.1%"
