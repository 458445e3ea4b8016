"""Code as a user writes it. `test_types.py` has pyright look at it, in strict mode; nobody runs it.

Each line of `assert_type` says what a type checker has to know about what comes back.
"""

import dataclasses
from typing import assert_type

import jax.numpy as jnp
import jax.random as jr
from jax import Array

import flowguide
from flowguide import Cost, evaluate, FlowPolicy, results
from flowguide.evaluate import Agent
from flowguide.results import Condition, Episode, Success


def my_velocity(t: Array, action: Array, observation: Array) -> Array:
    return t * action - observation[:3]


def my_critic(observation: Array, action: Array) -> Array:
    return -jnp.sum((action - observation[:3]) ** 2)


key = jr.key(0)
some = jr.normal(key, (16, 7))
velocity = flowguide.nn.VelocityMLP(7, (3,), (16, 16), key=key)
policy = FlowPolicy(velocity, (3,), num_steps=10, low=-1.0, high=1.0)
assert_type(policy, FlowPolicy)
assert_type(FlowPolicy(my_velocity, (3,)), FlowPolicy)
ensemble = flowguide.nn.critic_ensemble(2, 7, (3,), (16, 16), key=key)
assert_type(ensemble, flowguide.Ensemble)

# The front door.
assert_type(flowguide.guide(policy, my_critic), FlowPolicy)
guided = flowguide.guide(policy, my_critic, method="qgf")
assert_type(guided, FlowPolicy)
assert_type(flowguide.guide(policy, ensemble, method="qgf", weight=0.1), FlowPolicy)
assert_type(flowguide.guide(policy, ensemble, "bptt", kappa=3.0, observations=some), FlowPolicy)
assert_type(flowguide.guide(policy, None, "cfg", weight=2.0), FlowPolicy)
assert_type(flowguide.guide(policy, ensemble, flowguide.qgf(weight=0.1)), FlowPolicy)
assert_type(
    flowguide.guide(policy, ensemble, flowguide.qgf(weight=flowguide.Kappa(3.0, some))), FlowPolicy
)
best = flowguide.guide(policy, ensemble, "best_of_n", n=8)
assert_type(best.n, int)
assert_type(flowguide.guide(policy, ensemble, flowguide.best_of_n(4)).n, int)
assert_type(flowguide.guide(policy, ensemble, "beam", n=4).policy, FlowPolicy)
sequence = flowguide.guide(
    policy, ensemble, [flowguide.qgf(weight=0.1), flowguide.best_of_n(4), "grad_step"]
)
assert_type(sequence, flowguide.AbstractPolicy)
assert_type(flowguide.guide(policy, ensemble, ["qgf", "best_of_n"]), flowguide.AbstractPolicy)
twice = [flowguide.qgf(weight=0.1), flowguide.ood(weight=0.2)]
assert_type(flowguide.guide(policy, ensemble, twice), FlowPolicy)

# Of a name that is chosen later, and of a guidance of one's own.


def chosen(name: str) -> None:
    assert_type(flowguide.guide(policy, ensemble, name, weight=0.1), flowguide.AbstractPolicy)


def nothing(policy: FlowPolicy, critic: flowguide.Critic | None) -> FlowPolicy:
    return policy


assert_type(flowguide.guide(policy, ensemble, nothing), FlowPolicy)

# Another weight, another critic, other fields.
assert_type(flowguide.with_weight(guided, 0.3), FlowPolicy)
assert_type(flowguide.with_weight(guided, some[0, :3]), FlowPolicy)
assert_type(flowguide.with_weight(sequence, flowguide.Relative(0.2)), flowguide.AbstractPolicy)
assert_type(flowguide.with_critic(guided, ensemble), FlowPolicy)
assert_type(dataclasses.replace(guided, num_steps=20), FlowPolicy)
assert_type(guided.unguided, FlowPolicy)
assert_type(guided.guidance, tuple[flowguide.GuidanceTerm, ...])
assert_type(guided.num_steps, int)
assert_type(guided.action_shape, tuple[int, ...])

# Actions.
observation, t = some[0], some[0, 0]
noise = jr.normal(key, guided.noise_shape)
assert_type(flowguide.sample(guided, some, key=key), Array)
assert_type(guided(observation, key=key), Array)
assert_type(guided.from_noise(noise, observation), Array)
assert_type(best.from_noise(jr.normal(key, best.noise_shape), observation), Array)
assert_type(sequence.from_noise(noise, observation), Array)
assert_type(guided.vector_field(t, noise, observation), Array)
assert_type(guided.step(t, noise, observation).value, Array)
trace = guided.trace(noise, observation)
assert_type(trace, flowguide.Trace)
assert_type(trace.actions, Array)
acted = sequence.act(noise, observation)
assert_type(acted, flowguide.Acted)
assert_type(acted.dropped, Array)
assert_type(guided.cost(), Cost | None)
prepared = guided.prepare(observation)
assert_type(guided.from_noise(noise, prepared), Array)
assert_type(flowguide.weight_unit(policy, ensemble, some), Array)

# Weights, guidances and critics.
assert_type(flowguide.qgf(), flowguide.GradientGuidance)
assert_type(flowguide.bptt(weight=0.1).weight is None, bool)
assert_type(flowguide.Kappa(3.0, some).kappa, Array)
assert_type(flowguide.Relative(0.2, skip_first=True).alpha, Array)
assert_type(
    flowguide.ScoreWeight(flowguide.WeightInterval(flowguide.Kappa(3.0), 0.0, 0.5)).cap, Array
)
assert_type(flowguide.describe([flowguide.qgf(0.1), flowguide.best_of_n(4)]), str)
assert_type(ensemble - 0.3 * flowguide.as_critic(my_critic), flowguide.WeightedSum)
assert_type(ensemble(observation, noise), Array)
assert_type(ensemble.members(observation, noise), Array)
assert_type(flowguide.CATALOGUE["qgf"], flowguide.Method)
assert_type(flowguide.CATALOGUE["qgf"].summary, str)


class MyWeight(flowguide.AbstractWeight):
    most: float = 1.0

    def __call__(self, point: flowguide.WeightPoint) -> Array:
        return self.most / jnp.max(jnp.abs(point.gradient))


assert_type(flowguide.guide(policy, my_critic, "qgf", weight=MyWeight()), FlowPolicy)

# Files.
flowguide.save("folder", policy, ensemble)
# A run may have left no critic, or no policy: the reader knows what is there.
loaded: FlowPolicy
loaded, loaded_critic = flowguide.load("folder")
assert_type(flowguide.guide(loaded, loaded_critic, "qgf"), FlowPolicy)

# Evaluation.
episodes = evaluate.evaluate(
    [Agent(policy, ensemble)],
    "cube-single-play-v0",
    {"unguided": None, "qgf 0.1": flowguide.qgf(weight=0.1), "mine": nothing},
    range(10),
)
assert_type(episodes, list[Episode])
assert_type(episodes[0].success, bool | None)
assert_type(episodes[0].cost, Cost | None)
summary = results.summarise(episodes)
assert_type(summary, dict[Condition, Success])
