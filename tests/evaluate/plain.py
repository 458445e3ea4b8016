"""An environment of six steps that says what it is told to."""

import functools
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np

import flowguide as fg
from flowguide.evaluate import Agent, evaluate

LENGTH = 6


class Plain(gymnasium.Env):
    """Six steps, of which each is told what it says."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, **told):
        self.told = told

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.actions = 0, []
        return self.np_random.normal(size=3), {}

    def step(self, action) -> Any:
        self.steps += 1
        self.actions.append(action)
        return np.zeros(3), float(action[0]), False, self.steps == LENGTH, self.info()

    def info(self):
        if "successes" in self.told:
            return {self.told.get("key", "success"): self.told["successes"][self.steps - 1]}
        return {"success": self.told["success"]} if "success" in self.told else {}


def value_is(value, key="success"):
    return functools.partial(Plain, successes=[value] * LENGTH, key=key)


@functools.cache
def agent(low=-1.0, high=1.0, value=0.25):
    def velocity(t, a, o):
        return (value - a) / jnp.maximum(1 - t, 0.1)

    return Agent(fg.FlowPolicy(velocity, (2,), num_steps=2, low=low, high=high))


def play(environment, *seeds, of=None, **options):
    return evaluate(
        *(of or agent(), environment, {"unguided": None}, seeds or (1,)), num_envs=2, **options
    )
