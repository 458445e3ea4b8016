"""Files of pictures."""

import io
import os
import re
from pathlib import Path
from typing import Any

from ._dark import darken

# Of a drawing as a page shows it, for an inch of the figure: text of 8 points has 16 pixels, as
# that of a page, and `WIDTH` is the width of its column.
_PIXELS = 144
# Text stays text, which keeps files small and can be searched; it is set in the font of the page
# around it. Matplotlib's own font, which lines and legends leave room for, is wider than all of
# these.
_FONTS = "-apple-system, BlinkMacSystemFont, 'Segoe UI', Helvetica, Arial, sans-serif"
_FAMILY = re.compile(r"; font-family: 'DejaVu Sans'[^;\"]*")
# What says nothing: turns by nothing, and white space between elements.
_NOTHING = re.compile(r' transform="rotate\(-0 [^)]*\)"|(?<=\n) +')
_SIZE = re.compile(r'width="[\d.]+pt" height="[\d.]+pt"')
_NUMBER = re.compile(r"\d+\.\d+")
_GAP = re.compile(r"\s*\b([MLQCz])\s+")
_PLACES = re.compile(r'(?<= d=")[^"]*|(?<=<use )[^>]*|(?<= (?:x|y)=")[^"]*|rotate\([^)]*\)')


def save_picture(figure: Any, file: str | os.PathLike) -> list[Path]:
    """Writes a picture; a drawing for pages, `.svg`, with a twin for dark ones.

    `NAME.svg` and `NAME-dark.svg` have no background, are 144 pixels wide for an inch of the
    figure, and are set in the reader's own font. The same figure is the same bytes.

    **Arguments:**

    - `figure`: matplotlib's.
    - `file`: where it goes; other endings than `.svg` are as matplotlib has them.

    **Returns:**

    The files that were written.
    """
    file = Path(file)
    if file.suffix != ".svg":
        figure.savefig(file)
        return [file]
    light, dark = file, file.with_stem(f"{file.stem}-dark")
    drawing = _drawing(figure)
    light.write_text(drawing)
    dark.write_text(darken(drawing))
    return [light, dark]


def _drawing(figure: Any) -> str:
    import matplotlib

    options: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "flowguide",
        "path.simplify_threshold": 0.2,
    }
    buffer = io.StringIO()
    with matplotlib.rc_context(options):
        # Neither when it was drawn nor with what.
        metadata = {"Date": None, "Creator": None}
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    width, height = (round(_PIXELS * inches) for inches in figure.get_size_inches())
    head = f'style="font-family: {_FONTS}" width="{width}" height="{height}"'
    drawing = _SIZE.sub(head, buffer.getvalue(), count=1)
    drawing = _NOTHING.sub("", _FAMILY.sub("", drawing))
    return _PLACES.sub(lambda match: _GAP.sub(r"\1", _NUMBER.sub(_short, match[0])), drawing)


def _short(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")
