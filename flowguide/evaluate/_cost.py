import dataclasses
import inspect

from .._guidance import posterior
from ._conditions import BEST_OF_N, Condition, UNGUIDED

FLOW_STEPS = 10
CRITICS = 2
# Five actions of five entries, as on the cube.
ACTION_SIZE = 25
POSTERIOR_SAMPLES = inspect.signature(posterior).parameters["num_samples"].default


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one action costs, in network evaluations.

    **Attributes:**

    - `velocities`: forward passes of the velocity network.
    - `pullbacks`: backward passes of it, which carry a gradient back to the noisy action.
    - `critic_gradients`: how often the critic's value and its gradient in the action are computed.
    - `critic_values`: how often its value alone is.
    """

    velocities: int
    pullbacks: int = 0
    critic_gradients: int = 0
    critic_values: int = 0

    def forwards(self, critics: int = CRITICS) -> int:
        """The cost in forward passes of one network.

        A gradient in the action needs one product with each weight matrix on the way forth and one
        on the way back: two forward passes. (Three are for training, which also needs the gradient
        in the weights.) A critic is an ensemble of `critics` networks as large as the velocity's,
        which is what `flowguide train` makes by default.
        """
        critic = critics * (2 * self.critic_gradients + self.critic_values)
        return self.velocities + self.pullbacks + critic


def cost(
    condition: Condition, flow_steps: int = FLOW_STEPS, action_size: int = ACTION_SIZE
) -> Cost:
    """What one action (or chunk of actions) of a condition costs.

    **Arguments:**

    - `condition`: what is played; its weight does not matter.
    - `flow_steps`: the number of Euler steps of the policy.
    - `action_size`: the number of entries of a chunk of actions, which `qgf_orthogonal` pays for.

    **Returns:**

    The counts; a method given with `flowguide.register` counts as `qgf`. `bptt` counts each
    velocity of the rest of the flow twice: the backward pass of
    `diffrax.RecursiveCheckpointAdjoint`, the default, computes it again.
    """
    n = flow_steps
    # Step k of n solves the remaining n - k steps.
    rest = n * (n + 1) // 2
    one = {
        UNGUIDED: Cost(n),
        BEST_OF_N: Cost(n),
        "qgf_jacobian": Cost(n, n, n),
        "qgf_regularised": Cost(n, n, n),
        "qgf_orthogonal": Cost(n, n * action_size, n),
        "posterior": Cost(n * (1 + POSTERIOR_SAMPLES), 0, n * POSTERIOR_SAMPLES),
        "cfg": Cost(2 * n),
        "ode": Cost(n + rest, 0, n),
        "bptt": Cost(n + 2 * rest, rest, n),
    }.get(condition.method, Cost(n, 0, n))
    if condition.best_of_n == 1 and condition.method != BEST_OF_N:
        return one
    several = {name: condition.best_of_n * x for name, x in dataclasses.asdict(one).items()}
    return Cost(**{**several, "critic_values": condition.best_of_n})
