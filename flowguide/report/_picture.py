import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure, what it shows, and what it does not.

    **Attributes:**

    - `name`: of the file, without its ending.
    - `figure`: matplotlib's.
    - `caption`: what is to be seen.
    - `left_out`: what there was no room for; empty if nothing.
    """

    name: str
    figure: Any
    caption: str
    left_out: str = ""
