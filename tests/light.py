"""What `pip install .` alone can do, without pytest: `.ci/light` runs it with every Python."""

import importlib
import subprocess
import sys
import tempfile

import jax
import jax.numpy as jnp

import flowguide
from flowguide import data, nn, train


def main() -> None:
    key = jax.random.key(0)
    dataset = data.from_arrays(jnp.ones((20, 3)), jnp.zeros((20, 2)))
    learner = train.FlowMatching(lambda key: nn.VelocityMLP(3, (1, 2), (8,), key=key))
    with jax.numpy_dtype_promotion("standard"):
        state = train.train(learner, data.Windows(dataset, 1, 0.9), steps=3, batch_size=4, key=key)
    policy = flowguide.FlowPolicy(state.result(learner), (1, 2), num_steps=3)
    critic = nn.critic_ensemble(2, 3, (1, 2), (8,), key=key)
    with tempfile.TemporaryDirectory() as folder:
        flowguide.save(folder, policy, critic)
        policy, critic = flowguide.load(folder)
    guided = flowguide.guide(policy, critic, method="qgf")
    assert flowguide.sample(guided, jnp.ones((5, 3)), key=key).shape == (5, 1, 2)
    assert importlib.import_module("flowguide.results").compare
    ogbench = ("diagnose", "evaluate", "ogbench", "plot", "report", "runs", "sweep", "video")
    for name, extra in (
        *((name, "ogbench") for name in ogbench),
        ("torch", "torch"),
        ("lerobot", "lerobot"),
    ):
        try:
            importlib.import_module(f"flowguide.{name}")
        except ImportError as error:
            assert f"flowguide.{name} needs" in str(error) and "\n" not in str(error), error
            assert f"pip install 'flowguide[{extra}]'" in str(error), error
        else:
            raise AssertionError(f"flowguide.{name} was imported: is its extra installed?")
        # What looks at all attributes of a module goes on.
        assert not hasattr(flowguide, name)
    done = subprocess.run(
        [sys.executable, "-m", "flowguide", "demo"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr.startswith("flowguide: The flowguide command needs")
    assert done.stderr.count("\n") == 1, done.stderr
    print(f"Python {sys.version.split()[0]}: the library guides, and says what the rest needs.")


if __name__ == "__main__":
    main()
