import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Int

from .._critic import Critic, value_of
from .._results.bootstrap import mean_intervals
from ..data import Windows
from ..plot import add_title, finish_axes, new_figure, WIDTH

BATCH = 256


@dataclasses.dataclass(frozen=True)
class CriticCalibration:
    """What a critic says of windows of data, and what followed them.

    Windows are put into bins by the critic's value, as many in each. `print` shows a table of them.

    **Attributes:**

    - `values`: the critic's, shape `(W,)`, in units of the return.
    - `returns`: of the windows, shape `(W,)`.
    - `episodes`: the number of each window's episode, shape `(W,)`: windows of one episode are no
        independent samples.
    - `bins`: of each window, shape `(W,)`.
    """

    values: np.ndarray
    returns: np.ndarray
    episodes: np.ndarray
    bins: np.ndarray

    @property
    def correlation(self) -> float:
        """Pearson's correlation of value and return; NaN where one of them never changes."""
        with np.errstate(invalid="ignore"):
            return float(np.corrcoef(self.values, self.returns)[0, 1])

    @property
    def explained(self) -> float:
        """The share of the return's variance that the value explains: 1 for a perfect critic, 0 for
        one that says the mean, below 0 for a worse one; NaN where the return never changes."""
        variance = np.var(self.returns)
        if not variance:
            return math.nan
        return float(1 - np.mean((self.values - self.returns) ** 2) / variance)

    @property
    def error(self) -> float:
        """How far the bins' mean values are from their mean returns, averaged over windows."""
        _, said, came = self._means()
        return float(np.sum(np.abs(said - came) * np.bincount(self.bins)) / len(self.bins))

    def _means(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count = np.bincount(self.bins)
        sums = [np.bincount(self.bins, weights=x) for x in (self.values, self.returns)]
        return count, sums[0] / count, sums[1] / count

    def _intervals(self) -> tuple[np.ndarray, np.ndarray]:
        """95% of each bin's mean return, from resampled episodes."""
        shape = int(self.bins.max()) + 1, int(self.episodes.max()) + 1
        sums, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, (self.bins, self.episodes), self.returns)
        np.add.at(counts, (self.bins, self.episodes), 1)
        return mean_intervals(sums, counts)

    def __str__(self) -> str:
        count, said, came = self._means()
        rows = zip(count, said, came, *self._intervals(), strict=True)
        lines = ["windows   value   return [95% over episodes]"]
        lines += [f"{n:7,d}  {v:6.3f}   {r:6.3f} [{a:.3f}, {b:.3f}]" for n, v, r, a, b in rows]
        episodes = len(np.unique(self.episodes))
        return "\n".join(
            [
                *lines,
                f"{len(self.values):,} windows of {episodes:,} episodes: correlation "
                f"{self.correlation:.2f}, {self.explained:.0%} of the variance explained, mean "
                f"error of the bins {self.error:.3f}",
            ]
        )

    def plot(self) -> Any:
        """A matplotlib figure: the mean return of each bin against its mean value."""
        figure = new_figure(WIDTH, 4.2)
        axes = figure.subplots()
        _, said, came = self._means()
        low, high = self._intervals()
        axes.errorbar(said, came, np.abs([came - low, high - came]), marker="o", linestyle="none")
        ends = [min(said.min(), came.min()), max(said.max(), came.max())]
        axes.plot(ends, ends, color="0.5", linestyle="--", linewidth=1)
        axes.set(xlabel="the critic's value", ylabel="return that followed")
        finish_axes(axes, is_rate=False)
        episodes = len(np.unique(self.episodes))
        below = f"{len(self.values):,} windows of {episodes:,} episodes; 95% over episodes"
        add_title(figure, "Is the critic calibrated?", below)
        return figure


def critic_calibration(critic: Critic, windows: Windows, *, num_bins: int = 8) -> CriticCalibration:
    """Compares a critic's values with the returns that followed, on data that it has not seen.

    **Arguments:**

    - `critic`: the critic.
    - `windows`: of held-back episodes, with returns to their end: `returns="monte_carlo"` or
        `"success_to_go"`.
    - `num_bins`: how many bins; fewer where there are fewer windows.

    **Returns:**

    A `CriticCalibration` of all windows.

    **Raises:**

    `ValueError` for windows whose returns are not known to the end, or no bins.
    """
    if windows.to_go is None:
        raise ValueError(
            "Windows with n-step returns leave a rest to be bootstrapped: expected "
            "Windows(..., returns='monte_carlo') or 'success_to_go'."
        )
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}.")
    starts = np.asarray(windows.starts)[: len(windows)]
    # Every call has as many, so that one program serves.
    padded = np.resize(starts, -(-len(starts) // BATCH) * BATCH)
    found = [_ask(critic, windows, jax.device_put(part)) for part in padded.reshape(-1, BATCH)]
    values, returns = (
        np.concatenate([np.asarray(x) for x in several])[: len(starts)].astype(np.float64)
        for several in zip(*found, strict=True)
    )
    ends = np.asarray(windows.dataset.ends)
    episodes = (np.cumsum(ends) - ends)[starts]
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    bins = rank * min(num_bins, len(starts)) // len(starts)
    return CriticCalibration(values, returns, episodes, bins)


@eqx.filter_jit
def _ask(critic: Critic, windows: Windows, starts: Int[Array, " batch"]) -> tuple[Array, Array]:
    batch = jax.vmap(windows.at)(starts)
    return jax.vmap(lambda o, a: value_of(critic, o, a))(batch.observation, batch.action), (
        batch.reward
    )
