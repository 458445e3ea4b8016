from collections.abc import Callable

from jaxtyping import Array, Float

from .._pytree import PyTree
from .arithmetic import CriticArithmetic
from .value import Critic, critic_at, members_of, value_of


class EncodedCritic(CriticArithmetic):
    """A critic that is asked about `encode(observation)`, such as one vector for a dictionary.

    ```python
    # Those of the data.
    observations = {"state": jnp.ones((100, 3)), "image": jnp.ones((100, 8, 8))}
    encode = flowguide.nn.Standardise(observations)
    key = jax.random.key(0)
    members = flowguide.nn.critic_ensemble(4, encode.size, (8, 4), key=key)
    critic = flowguide.EncodedCritic(members, encode)
    ```

    **Arguments:**

    - `critic`: a critic of the encoded observation, an ensemble or not. One that is conditioned on
        noise goes around this one.
    - `encode`: a callable of the observation. It is called wherever the critic is: what is costly
        belongs into the policy's own `encode`. Where it is an `equinox.Module` its arrays learn
        with the critic.
    """

    critic: Critic
    encode: Callable[[PyTree], PyTree]

    def at(self, t: float | Float[Array, ""]) -> "EncodedCritic":
        """The critic that is asked about an action of cleanness `t`."""
        return EncodedCritic(critic_at(self.critic, t), self.encode)

    def members(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, " K"]:
        """The values of the members of `critic`, shape `(K,)`."""
        return members_of(self.critic, self.encode(observation), action)

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        return value_of(self.critic, self.encode(observation), action)
