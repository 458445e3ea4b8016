"""The networks of `tests.helpers` in PyTorch, and functions that say how they are asked."""

from typing import Any

import jax
import numpy as np
import pytest

import flowguide as fg

torch = pytest.importorskip("torch")
# The machine's cores are for the tests that run beside these.
torch.set_num_threads(1)


def tensor(array: Any) -> Any:
    return torch.nn.Parameter(torch.from_numpy(np.array(array)))


class MLP(torch.nn.Module):
    """The network of a `flowguide.nn.MLP`, with its weights."""

    def __init__(self, mlp: Any):
        super().__init__()
        self.kernels = torch.nn.ParameterList([tensor(x.kernel) for x in mlp.layers])
        self.biases = torch.nn.ParameterList([tensor(x.bias) for x in mlp.layers])
        self.norms: Any = [
            None if x is None else (tensor(x.scale), tensor(x.bias), x.epsilon) for x in mlp.norms
        ]

    def forward(self, *inputs: Any) -> Any:
        x = torch.cat([each.flatten(1) for each in inputs], 1)
        for kernel, bias, norm in zip(
            self.kernels, self.biases, [*self.norms, "last"], strict=True
        ):
            x = x @ kernel + bias
            if norm == "last":
                return x
            if norm is not None:
                x = torch.nn.functional.layer_norm(x, x.shape[1:], *norm)
            x = torch.nn.functional.gelu(x, approximate="tanh")


def embedding(t: Any) -> Any:
    phase = 1e4 * t[:, None] * torch.exp(-np.log(1e4) * torch.arange(8, device=t.device) / 8)
    return torch.cat([phase.cos(), phase.sin()], 1)


class VelocityNetwork(torch.nn.Module):
    """A `flowguide.nn.VelocityMLP` of PyTorch."""

    def __init__(self, field: Any):
        super().__init__()
        self.mlp, self.num_labels = MLP(field.mlp), field.num_labels

    def forward(self, t: Any, action: Any, observation: Any) -> Any:
        label = []
        if self.num_labels:
            observation, number = observation
            label = [(number[:, None] == torch.arange(self.num_labels)).to(action.dtype)]
        return self.mlp(observation, action, embedding(t), *label).reshape(action.shape)


class CriticNetworks(torch.nn.Module):
    """K `flowguide.nn.CriticMLP`s of PyTorch, with values of shape `(B, K)`."""

    def __init__(self, ensemble: fg.Ensemble):
        super().__init__()
        members = ensemble.critics
        if not isinstance(members, tuple):
            count = len(jax.tree.leaves(members)[0])
            members = [jax.tree.map(lambda x, i=i: x[i], members) for i in range(count)]
        self.mlps = torch.nn.ModuleList([MLP(member.mlp) for member in members])

    def forward(self, observation: Any, action: Any) -> Any:
        inputs = [observation, action]
        if isinstance(observation, tuple):
            inputs = [observation[0], action, embedding(observation[1])]
        return torch.cat([mlp(*inputs) for mlp in self.mlps], 1)


class Recorded:
    """A function that notes the arguments of each call."""

    def __init__(self, function: Any):
        self.function, self.calls = function, []

    def __call__(self, *arguments: Any) -> Any:
        self.calls.append(arguments)
        return self.function(*arguments)

    @property
    def batches(self) -> list[int]:
        return [len(jax.tree.leaves(call)[0]) for call in self.calls]

    def asked(self, call: Any, *arguments: Any, **options: Any) -> Any:
        self.calls.clear()
        return jax.block_until_ready(call(*arguments, **options))
