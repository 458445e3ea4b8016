import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

from .._critic import Critic, value_of
from .._dtypes import as_float
from .._policy import AbstractPolicy, raw_observation
from .._results.means import Means, means
from .._rollout.by_name import make_environment
from .._rollout.player import EpisodePlayer, play_episode
from ..plot import add_title, finish_axes, method_style, name_outer, new_panels


@dataclasses.dataclass(frozen=True)
class CriticError:
    """What a critic claims of guided actions, and what they returned.

    **Attributes:**

    - `names`: of the policies, P of them.
    - `claimed`: the critic's value of the first action of each episode, shape `(P, E)`.
    - `returned`: the discounted sum of the rewards from there on, shape `(P, E)`.
    - `truncated`: whether the episode was cut short, so that the rest of its return is unknown,
        shape `(P, E)`. At most `discount ** length` of a value is missing.
    """

    names: tuple[str, ...]
    claimed: np.ndarray
    returned: np.ndarray
    truncated: np.ndarray

    @property
    def error(self) -> Means:
        """What is claimed too much, `Means` over episodes of shape `(P,)`."""
        return means((self.claimed - self.returned).T, "episodes")

    def plot(self) -> Any:
        """A matplotlib figure: claims against returns, one point an episode, and their means.

        Each policy has a panel, and on its dashed line the critic is right.
        """
        figure, panels = new_panels(len(self.names), sharex=True, sharey=True)
        ends = [np.min([self.returned, self.claimed]), np.max([self.returned, self.claimed])]
        for i, (name, axes) in enumerate(zip(self.names, panels, strict=True)):
            color, marker = method_style(name, i)
            axes.plot(
                *(self.returned[i], self.claimed[i]),
                color=color,
                marker=marker,
                markersize=4,
                alpha=0.35,
                linestyle="none",
            )
            axes.plot(
                *([self.returned[i].mean()], [self.claimed[i].mean()]),
                color=color,
                marker=marker,
                markersize=10,
                markeredgecolor="black",
                linestyle="none",
            )
            axes.plot(ends, ends, color="0.5", linestyle="--", linewidth=1)
            axes.set_title(f"{name}: {_signed(self.error[i])}", fontsize=9)
            axes.set(xlabel="discounted return", ylabel="claim at the start")
            finish_axes(axes, is_rate=False)
        name_outer(panels)
        below = f"{self.claimed.shape[1]} episodes each; claimed too much, with 95% interval"
        add_title(figure, "The critic's error on guided actions", below)
        return figure


def _signed(error: Means) -> str:
    return f"{error.value:+.1f} [{error.low:+.1f}, {error.high:+.1f}]"


def critic_error(
    policies: Mapping[str, AbstractPolicy],
    critic: Critic,
    environment: str | Callable[[], gymnasium.Env],
    episode_seeds: Sequence[int],
    *,
    discount: float,
    key: PRNGKeyArray,
) -> CriticError:
    """Plays episodes with guided policies and compares their returns with what the critic claimed.

    **Arguments:**

    - `policies`: by name, guided or not; chunks of actions are played open loop.
    - `critic`: the critic whose claims are checked.
    - `environment`: as for `flowguide.evaluate.evaluate`; observations are an array.
    - `episode_seeds`: one episode of each policy for each of them, with the same noise.
    - `discount`: for each environment step, as the critic was trained with.
    - `key`: of the policies' noise.

    **Returns:**

    A `CriticError`. Episodes are played one after the other, in this process.

    **Raises:**

    `ValueError` for an unknown environment, or no policy; `RuntimeError` for an episode that ends
    with an error.
    """
    if not policies:
        raise ValueError("Expected at least one policy, got none.")
    player = EpisodePlayer(make_environment(environment), 1)
    try:
        episodes = [
            [_play(policy, critic, player, seed, discount, key) for seed in episode_seeds]
            for policy in policies.values()
        ]
    finally:
        player.close()
    claimed, returned, truncated = np.moveaxis(np.array(episodes, np.float64), 2, 0)
    return CriticError(tuple(policies), claimed, returned, truncated.astype(bool))


def _play(
    policy: AbstractPolicy,
    critic: Critic,
    player: EpisodePlayer,
    seed: int,
    discount: float,
    key: PRNGKeyArray,
) -> tuple[float, float, bool]:
    """The claim at the start, the discounted return, and whether the episode was cut short."""
    key = jr.fold_in(key, seed)
    claims: list[float] = []

    def choose(observation: PyTree, decision: int) -> Array:
        seen = jax.tree.map(as_float, observation)
        action, value = _choose(policy, critic, seen, jr.fold_in(key, decision))
        claims.append(float(value))
        return action

    record = play_episode(player, seed, choose)
    if record["error"]:
        raise RuntimeError(f"The episode of seed {seed} ended with an error: {record['error']}")
    rewards = np.array(player.rewards)
    returned = np.sum(rewards * discount ** np.arange(len(rewards)))
    return claims[0], float(returned), player.is_truncated


@eqx.filter_jit
def _choose(
    policy: AbstractPolicy, critic: Critic, observation: PyTree, key: PRNGKeyArray
) -> tuple[Array, Array]:
    observation = jax.tree.map(jnp.asarray, observation)
    prepared = policy.prepare(observation)
    action = policy(prepared, key=key)
    return action, value_of(critic, raw_observation(prepared), action)
