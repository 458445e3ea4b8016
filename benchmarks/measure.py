"""Timing that survives a noisy machine: everything in one run, in turns, as medians and ratios."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import jax
import numpy as np


def interleaved(
    calls: dict[str, Callable[[], object]], seconds: float, *, warm: int = 0
) -> dict[str, np.ndarray]:
    """Times each call in turn, again and again, for that many seconds in all.

    `warm` calls go before each that is timed: a policy that acts again and again finds its own
    networks in the processor's cache, and not those of another one.

    **Returns:**

    Seconds a call, shape `(rounds,)`, the same number of rounds for each.
    """
    for call in calls.values():
        jax.block_until_ready(call())
    found: dict[str, list[float]] = {name: [] for name in calls}
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(next(iter(found.values()))) < 5:
        for name, call in calls.items():
            for _ in range(warm):
                jax.block_until_ready(call())
            before = time.perf_counter()
            jax.block_until_ready(call())
            found[name].append(time.perf_counter() - before)
    return {name: np.array(times) for name, times in found.items()}


def ratio(times: np.ndarray, others: np.ndarray) -> str:
    """The median of the ratios, round by round, with their quartiles."""
    low, middle, high = np.quantile(times / others, (0.25, 0.5, 0.75))
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def matrix_product(size: int = 2048) -> tuple[Callable[[], object], float]:
    """A float32 matrix product of this machine, and its number of floating-point operations."""
    matrix = jax.random.normal(jax.random.key(0), (size, size))
    product = jax.jit(lambda a: a @ a)
    return lambda: product(matrix), 2.0 * size**3


def print_machine() -> None:
    """The command, commit and machine that the numbers below belong to."""
    git = ["git", "-C", os.path.dirname(os.path.abspath(__file__)), "describe"]
    commit = subprocess.run([*git, "--always", "--dirty"], capture_output=True, text=True).stdout
    device = jax.devices()[0]
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    print(f"command: python {' '.join(sys.argv)}")
    print(f"commit {commit.strip()}, jax {version('jax')}, diffrax {version('diffrax')}")
    cores = len(os.sched_getaffinity(0))
    print(f"{device.platform} ({device.device_kind}), {cores} cores of {model}\n")
