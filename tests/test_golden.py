"""Numbers of the published QGF code (github.com/zhouzypaul/qgf, bc44a67), where they are at hand.

The folder lies beside the checkout in development and is no part of the project.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowguide as fg
from flowguide import nn

FILE = Path(__file__).resolve().parents[2] / "shared" / "golden" / "official_qgf.npz"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="reference numbers not beside checkout")


@pytest.fixture(scope="module")
def golden():
    with np.load(FILE) as file:
        return dict(file)


def load_mlp(mlp, prefix, output, golden):
    """The published parameters in our MLP; `output` names their last layer."""
    last = len(mlp.layers) - 1
    for i in range(last + 1):
        name = output if i == last else f"{prefix}/Dense_{i}"
        for part in ("kernel", "bias"):
            mlp = eqx.tree_at(
                lambda m, i=i, part=part: getattr(m.layers[i], part),
                mlp,
                jnp.asarray(golden[f"{name}/{part}"]),
            )
    for i, norm in enumerate(mlp.norms):
        if norm is not None:
            for part in ("scale", "bias"):
                mlp = eqx.tree_at(
                    lambda m, i=i, part=part: getattr(m.norms[i], part),
                    mlp,
                    jnp.asarray(golden[f"{prefix}/LayerNorm_{i}/{part}"]),
                )
    return mlp


@pytest.fixture(scope="module")
def models(golden):
    key, hidden = jax.random.key(0), (64, 64, 64)
    velocity = nn.VelocityMLP(11, (5,), hidden, key=key)
    mlp = load_mlp(velocity.mlp, "policy/MLP_0", "policy/Dense_0", golden)
    velocity = eqx.tree_at(lambda v: v.mlp, velocity, mlp)
    critic = nn.critic_ensemble(2, 11, (5,), hidden, key=key)
    mlp = load_mlp(critic.critics.mlp, "critic/value_net", "critic/value_net/Dense_3", golden)
    critic = eqx.tree_at(lambda c: c.critics.mlp, critic, mlp)
    return fg.FlowPolicy(velocity, (5,)), critic


@pytest.mark.parametrize("weight", ["0.0", "0.3", "2.0"])
@pytest.mark.parametrize("method", ["qgf", "ood", "qgf_best_of_4"])
def test_actions_are_those_of_the_published_code(golden, models, method, weight):
    policy, critic = models
    guided = fg.guide(policy, critic, method.split("_")[0], weight=float(weight))
    noise = golden["noise"]
    if method.endswith("best_of_4"):
        guided, noise = fg.guide(guided, critic, "best_of_n", n=4), golden["noise4"]
    actions = jax.jit(jax.vmap(guided.from_noise))(noise, golden["observation"])
    np.testing.assert_allclose(actions, golden[f"{method}/{weight}"], atol=2e-5, rtol=0)
