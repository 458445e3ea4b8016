import hashlib
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any


def as_file_name(text: str) -> str:
    """A text as a part of a file's name; two texts never give the same."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("_")
    if name == text:
        return name
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}".lstrip("-")


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
