import dataclasses

CRITICS = 2


@dataclasses.dataclass(frozen=True)
class Cost:
    """What an action costs, in calls of networks. Costs add up, and can be multiplied.

    **Attributes:**

    - `velocities`: forward passes of the velocity network.
    - `pullbacks`: backward passes of it, which carry a gradient back to the noisy action.
    - `critic_values`: how often the critic's value alone is computed.
    - `critic_gradients`: how often its value and its gradient in the action are.
    """

    velocities: int = 0
    pullbacks: int = 0
    critic_values: int = 0
    critic_gradients: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        theirs = dataclasses.astuple(other)
        return Cost(*(a + b for a, b in zip(dataclasses.astuple(self), theirs, strict=True)))

    def __mul__(self, count: int) -> "Cost":
        return Cost(*(count * each for each in dataclasses.astuple(self)))

    __rmul__ = __mul__

    def forwards(self, critics: int = CRITICS) -> int:
        """The cost in forward passes of one network.

        A gradient in the action needs one product with each weight matrix on the way forth and one
        on the way back: two forward passes. (Three are for training, which also needs the gradient
        in the weights.)

        **Arguments:**

        - `critics`: how many networks, as large as the velocity's, a critic is made of; two is what
            `flowguide train` makes by default.
        """
        critic = critics * (2 * self.critic_gradients + self.critic_values)
        return self.velocities + self.pullbacks + critic
