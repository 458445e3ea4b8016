import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any


def replace_file(file: Path, write: Callable[[Path], Any]) -> None:
    """Writes beside the file and renames, so that a reader never sees half of it.

    What was there stays if the writing fails or is killed, and of two writers one is whole.
    """
    # A name of its own for each writer, hidden from those who look for `*.jsonl`.
    partial = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        write(partial)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
