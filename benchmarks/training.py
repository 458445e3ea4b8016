"""Times one update (flow matching and IQL together) against other loops, and against the hardware.

One update trains the policy, two critics, the value and the target critics. Four loops take turns:

- ours: batches drawn on the device, inside one compiled loop;
- plain: the same, written by hand on lists of arrays, without flowguide, equinox or optax;
- per call: our update, compiled, and called once for each batch, which the host puts together;
- usual: such a loop as one would write it. Its networks are made of `eqx.nn.Linear` and
  `eqx.nn.LayerNorm`, its two critics are one vmapped network, one gradient is taken of the sum of
  all losses, nothing is donated.

    python benchmarks/training.py
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from measure import interleaved, matrix_product, print_machine

from flowguide import nn
from flowguide.data import Batch, from_arrays, Windows
from flowguide.train import FlowMatching, init, IQL, Jointly, train

OBSERVATION, ACTION, HORIZON, GAMMA = 28, 5, 5, 0.99
EXPECTILE, TARGET_RATE, RATE = 0.9, 0.005, 3e-4


@dataclasses.dataclass(frozen=True)
class Settings:
    """Times training updates for each network and batch size."""

    networks: tuple[str, ...] = ("256x3", "512x4")
    """Hidden sizes, as WIDTHxDEPTH."""

    batch_size: int = 256
    """Windows in a batch."""

    updates: int = 50
    """Updates in each compiled call."""

    seconds: float = 40.0
    """Seconds of measuring for each network."""


def make_windows(episodes: int = 200, length: int = 1000) -> Windows:
    rng = np.random.default_rng(0)
    size = episodes * (length + 1)
    ends = np.zeros(size, bool)
    ends[length :: length + 1] = True
    dataset = from_arrays(
        rng.normal(size=(size, OBSERVATION)),
        rng.uniform(-1, 1, (size, ACTION)),
        rng.normal(size=size),
        np.ones(size),
        ends,
    )
    return Windows(dataset, HORIZON, GAMMA)


def make_learner(hidden: tuple[int, ...], *, stacked: bool = False) -> Jointly:
    action_shape = (HORIZON, ACTION)
    return Jointly(
        {
            "policy": FlowMatching(
                lambda key: nn.VelocityMLP(OBSERVATION, action_shape, hidden, key=key)
            ),
            "critic": IQL(
                lambda key: nn.critic_ensemble(
                    2, OBSERVATION, action_shape, hidden, stacked=stacked, key=key
                ),
                lambda key: nn.ValueMLP(OBSERVATION, hidden, key=key),
            ),
        }
    )


def ours(windows: Windows, hidden: tuple[int, ...], settings: Settings) -> Any:
    learner, key = make_learner(hidden), jax.random.key(0)
    state = init(learner, key)
    return updater(learner, windows, key, state, settings.updates, settings.batch_size)


def updater(
    learner: Jointly, windows: Windows, key: Any, state: Any, updates: int, batch_size: int
) -> Callable[[], Any]:
    """Goes on with training by so many updates at each call."""

    def run():
        nonlocal state
        state = train(
            learner,
            windows,
            steps=int(state.step) + updates,
            batch_size=batch_size,
            key=key,
            log_every=updates,
            state=state,
        )
        return eqx.filter(state, eqx.is_array)

    return run


def plain(windows: Windows, hidden: tuple[int, ...], settings: Settings) -> Any:
    """The same update without flowguide, equinox or optax."""
    size = HORIZON * ACTION

    def make(key, sizes):
        keys = jax.random.split(key, len(sizes))
        return [
            {
                "w": jax.random.normal(k, (a, b)) / np.sqrt(a),
                "b": jnp.zeros(b),
                "s": jnp.ones(b),
                "o": jnp.zeros(b),
            }
            for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=False)
        ]

    def net(layers, x, norm_last=True):
        *hidden_layers, last = layers
        for i, layer in enumerate(hidden_layers):
            x = x @ layer["w"] + layer["b"]
            if norm_last or i < len(hidden_layers) - 1:
                mean = x.mean(-1, keepdims=True)
                variance = jnp.maximum((x * x).mean(-1, keepdims=True) - mean * mean, 0)
                x = (x - mean) * (jax.lax.rsqrt(variance + 1e-6) * layer["s"]) + layer["o"]
            x = jax.nn.gelu(x)
        return x @ last["w"] + last["b"]

    keys = jax.random.split(jax.random.key(0), 4)
    parameters: dict[str, Any] = {
        "policy": make(keys[0], (OBSERVATION + size + 16, *hidden, size)),
        "critics": [make(k, (OBSERVATION + size, *hidden, 1)) for k in keys[1:3]],
        "value": make(keys[3], (OBSERVATION, *hidden, 1)),
    }
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    carry = (parameters, parameters["critics"], zeros, zeros)
    data: Any = windows.dataset
    frequencies = jnp.exp(-jnp.log(1e4) * jnp.arange(8) / 8)

    def losses(p: Any, target: Any, batch: Any, key: Any) -> Any:
        o, a, r, d, next_o = batch
        noise_key, time_key = jax.random.split(key)
        flat = a.reshape(len(a), -1)
        noise = jax.random.normal(noise_key, flat.shape)
        t = jax.random.uniform(time_key, (len(a), 1))
        phase = 1e4 * t * frequencies
        x = jnp.concatenate(
            [o, (1 - t) * noise + t * flat, jnp.cos(phase), jnp.sin(phase)], axis=-1
        )
        cloning = jnp.mean((net(p["policy"], x, norm_last=False) - (flat - noise)) ** 2)
        oa = jnp.concatenate([o, flat], -1)
        q_target = jnp.minimum(*[net(c, oa)[:, 0] for c in target])
        u = q_target - net(p["value"], o)[:, 0]
        value = jnp.mean(jnp.where(u < 0, 1 - EXPECTILE, EXPECTILE) * u * u)
        goal = r + d * jax.lax.stop_gradient(net(p["value"], next_o)[:, 0])
        critic = sum(jnp.mean((net(c, oa)[:, 0] - goal) ** 2) for c in p["critics"])
        return cloning + value + critic

    def update(carry, step):
        p, target, m, v = carry
        sample_key, key = jax.random.split(jax.random.fold_in(jax.random.key(1), step))
        chosen = jax.random.randint(sample_key, (settings.batch_size,), 0, len(windows.starts))
        start = windows.starts[chosen]
        rows = start[:, None] + jnp.arange(HORIZON)
        masks, gammas = data.masks[rows], GAMMA ** jnp.arange(HORIZON)
        alive = jnp.cumprod(jnp.concatenate([jnp.ones_like(masks[:, :1]), masks[:, :-1]], 1), 1)
        batch = (
            data.observations[start],
            data.actions[rows],
            (gammas * alive * data.rewards[rows]).sum(1),
            GAMMA**HORIZON * masks.prod(1),
            data.observations[start + HORIZON],
        )
        loss, g = jax.value_and_grad(losses)(p, target, batch, key)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        c1, c2 = 1 - 0.9 ** (step + 1.0), 1 - 0.999 ** (step + 1.0)
        p = jax.tree.map(lambda p, m, v: p - RATE * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), p, m, v)
        target = jax.tree.map(
            lambda t, c: (1 - TARGET_RATE) * t + TARGET_RATE * c, target, p["critics"]
        )
        return (p, target, m, v), loss

    scan = jax.jit(
        lambda carry: jax.lax.scan(update, carry, jnp.arange(settings.updates)), donate_argnums=0
    )
    carry = jax.tree.map(jnp.array, carry)  # Donated buffers must not be shared.

    def run():
        nonlocal carry
        carry, found = scan(carry)
        return found

    return run


class Network(eqx.Module):
    """What a user of equinox would write."""

    layers: list[eqx.nn.Linear]
    norms: list[eqx.nn.LayerNorm]
    norm_last: bool = eqx.field(static=True)

    def __init__(self, sizes: tuple[int, ...], norm_last: bool, key: Any):
        keys = jax.random.split(key, len(sizes) - 1)
        pairs = zip(sizes[:-1], sizes[1:], keys, strict=True)
        self.layers = [eqx.nn.Linear(a, b, key=k) for a, b, k in pairs]
        self.norms = [eqx.nn.LayerNorm(size) for size in sizes[1:-1]]
        self.norm_last = norm_last

    def __call__(self, x: Any) -> Any:
        for i, (layer, norm) in enumerate(zip(self.layers[:-1], self.norms, strict=True)):
            x = layer(x)
            is_normed = self.norm_last or i < len(self.norms) - 1
            x = jax.nn.gelu(norm(x) if is_normed else x)
        return self.layers[-1](x)


def host_batches(windows: Windows, settings: Settings) -> Any:
    """Batches as NumPy puts them together."""
    data = {
        name: np.asarray(getattr(windows.dataset, name))
        for name in ("observations", "actions", "rewards", "masks")
    }
    starts = np.asarray(windows.starts[: len(windows)])
    gammas = GAMMA ** np.arange(HORIZON, dtype=np.float32)
    rng = np.random.default_rng(0)
    while True:
        start = rng.choice(starts, settings.batch_size)
        rows = start[:, None] + np.arange(HORIZON)
        masks = data["masks"][rows]
        alive = np.cumprod(np.concatenate([np.ones_like(masks[:, :1]), masks[:, :-1]], 1), 1)
        arrays: Any = {
            "observation": data["observations"][start],
            "action": data["actions"][rows],
            "reward": (gammas * alive * data["rewards"][rows]).sum(1),
            "discount": np.float32(GAMMA**HORIZON) * masks.prod(1),
            "next_observation": data["observations"][start + HORIZON],
            "weight": np.ones(len(start), np.float32),
        }
        yield Batch(**arrays)


def per_call(windows: Windows, hidden: tuple[int, ...], settings: Settings) -> Any:
    """Our update, called once for each batch from the host."""
    learner = make_learner(hidden)
    state = eqx.filter_jit(learner.init)(jax.random.key(0))
    batches = host_batches(windows, settings)

    @eqx.filter_jit(donate="all-except-first")
    def update(learner: Any, state: Any, batch: Any, key: Any) -> Any:
        return learner.update(state, batch, key)

    count = 0

    def run():
        nonlocal state, count
        losses = None
        for _ in range(settings.updates):
            count += 1
            state, losses = update(learner, state, next(batches), jax.random.key(count))
        return losses

    return run


def usual(windows: Windows, hidden: tuple[int, ...], settings: Settings) -> Any:
    """What a user of equinox would write, called once for each batch from the host."""
    size = HORIZON * ACTION
    keys = jax.random.split(jax.random.key(0), 3)
    critic_sizes = (OBSERVATION + size, *hidden, 1)
    networks = {
        "policy": Network((OBSERVATION + size + 16, *hidden, size), False, keys[0]),
        "critic": eqx.filter_vmap(lambda k: Network(critic_sizes, True, k))(
            jax.random.split(keys[1])
        ),
        "value": Network((OBSERVATION, *hidden, 1), True, keys[2]),
    }
    optimiser = optax.adam(RATE)
    state = networks, networks["critic"], optimiser.init(eqx.filter(networks, eqx.is_array))
    batches = host_batches(windows, settings)

    def critics(critic: Any, x: Any) -> Any:
        return eqx.filter_vmap(lambda q, x: jax.vmap(q)(x)[:, 0], in_axes=(0, None))(critic, x)

    @eqx.filter_jit
    def update(state: Any, batch: Any, key: Any) -> Any:
        networks, target, optimiser_state = state
        o, a, r, d = batch.observation, batch.action, batch.reward, batch.discount
        a = a.reshape(len(a), -1)
        next_o = batch.next_observation

        def loss(networks: Any) -> Any:
            noise_key, time_key = jax.random.split(key)
            noise = jax.random.normal(noise_key, a.shape)
            t = jax.random.uniform(time_key, (len(a), 1))
            time = jax.vmap(nn.sinusoidal_embedding)(t[:, 0])
            x = jnp.concatenate([o, (1 - t) * noise + t * a, time], axis=-1)
            cloning = jnp.mean((jax.vmap(networks["policy"])(x) - (a - noise)) ** 2)
            oa = jnp.concatenate([o, a], -1)
            u = critics(target, oa).min(0) - jax.vmap(networks["value"])(o)[:, 0]
            value = jnp.mean(jnp.where(u < 0, 1 - EXPECTILE, EXPECTILE) * u * u)
            next_value = jax.lax.stop_gradient(jax.vmap(networks["value"])(next_o)[:, 0])
            error = critics(networks["critic"], oa) - (r + d * next_value)
            return cloning + value + jnp.mean(error**2, axis=1).sum()

        value, gradient = eqx.filter_value_and_grad(loss)(networks)
        updates, optimiser_state = optimiser.update(gradient, optimiser_state)
        networks = eqx.apply_updates(networks, updates)
        target = jax.tree.map(
            lambda t, c: (1 - TARGET_RATE) * t + TARGET_RATE * c, target, networks["critic"]
        )
        return (networks, target, optimiser_state), value

    count = 0

    def run():
        nonlocal state, count
        value = None
        for _ in range(settings.updates):
            count += 1
            state, value = update(state, next(batches), jax.random.key(count))
        return value

    return run


def operations(hidden: tuple[int, ...]) -> float:
    """Floating-point operations in the matrix products of one update, for one window."""

    def products(inputs, outputs):
        sizes = (inputs, *hidden, outputs)
        return 2.0 * sum(a * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))

    size = HORIZON * ACTION
    policy = products(OBSERVATION + size + 16, size)
    critic, value = products(OBSERVATION + size, 1), products(OBSERVATION, 1)
    # Forward and backward are three forward passes; the targets are one each.
    return 3 * policy + 2 * (3 * critic + critic) + 3 * value + value


def main(settings: Settings) -> None:
    print_machine()
    windows = make_windows()
    product, product_operations = matrix_product()
    columns = ("hidden", "ours, ms", "plain", "per call", "usual", "peak, GFLOP/s", "of peak")
    print(" ".join(f"{column:>13}" for column in columns))
    for network in settings.networks:
        width, depth = (int(number) for number in network.split("x"))
        hidden = (width,) * depth
        loops = {"ours": ours, "plain": plain, "per call": per_call, "usual": usual}
        calls = {name: make(windows, hidden, settings) for name, make in loops.items()}
        times = interleaved({"product": product, **calls}, settings.seconds)
        update = np.median(times["ours"]) / settings.updates
        peak = product_operations / np.median(times["product"])
        share = operations(hidden) * settings.batch_size / update / peak
        ratios = [
            f"{np.median(times[name] / times['ours']):.2f} x" for name in calls if name != "ours"
        ]
        cells = [network, f"{update * 1e3:.2f}", *ratios, f"{peak / 1e9:.0f}", f"{share:.0%}"]
        print(" ".join(f"{cell:>13}" for cell in cells))
        count = len(times["ours"])
        print(f"({count} rounds of {settings.updates} updates, batch {settings.batch_size})\n")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
