from ..evaluate._drawing import METHOD_STYLES

_MORE = [
    *(("#000000", "x"), ("#8C5A2B", "*"), ("#5A3E8C", "h"), ("#7F7F7F", "<")),
    *(("#A50026", ">"), ("#004D40", "p"), ("#B8860B", "d")),
]


def style(name: str, number: int) -> tuple[str, str]:
    """Colour and marker of a curve: a method has those that it has in a report."""
    return METHOD_STYLES.get(name) or _MORE[number % len(_MORE)]
