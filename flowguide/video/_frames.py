"""How videos look: panels side by side under strips of text, and the file that they go to."""

import contextlib
import dataclasses
import functools
import itertools
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._results.episodes import Episode
from .._system.files import replace_file

FRAMES_PER_SECOND = 16
# How long the end stays to be read.
HELD_FRAMES = 24
GAP = 4
TITLE_HEIGHT, STRIP_HEIGHT = 30, 46
TITLE_SIZE, LABEL_SIZE, STATUS_SIZE = 15, 16, 14
INK, PAPER, GREY = (30, 30, 30), (255, 255, 255), (110, 110, 110)
# Okabe and Ito's green and vermilion, which colour-blind readers can tell apart.
SOLVED, FAILED = (0, 128, 96), (190, 70, 0)


@dataclasses.dataclass(frozen=True)
class Panel:
    """An episode that was replayed, and its frames.

    **Attributes:**

    - `episode`: as it ended.
    - `frames`: of the start, of every k-th step, and of the end; each `(height, width, 3)`.
    - `every`: k.
    - `as_evaluated`: whether the evaluation ended with the same numbers.
    """

    episode: Episode
    frames: Sequence[np.ndarray]
    every: int
    as_evaluated: bool

    @property
    def summary(self) -> str:
        return f"{self.episode.condition} {self.outcome}"

    @property
    def outcome(self) -> str:
        episode = self.episode
        if episode.error is not None:
            text = "ended with an error"
        elif episode.success is None:
            text = f"return {episode.episode_return:g} after {episode.length} steps"
        elif episode.success:
            text = f"solved after {episode.length} steps"
        else:
            text = f"failed after {episode.length} steps"
        return text if self.as_evaluated else f"{text} (not as evaluated)"

    def status(self, i: int) -> tuple[str, tuple[int, int, int]]:
        """What its strip says at a frame, and in which colour."""
        if i < len(self.frames) - 1:
            return f"step {i * self.every}", GREY
        if self.episode.success is None:
            return self.outcome, INK
        return self.outcome, SOLVED if self.episode.success else FAILED


def side_by_side(panels: Sequence[Panel], note: str = "") -> Iterator[np.ndarray]:
    """The frames of a video: a title, the panels in a row, each under its strip.

    **Arguments:**

    - `panels`: of one episode seed.
    - `note`: to be added to the title, or empty.

    **Returns:**

    As many frames as the longest panel has, and `HELD_FRAMES` more; sizes are even.
    """
    from PIL import Image, ImageDraw

    height = panels[0].frames[0].shape[0]
    widths = [panel.frames[0].shape[1] for panel in panels]
    width = sum(widths) + GAP * (len(panels) - 1)
    # H.264 with colours at half the resolution wants even sizes.
    top = TITLE_HEIGHT + STRIP_HEIGHT
    whole = (width + width % 2, top + height + height % 2)
    image = Image.new("RGB", whole, PAPER)
    draw = ImageDraw.Draw(image)
    episode = panels[0].episode
    _write(draw, (6, 6), _title(episode, note), TITLE_SIZE, width - 12, GREY)
    length = max(len(panel.frames) for panel in panels)
    for i in range(length + HELD_FRAMES):
        left = 0
        for panel, panel_width in zip(panels, widths, strict=True):
            index = min(i, len(panel.frames) - 1)
            draw.rectangle((left, TITLE_HEIGHT, left + panel_width, whole[1]), fill=PAPER)
            _strip(draw, left, panel_width, panel, index)
            frame = Image.fromarray(panel.frames[index])
            image.paste(frame, (left, top))
            # Some scenes are as white as the paper.
            draw.rectangle((left, top, left + panel_width - 1, top + height - 1), outline=GREY)
            left += panel_width + GAP
        yield np.asarray(image)


def _title(episode: Episode, note: str) -> str:
    parts = [episode.task, f"episode seed {episode.episode_seed}"]
    return ", ".join([*parts, note] if note else parts)


def _strip(draw: Any, left: int, width: int, panel: Panel, i: int) -> None:
    text, color = panel.status(i)
    room = width - 12
    top = TITLE_HEIGHT
    _write(draw, (left + 6, top + 2), str(panel.episode.condition), LABEL_SIZE, room, INK)
    _write(draw, (left + 6, top + 24), text, STATUS_SIZE, room, color)


def _write(
    draw: Any, at: tuple[int, int], text: str, size: int, room: int, color: tuple[int, int, int]
) -> None:
    """Writes a line, as large as the room allows."""
    while size > 6 and draw.textlength(text, font=_font(size)) > room:
        size -= 1
    draw.text(at, text, font=_font(size), fill=color)


@functools.cache
def _font(size: int) -> Any:
    # Matplotlib brings its own, so that it is on every machine.
    from matplotlib.font_manager import findfont
    from PIL import ImageFont

    return ImageFont.truetype(findfont("DejaVu Sans"), size)


def write_video(file: Path, frames: Iterator[np.ndarray]) -> None:
    """Writes frames `(height, width, 3)` of even sizes as an mp4 that every browser plays.

    **Raises:**

    `RuntimeError` with what ffmpeg says if it fails.
    """
    from imageio_ffmpeg import get_ffmpeg_exe

    first = next(frames)
    height, width, _ = first.shape
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    rate = ["-r", str(FRAMES_PER_SECOND)]
    # The format is named because the name of the partial file does not end in it.
    wanted = ["-c:v", "libx264", "-crf", "23", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]

    def write(path: Path) -> None:
        # Not by imageio_ffmpeg's own functions: they fork, which with JAX's threads can hang.
        command = [get_ffmpeg_exe(), "-y", "-loglevel", "error", *given, *rate, "-i", "-"]
        command += [*wanted, "-f", "mp4", str(path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdin is not None
        with process:
            # A pipe breaks when ffmpeg has failed, and then it says why.
            with contextlib.suppress(BrokenPipeError):
                for frame in itertools.chain([first], frames):
                    process.stdin.write(frame.tobytes())
            _, said = process.communicate()
        if process.returncode:
            raise RuntimeError(f"ffmpeg could not write {file}: {said.decode()}")

    replace_file(file, write)
