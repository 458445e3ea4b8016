"""One handover from chunk to chunk where everything is known: does guidance stay in the data?

    python examples/handover.py --out docs/images

The data are a mixture of four Gaussians over trajectories, round an obstacle to the left or right,
near or wide. So the policy's velocity, the density of its chunks and the right continuation of what
was played have closed forms. examples/chunking.py plays whole episodes instead.
"""

import dataclasses
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import tyro
from trained import save

import flowguide
from flowguide.plot import (
    add_legend,
    add_title,
    finish_axes,
    method_style,
    name_outer,
    new_panels,
)
from flowguide.results import Means, means, success

CHUNK, EXECUTED = 16, 8  # Actions of a chunk, and how many are played before the next is asked for.
LENGTH = EXECUTED + CHUNK
SIDEWAYS = np.array([1.0, -1.0, 1.6, -1.6])  # Of each mode: the fastest that it goes out.
SMOOTH, ROUGH = 0.2, 0.05  # Deviations of what a mode leaves open: from step to step, and within.
START = 1.0  # Deviation of where the point begins, so that where it is tells little of its mode.
SAMPLES = 16
NAMES = ("jump", "apart", "chunk", "played")
TITLES = {
    "apart": "distance to\nwhat was played",
    "other mode": "chunks of\nanother mode",
    "chunk": "log density, less\nthe unguided one's (nats)",
}
# What is 0 by definition, or has gone through no flow step.
NOT_DRAWN = {"apart": ["exact continuation"], "chunk": ["no coherence", "exact continuation"]}
# Of each cap a picture. Exact and dropped have the colours of their methods.
CAPS = {"handover": "cap 5", "handover_linear": "cap 10, linear"}
STYLES = {
    "no coherence": method_style("", 3),
    "exact Jacobian": method_style("qgf_jacobian", 0),
    "dropped Jacobian": method_style("qgf", 0),
    f"nearest of {SAMPLES}": method_style("", 1),
    "exact continuation": method_style("", 0),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured."""

    delays: tuple[int, ...] = (0, 2, 4, 6)
    """How many actions are played while a chunk is computed, at most 7."""

    steps: tuple[int, ...] = (5, 10)
    """Flow steps."""

    pairs: int = 2000
    """Handovers of each arm. All arms have the same ones, and the same noise."""

    out: Path = Path("docs/images")
    """Where the picture goes."""


class Mixture(eqx.Module):
    """The field from noise to a mixture of Gaussians that have one covariance.

    The observation is what is left of the mixture where the point is: the modes' log weights, and
    the means of their chunks.
    """

    variances: jax.Array  # Of each axis, (2, CHUNK), along
    directions: jax.Array  # its principal directions, the columns of (2, CHUNK, CHUNK).

    def __call__(self, t, action, observation):
        log_weights, chunks = observation
        away = self._turned(action - t * chunks)
        variances = (1 - t) ** 2 + t**2 * self.variances
        near = jax.nn.softmax(log_weights - jnp.sum(away**2 / variances, axis=(1, 2)) / 2)
        towards = jnp.einsum(
            "xij,kxj->kix", self.directions, (t * self.variances - (1 - t)) / variances * away
        )
        return jnp.einsum("k,kix->ix", near, chunks + towards)

    def log_joint(self, chunk, observation):
        """The log density of a chunk and each of the modes, but for a constant."""
        log_weights, chunks = observation
        away = self._turned(chunk - chunks)
        return log_weights - jnp.sum(away**2 / self.variances, axis=(1, 2)) / 2

    def _turned(self, away):
        return jnp.einsum("xij,kix->kxj", self.directions, away)


@dataclasses.dataclass(frozen=True)
class Handovers:
    """Trajectories of the data, and what the policy sees after `EXECUTED` actions of each."""

    played: np.ndarray  # Actions (pairs, LENGTH, 2). The old chunk is the first 16 of them.
    mode: np.ndarray
    log_weights: np.ndarray  # (pairs, modes), where the point is.
    chunks: np.ndarray  # (pairs, modes, CHUNK, 2)
    covariance: np.ndarray  # (2, CHUNK, CHUNK), of each axis.

    @property
    def velocity(self) -> Mixture:
        variances, directions = np.linalg.eigh(self.covariance)
        return Mixture(jnp.asarray(variances, jnp.float32), jnp.asarray(directions, jnp.float32))


def handovers(count: int, seed: int = 0) -> Handovers:
    """Some of the data."""
    rng = np.random.default_rng(seed)
    step = np.arange(LENGTH)
    out = np.sin(np.pi * np.clip((step - 4) / CHUNK, 0, 1)) ** 2
    centre = np.zeros((len(SIDEWAYS), LENGTH, 2))
    centre[:, :, 1] = SIDEWAYS[:, None] * out
    apart = step[:, None] - step
    covariance = SMOOTH**2 * np.exp(-((apart / 3) ** 2) / 2) + ROUGH**2 * np.eye(LENGTH)
    mode = rng.integers(len(SIDEWAYS), size=count)
    noise = rng.normal(size=(count, LENGTH, 2))
    played = centre[mode] + np.einsum("ij,njx->nix", np.linalg.cholesky(covariance), noise)
    start = START * np.stack([np.zeros(count), rng.normal(size=count)], axis=1)
    position = start + played[:, :EXECUTED].sum(axis=1)
    # What where the point is tells of the modes, and of the actions to come.
    summed, after = covariance[:EXECUTED, :EXECUTED].sum(), covariance[EXECUTED:, :EXECUTED].sum(1)
    variance = summed + np.array([0, START**2])
    surprise = position[:, None] - centre[:, :EXECUTED].sum(axis=1)
    gain = after[:, None] / variance
    return Handovers(
        played,
        mode,
        -(surprise**2 / variance).sum(axis=-1) / 2,
        centre[:, EXECUTED:] + gain * surprise[:, :, None],
        np.stack([covariance[EXECUTED:, EXECUTED:] - np.outer(after, after) / v for v in variance]),
    )


def continuations(data: Handovers, delay: int, seed: int = 1) -> np.ndarray:
    """Chunks of the policy's own distribution, given the `delay` actions that are played."""
    rng = np.random.default_rng(seed)
    known, count = data.played[:, None, EXECUTED:][:, :, :delay], len(data.mode)
    away = known - data.chunks[:, :, :delay]
    log_weights, centre, factors = data.log_weights.copy(), data.chunks.copy(), []
    for axis, covariance in enumerate(data.covariance):
        inverse = np.linalg.inv(covariance[:delay, :delay])
        gain = covariance[:, :delay] @ inverse
        log_weights -= np.einsum("nki,ij,nkj->nk", away[..., axis], inverse, away[..., axis]) / 2
        centre[..., axis] += np.einsum("ij,nkj->nki", gain, away[..., axis])
        left = covariance[delay:, delay:] - gain[delay:] @ covariance[:delay, delay:]
        factors.append(np.linalg.cholesky(left))
    chosen = np.argmax(log_weights + rng.gumbel(size=log_weights.shape), axis=1)
    found = centre[np.arange(count), chosen]
    noise = rng.normal(size=(count, CHUNK - delay, 2))
    found[:, delay:] += np.einsum("xij,njx->nix", np.stack(factors), noise)
    return found


def arms() -> dict[str, tuple[Any, str]]:
    """What is compared, by name: guidance, and the coherence's schedule."""
    five, ten = (flowguide.RealTimeWeight(cap=cap) for cap in (5, 10))
    return {
        "no coherence": ([], "exp"),
        "exact Jacobian, cap 5": (flowguide.qgf_jacobian(five), "exp"),
        "dropped Jacobian, cap 5": (flowguide.qgf(five), "exp"),
        "exact Jacobian, cap 10, linear": (flowguide.qgf_jacobian(ten), "linear"),
        "dropped Jacobian, cap 10, linear": (flowguide.qgf(ten), "linear"),
        "nearest of 4": (flowguide.best_of_n(4), "exp"),
        f"nearest of {SAMPLES}": (flowguide.best_of_n(SAMPLES), "exp"),
    }


@eqx.filter_jit
def sample(policy, guidance, schedule: str, delay, left, observations, keys):
    """The next chunk of each handover."""

    def one(left, observation, key):
        keep = flowguide.coherence(left, delay=delay, schedule=schedule)
        guided = flowguide.guide(policy, keep, guidance)
        # The first noise is that of all arms.
        noise = jr.normal(key, (SAMPLES, CHUNK, 2))
        chosen = noise[: guided.noise_shape[0]] if len(guided.noise_shape) == 3 else noise[0]
        return guided.from_noise(chosen, observation)

    return jax.lax.map(lambda x: one(*x), (left, observations, keys), batch_size=250)


def measure(data: Handovers, new: np.ndarray, free: np.ndarray, delay: int) -> Any:
    """Which chunks are of another mode than the old one, and for each chunk what `NAMES` say."""
    velocity, observations = data.velocity, (data.log_weights, data.chunks)
    log_joint = jax.jit(jax.vmap(velocity.log_joint))

    def density(chunks):
        return np.asarray(jax.nn.logsumexp(log_joint(chunks, observations), axis=1))

    old = data.played[:, EXECUTED:]
    played = np.concatenate([old[:, :delay], new[:, delay:]], axis=1)
    before = data.played[:, EXECUTED + delay - 1]
    jump, without = (np.linalg.norm(x[:, delay] - before, axis=1) for x in (played, old))
    apart = np.sum((new - old)[:, :delay] ** 2, axis=(1, 2)) / (2 * delay or np.nan)
    found = [jump - without, np.sqrt(apart), density(new) - density(free)]
    is_other = np.argmax(log_joint(new, observations), axis=1) != data.mode
    return is_other, np.stack([*found, density(played) - density(old)], axis=1)


def main(settings: Settings) -> None:
    data = handovers(settings.pairs)
    keys = jr.split(jr.key(0), settings.pairs)
    left = jnp.asarray(data.played[:, EXECUTED:CHUNK], jnp.float32)
    seen = jnp.asarray(data.log_weights, jnp.float32), jnp.asarray(data.chunks, jnp.float32)
    found: dict[int, dict[int, Any]] = {}
    for steps in sorted(settings.steps):
        policy = flowguide.FlowPolicy(
            data.velocity, (CHUNK, 2), num_steps=steps, low=-jnp.inf, high=jnp.inf
        )
        found[steps] = {}
        for delay in settings.delays:
            new = {
                name: np.asarray(
                    sample(policy, guidance, schedule, jnp.int32(delay), left, seen, keys),
                    np.float64,
                )
                for name, (guidance, schedule) in arms().items()
            }
            new["exact continuation"] = continuations(data, delay)
            new["the data"] = data.played[:, EXECUTED:]
            free = new["no coherence"]
            each = {name: measure(data, chunks, free, delay) for name, chunks in new.items()}
            found[steps][delay] = each
            print(f"\n{steps} flow steps, delay {delay}, {settings.pairs} handovers")
            show(each, policy)
    for name, cap in CAPS.items():
        save(plot(found, settings.pairs, cap), settings.out, name)


def show(found: dict[str, Any], policy: flowguide.FlowPolicy) -> None:
    """Prints a table, and the differences of the paired chunks."""
    print(f"| arm | other mode | {' | '.join(NAMES)} | passes |\n|---|---|---|---|---|---|---|")
    keep, known = flowguide.coherence(jnp.zeros((EXECUTED, 2))), arms()
    for name, (is_other, measured) in found.items():
        cost = "-"
        if name in known:
            # The critic is no network: it costs next to nothing.
            cost = flowguide.guide(policy, keep, known[name][0]).cost().forwards(critics=0)
        cells = _cells(means(measured))
        print(f"| {name} | {success(is_other)} | {' | '.join(cells)} | {cost} |")
    for name in (name for name in found if name.startswith("exact Jacobian")):
        exact, dropped = found[name], found[name.replace("exact", "dropped")]
        more, fewer = np.sum(exact[0] & ~dropped[0]), np.sum(dropped[0] & ~exact[0])
        cells = _cells(means(exact[1] - dropped[1]))
        shown = ", ".join(" ".join(x) for x in zip(NAMES, cells, strict=True))
        print(f"{name}, less dropped: other mode +{more} -{fewer}, {shown}")


def _cells(found: Means) -> list[str]:
    cells = zip(found.value, found.low, found.high, strict=True)
    return ["-" if np.isnan(x[0]) else "{:.3f} [{:.3f}, {:.3f}]".format(*x) for x in cells]


def plot(found: dict[int, dict[int, Any]], count: int, cap: str) -> Any:
    """What `TITLES` say, against the delay, of the arms of one cap: a column for each number of
    flow steps."""
    figure, panels = new_panels(
        len(TITLES) * len(found), columns=len(found), sharex=True, sharey="row"
    )
    each = [(quantity, steps) for quantity in TITLES for steps in found]
    for (quantity, steps), axes in zip(each, panels, strict=True):
        by_delay = found[steps]
        for name, (color, marker) in STYLES.items():
            if name in NOT_DRAWN.get(quantity, []):
                continue
            arm = f"{name}, {cap}" if "Jacobian" in name else name
            value, low, high = np.transpose([_of(by_delay[d][arm], quantity) for d in by_delay])
            axes.errorbar(
                *(list(by_delay), value, [value - low, high - value]),
                color=color,
                marker=marker,
                markersize=4,
                capsize=2,
                label=name,
            )
        axes.set(xlabel="delay, in actions", ylabel=TITLES[quantity], xticks=list(by_delay))
        if quantity == "apart":
            axes.set_title(f"{steps} flow steps", fontsize=9)
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        finish_axes(axes, is_rate=False)
    name_outer(panels)
    add_legend(figure, panels)
    below = f"{count} paired handovers for each point, 95% intervals"
    add_title(figure, f"One handover from chunk to chunk, {cap}", below)
    return figure


def _of(found: Any, quantity: str) -> list[float]:
    is_other, measured = found
    if quantity == "other mode":
        rate = success(is_other)
        return [rate.value, rate.low, rate.high]
    mean = means(measured[:, NAMES.index(quantity)])
    return [float(x) for x in (mean.value, mean.low, mean.high)]


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
