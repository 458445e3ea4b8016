"""One frozen policy, two objectives: the task's value, and the effort of the action.

    python examples/two_objectives.py --runs runs/small --out runs/pictures

The critic is `value - price * effort`; nothing is trained for any price, and none is compiled anew.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from trained import Common, save, trained

import flowguide
from flowguide.plot import add_title, finish_axes, new_panels
from flowguide.results import means


@flowguide.as_critic
def effort(observation, action):
    """The squared length of the whole chunk of actions."""
    return jnp.sum(action**2)


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """What is drawn."""

    prices: tuple[float, ...] = (0, 0.3, 1, 3, 10)
    """Of effort, in standard deviations of the value over the policy's own actions."""

    kappa: float = 10.0
    """The guidance weight, in units of the task."""


@eqx.filter_jit
def act(policy, critic, price, weight, observations, key):
    """Value and effort of a guided action at each observation."""
    guided = flowguide.guide(policy, critic - price * effort, "qgf", weight=weight)
    actions = flowguide.sample(guided, observations, key=key)
    return jax.vmap(critic)(observations, actions), jax.vmap(effort)(observations, actions)


def main(settings: Settings) -> None:
    figure, panels = new_panels(len(settings.tasks), height=2.6)
    for task, axes in zip(settings.tasks, panels, strict=True):
        agents = trained(task, settings.seeds, settings.runs)
        found = np.array([sweep(agent, settings) for agent in agents])
        value, spent = (means(found[:, :, i], "training runs") for i in range(2))
        print(f"{task}: {value}")
        for i, price in enumerate(settings.prices):
            shown = [f"{x.value[i]:.2f} [{x.low[i]:.2f}, {x.high[i]:.2f}]" for x in (value, spent)]
            print(f"  price {price:>5g}: value {shown[0]}, effort {shown[1]}")
        axes.errorbar(
            *(spent.value, value.value),
            yerr=[value.value - value.low, value.high - value.value],
            xerr=[spent.value - spent.low, spent.high - spent.value],
            color="#0072B2",
            marker="o",
            capsize=2,
            elinewidth=0.8,
        )
        for price, x, y in zip(settings.prices, spent.value, value.value, strict=True):
            axes.annotate(f"{price:g}", (x, y), (7, 5), textcoords="offset points", fontsize=8)
        axes.set(title=task.removesuffix("-v0"), xlabel="effort", ylabel="the critic's value")
        axes.margins(x=0.12)
        axes.title.set_fontsize(9)
        finish_axes(axes, is_rate=False)
    below = f"{len(settings.seeds)} training runs, 95% intervals; numbers are prices of effort"
    add_title(figure, "Two objectives with one policy", below)
    save(figure, settings.out, "two_objectives")


def sweep(agent, settings: Settings) -> list[tuple[float, float]]:
    """Mean value and effort at each price."""
    free = flowguide.sample(agent.policy, agent.observations, key=jax.random.key(1))
    spread = float(jnp.std(jax.vmap(agent.critic)(agent.observations, free)))
    scale = spread / float(jnp.mean(jax.vmap(effort)(agent.observations, free)))
    unit = flowguide.weight_unit(agent.policy, agent.critic, agent.observations)
    weight = settings.kappa * unit
    found = []
    for price in settings.prices:
        inputs = (jnp.float32(price * scale), weight, agent.observations, jax.random.key(0))
        found.append(tuple(float(x.mean()) for x in act(agent.policy, agent.critic, *inputs)))
    return found


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
