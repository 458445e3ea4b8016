from ..evaluate._drawing import METHOD_STYLES

_MORE = [
    *(("#000000", "x"), ("#8C5A2B", "*"), ("#5A3E8C", "H"), ("#7F7F7F", "<")),
    *(("#332288", "X"), ("#999933", "8")),
]


def style(name: str, number: int) -> tuple[str, str]:
    """Colour and marker of a curve: a method has those that it has in a report."""
    return METHOD_STYLES.get(name) or _MORE[number % len(_MORE)]
