import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def replace_file(file: Path, write: Callable[[Path], Any]) -> None:
    """Writes beside the file and renames, so that a reader never sees half of it."""
    partial = file.with_name(file.name + ".partial")
    write(partial)
    os.replace(partial, file)
