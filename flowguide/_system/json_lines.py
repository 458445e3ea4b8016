"""Files of JSON Lines, as they are after editors and killed processes."""

import json
from pathlib import Path
from typing import Any


def read_json_lines(file: Path, what: str) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a file, each with the number of its line.

    Empty lines, a byte order mark and a missing end of the last line, which editors leave, change
    nothing. A last line without its end that begins as an object and is none is what a killed
    process leaves behind: it is left out.

    **Arguments:**

    - `file`: JSON Lines; nothing if there is no such file.
    - `what`: a line is, for the error, such as `"episode"`.

    **Raises:**

    `ValueError` naming the line that is no object, or the file that is no text.
    """
    if not file.exists():
        return []
    try:
        *lines, last = file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no text: expected JSON Lines, one {what} each.") from error
    values = []
    for number, line in enumerate([*lines, last], start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            if number > len(lines) and line.lstrip().startswith("{"):
                break
            raise ValueError(f"{file}, line {number}, is no {what}: {error!r}") from error
        if not isinstance(value, dict):
            raise ValueError(f"{file}, line {number}, is no {what}: it is {value!r}")
        values.append((number, value))
    return values
