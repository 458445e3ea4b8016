"""What a picture on white is on a dark page: the same hues, and light where there was dark."""

import re

import numpy as np

# The pages' dark background, which is what white becomes.
BACKGROUND = "#1e2129"
# Below this chroma a colour is paper, ink or a tint of them, and changes places with its opposite.
_GREY = 0.05
# The lightness of white and of black there.
_WHITE, _BLACK = 0.25, 0.93
# Greys between them are nearer to the lighter end, since dim lines on dark are hard to see.
_CONTRAST = 0.6
# Colours of lines are no darker than the first, and keep their order up to the second.
_DARKEST, _RANGE = 0.5, 0.41
_COLOR = re.compile(r"(?<=: )#[0-9a-f]{6}\b")
# From linear RGB to OKLab (Ottosson, 2020), where equal steps of lightness look equal.
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def darken(svg: str) -> str:
    """A drawing for a dark page, of one for a white page that leaves its background out."""
    # What is black says no colour where it is filled.
    svg = svg.replace("<svg ", f'<svg fill="{on_dark("#000000")}" ', 1)
    return _COLOR.sub(lambda match: on_dark(match[0]), svg)


def on_dark(color: str) -> str:
    """The colour, such as `#0072b2`, that takes the place of one on white."""
    if color == "#ffffff":
        return BACKGROUND
    codes = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(codes > 0.04045, ((codes + 0.055) / 1.055) ** 2.4, codes / 12.92)
    lightness, *hue = _LAB @ np.cbrt(_CONES @ linear)
    if np.hypot(*hue) < _GREY:
        lightness = _WHITE + (_BLACK - _WHITE) * (1 - lightness) ** _CONTRAST
    else:
        lightness = _DARKEST + _RANGE * lightness
    # With as much of its chroma as a screen can show at this lightness.
    shares = (_linear(lightness, share * np.array(hue)) for share in np.linspace(1, 0, 51))
    found = next(x for x in shares if x.min() >= -1e-6 and x.max() <= 1 + 1e-6).clip(0, 1)
    codes = np.where(found > 0.0031308, 1.055 * found ** (1 / 2.4) - 0.055, 12.92 * found)
    return "#" + "".join(f"{round(255 * code):02x}" for code in codes)


def _linear(lightness: float, hue: np.ndarray) -> np.ndarray:
    return np.linalg.solve(_CONES, np.linalg.solve(_LAB, np.array([lightness, *hue])) ** 3)
