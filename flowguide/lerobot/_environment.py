# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import torch
from lerobot.envs.utils import preprocess_observation

from ._observations import as_array, observed


class ProcessedEnv(gymnasium.Wrapper):
    """An environment as a LeRobot policy sees it, for `flowguide.evaluate`.

    Observations are what LeRobot's preprocessor makes of them, as a dictionary of arrays; actions
    are the policy's own, padded and normalised, which the postprocessor turns into the
    environment's. Then policies of `flowguide.lerobot.flow_policy` play in it.

    ```python
    # make_my_env returns a ProcessedEnv.
    make = functools.partial(make_my_env, preprocessor, postprocessor)
    flowguide.evaluate.evaluate(agent, make, guidances, range(50), success_at="any")
    ```

    **Arguments:**

    - `env`: a gymnasium environment with a Box of actions.
    - `policy`: the LeRobot policy, or its configuration.
    - `preprocessor`, `postprocessor`: LeRobot's pipelines for it.
    - `task`: the instruction; None for what the environment says in `task_description` or `task`.
    - `observe`: from an observation of the environment to a dictionary of LeRobot's names, each
        tensor with a batch axis; by default LeRobot's own `preprocess_observation`, for
        environments with `pixels` and `agent_pos`.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        policy: Any,
        preprocessor: Any,
        postprocessor: Any,
        *,
        task: str | None = None,
        observe: Callable[[Any], dict[str, Any]] = preprocess_observation,
    ):
        super().__init__(env)
        box = env.action_space
        config = getattr(policy, "config", policy)
        size = config.output_features["action"].shape[0]
        if not isinstance(box, gymnasium.spaces.Box) or box.shape != (size,):
            raise ValueError(
                f"The policy's actions have {size} numbers, and the environment takes {box}."
            )
        self._box, self._size = box, size
        self._preprocessor, self._postprocessor = preprocessor, postprocessor
        self._task, self._observe = task, observe
        # Normalised actions have no bounds, and none are clipped before they are real.
        self.action_space = gymnasium.spaces.Box(
            -np.inf, np.inf, (config.max_action_dim,), np.float32
        )
        example = self._unchecked(env.observation_space.sample())
        self.observation_space: gymnasium.spaces.Dict = gymnasium.spaces.Dict(
            {name: _space_of(x) for name, x in example.items()}
        )

    def reset(self, **kwargs: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        return self._processed(observation), info

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], SupportsFloat, bool, bool, dict[str, Any]]:
        given = torch.tensor(np.asarray(action, np.float32)[None, : self._size])
        real = self._postprocessor(given)[0].numpy()
        real = np.clip(real, self._box.low, self._box.high).astype(self._box.dtype)
        observation, reward, terminated, truncated, info = self.env.step(real)
        return self._processed(observation), reward, terminated, truncated, info

    def _processed(self, observation: Any) -> dict[str, np.ndarray]:
        processed = self._unchecked(observation)
        for name, x in processed.items():
            if x.shape != (before := self.observation_space[name].shape):
                raise ValueError(
                    f"{name} has shape {x.shape}, and had {before} before: observations keep their "
                    "shapes. If instructions of several lengths are the cause, make the processors "
                    'with pad_language_to="max_length" in the configuration of a SmolVLA.'
                )
        return processed

    def _unchecked(self, observation: Any) -> dict[str, np.ndarray]:
        batch = self._preprocessor({**self._observe(observation), "task": [self._instruction()]})
        return {name: _as_numpy(x[0]) for name, x in observed(batch).items()}

    def _instruction(self) -> str:
        if self._task is not None:
            return self._task
        inner = self.env.unwrapped
        return getattr(inner, "task_description", None) or getattr(inner, "task", "") or ""


def _as_numpy(tensor: torch.Tensor) -> np.ndarray:
    # Not by way of JAX, once for each entry and step; but PyTorch's bfloat16 is unknown to NumPy.
    tensor = tensor.detach().cpu()
    return np.asarray(as_array(tensor)) if tensor.dtype is torch.bfloat16 else tensor.numpy()


def _space_of(x: np.ndarray) -> gymnasium.Space:
    low, high = -np.inf, np.inf
    if x.dtype == bool:
        low, high = 0, 1
    elif np.issubdtype(x.dtype, np.integer):
        low, high = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
    kind: Any = x.dtype.type
    return gymnasium.spaces.Box(low, high, x.shape, kind)
