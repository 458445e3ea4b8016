# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from typing import Any

import equinox as eqx
import torch
from jaxtyping import Array, Float

from .._critic import as_critic, Critic, critic_at, CriticArithmetic, members_of, value_of
from .._pytree import PyTree
from ..torch import critic as torch_critic
from ._units import action_units, Affine, observation_units


class UnpaddedCritic(CriticArithmetic):
    """A critic of a robot's actions as one of a policy's: unpadded, and in the critic's units.

    **Attributes:**

    - `critic`: what is asked, about actions of shape `(horizon, action_size)`.
    - `action_size`: how many entries of an action are the robot's.
    - `horizon`: how many actions of a chunk it is asked about.
    - `action_units`, `observation_units`: the maps to the critic's units, of the observation's
        entries by name; None and none where they are the policy's.
    """

    critic: Any
    action_size: int = eqx.field(static=True)
    horizon: int = eqx.field(static=True)
    action_units: Affine | None
    observation_units: dict[str, Affine]

    def at(self, t: float | Float[Array, ""]) -> Critic:
        """The critic that is asked about an action of cleanness `t`."""
        return eqx.tree_at(
            lambda s: s.critic, self, critic_at(self.critic, t), is_leaf=lambda x: x is None
        )

    def members(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, " K"]:
        """The values of the critics that it is made of, shape `(K,)`."""
        return members_of(self.critic, *self._asked(observation, action))

    def __call__(self, observation: PyTree, action: Float[Array, "*action"]) -> Float[Array, ""]:
        return value_of(self.critic, *self._asked(observation, action))

    def _asked(self, observation: PyTree, action: Array) -> tuple[PyTree, Array]:
        action = action[..., : self.action_size]
        if self.action_units is not None:
            action = self.action_units(action)
        action = action[: self.horizon]
        units = {name: each for name, each in self.observation_units.items() if name in observation}
        if units:
            real = {name: each(observation[name]) for name, each in units.items()}
            observation = {**observation, **real}
        return observation, action


def critic(
    policy: Any,
    critic: Any,
    *,
    horizon: int | None = None,
    units: str = "policy",
    preprocessor: Any = None,
    postprocessor: Any = None,
) -> UnpaddedCritic:
    """A critic of real actions as one that guides `flowguide.lerobot.flow_policy`.

    **Arguments:**

    - `policy`: the LeRobot policy.
    - `critic`: `critic(observation, action) -> scalar` for one sample, in JAX, or a
        `torch.nn.Module` of batches, for which `flowguide.torch.critic` is called. `observation`
        has the batch's entries without their batch axis, `action` has shape
        `(horizon, action size)`, without padding.
    - `horizon`: how many actions of a chunk the critic is asked about, such as those that are
        played of it, `policy.config.n_action_steps`; None for all.
    - `units`: in which the critic sees observations and actions: `"policy"`, normalised, or
        `"environment"`. The processors' maps are then part of the critic, so that its gradient is
        that of the real action, once.
    - `preprocessor`, `postprocessor`: LeRobot's pipelines, for `units="environment"`.

    **Raises:**

    `TypeError` for what cannot be called; `ValueError` for missing processors, or ones that are not
    affine in each entry, or a horizon that a chunk does not have.
    """
    if units not in ("policy", "environment"):
        raise ValueError(f'units must be "policy" or "environment", got {units!r}.')
    size = policy.config.output_features["action"].shape[0]
    chunk: int = policy.config.chunk_size
    horizon = chunk if horizon is None else horizon
    if not 1 <= horizon <= chunk:
        raise ValueError(f"horizon is {horizon}, and a chunk of this policy has {chunk} actions.")
    real = units == "environment"
    missing = [
        name
        for name, given in (("preprocessor", preprocessor), ("postprocessor", postprocessor))
        if given is None
    ]
    if real and missing:
        raise ValueError(
            f"A critic in units of the environment needs {' and '.join(missing)}=, as LeRobot's "
            "make_pre_post_processors returns them."
        )
    return UnpaddedCritic(
        critic=torch_critic(critic) if isinstance(critic, torch.nn.Module) else as_critic(critic),
        action_size=size,
        horizon=horizon,
        action_units=(
            action_units(postprocessor, (policy.config.chunk_size, size)) if real else None
        ),
        observation_units=observation_units(preprocessor) if real else {},
    )
