"""What an npz file says of its arrays before they are read."""

import os
import zipfile

import numpy as np
from numpy.lib import format as npy


def npz_header(file: str | os.PathLike, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the type of an array in an npz file.

    **Raises:**

    `zipfile.BadZipFile`, `KeyError`, `ValueError` or `IndexError` for what is no such file, or has
    no such array.
    """
    with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as stream:
        if npy.read_magic(stream) == (1, 0):
            shape, _, dtype = npy.read_array_header_1_0(stream)
        else:
            shape, _, dtype = npy.read_array_header_2_0(stream)
        return shape, dtype
