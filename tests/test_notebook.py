"""What a notebook shows of policies, comparisons and figures, and what training prints."""

import diffrax
import jax
import jax.numpy as jnp

import flowguide as fg
from flowguide import nn, train
from flowguide.data import from_arrays, Windows
from flowguide.plot import new_figure
from flowguide.results import compare, Condition, Episode


def policy(**options):
    return fg.FlowPolicy(lambda t, action, observation: -action, (2,), **options)


def critic(observation, action):
    return -jnp.sum(action**2)


def test_a_policy_is_a_table_of_what_it_is_and_what_it_costs():
    both = fg.guide(policy(), critic, [fg.qgf(weight=0.1), fg.best_of_n(4)])
    shown = both._repr_html_()
    assert "best_of_n(n=4)" in shown and "qgf(weight=0.1)" in shown
    assert "40 velocities, 4 critic values, 40 critic gradients: 208 forward passes" in shown
    # A name is no markup, and nothing is said of a cost that is not known.
    assert "&lt;lambda&gt;" in shown and "<lambda>" not in shown
    adaptive = policy(
        solver=diffrax.Tsit5(),
        stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-5),
    )
    assert "costs" not in adaptive._repr_html_()


def test_comparisons_are_a_table():
    episodes = [
        Episode(Condition(label), 0, seed, seed < count, float(seed), 1, "task")
        for label, count in (("unguided", 0), ("best of <4>", 8))
        for seed in range(8)
    ]
    rows = compare(episodes)
    assert [str(row.condition) for row in rows] == ["unguided", "best of <4>"]
    shown, text = rows._repr_html_(), str(rows)
    assert '<tr class="better"><th scope="row">best of &lt;4&gt;</th><td>8 of 8</td>' in shown
    assert text.count("\n") == 4 and "| 8 of 8 | 1.00 [0.68, 1.00] |" in text
    without = compare([Episode(Condition(), 0, s, None, float(s), 1, "task") for s in range(4)])
    assert "solved" not in str(without) and "| unguided | 4 | 1.5" in str(without)


def test_a_figure_shows_itself():
    figure = new_figure(2, 1)
    figure.subplots().plot([0, 1])
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_training_shows_how_it_goes(capsys):
    data = from_arrays(jnp.zeros((50, 1)), jnp.zeros((50, 2)))
    learner = train.FlowMatching(lambda key: nn.VelocityMLP(1, (2, 2), (8,), key=key))
    windows = Windows(data, 2)
    options = {"validation": windows, "on_report": print}
    with jax.numpy_dtype_promotion("standard"):  # Optax mixes types.
        train.train(learner, windows, steps=4, key=jax.random.key(0), log_every=2, **options)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["update 2", "update 4"]
    assert all("loss " in line and "validation " in line for line in lines)
