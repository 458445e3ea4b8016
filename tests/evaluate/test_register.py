"""A method of one's own among the others, on the same episodes."""

from typing import Any

import jax.numpy as jnp
import pytest

import flowguide as fg
from flowguide._guide import METHODS
from flowguide.evaluate import Agent, compare, Condition, evaluate, read_episodes, write_episodes

from .test_evaluate import agent, in_order, SEEDS
from .toys import Fault


@pytest.fixture(autouse=True)
def names_as_before():
    named = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(named)


def test_a_registered_method_is_compared_with_the_others(tmp_path):
    # The same as one of flowguide's, so that its episodes are known.
    fg.register("mine", lambda weight=1.0: fg.qgf(weight))
    conditions = [Condition(), Condition("qgf", 2.0), Condition("mine", 2.0)]
    conditions.append(Condition("mine", 2.0, best_of_n=2))
    played = evaluate(agent(), Fault(), conditions, SEEDS, workers=1)
    rows = {str(row.condition): row for row in compare(played)}
    assert sorted(rows) == ["mine 2", "mine, best of 2 2", "qgf 2", "unguided"]
    mine, theirs = rows["mine 2"], rows["qgf 2"]
    assert mine.pairs == len(SEEDS) and mine.success == theirs.success
    assert (mine.gained, mine.lost, mine.episode_return) == (
        *(theirs.gained, theirs.lost),
        theirs.episode_return,
    )
    write_episodes(tmp_path / "mine.jsonl", played)
    assert in_order(read_episodes(tmp_path / "mine.jsonl")) == in_order(played)


def test_guide_finds_it_by_name_with_its_options():
    fg.register("slowed", lambda weight=1.0, factor=0.5: fg.qgf(factor * weight))
    one: Any = agent()
    guided = fg.guide(one.policy, one.critic, "slowed", weight=0.4, factor=0.25)
    plain = fg.guide(one.policy, one.critic, "qgf", weight=0.1)
    noise = jnp.ones(one.policy.noise_shape)
    assert jnp.array_equal(
        guided.from_noise(noise, jnp.ones(3)), plain.from_noise(noise, jnp.ones(3))
    )
    with pytest.raises(TypeError, match=r"slowed has no option \['weigth'\].*'factor', 'weight'"):
        fg.guide(one.policy, one.critic, "slowed", weigth=0.4)


def test_names_that_are_taken_or_none():
    make = fg.qgf
    fg.register("again", make)
    fg.register("again", make)
    with pytest.raises(ValueError, match="There is a method 'again' already"):
        fg.register("again", fg.ood)
    for taken in ("qgf", "unguided"):
        with pytest.raises(ValueError, match=f"There is a method {taken!r} already"):
            fg.register(taken, lambda weight: fg.qgf(weight))
    with pytest.raises(ValueError, match="name must be an identifier, .*got 'my method'"):
        fg.register("my method", make)


def test_a_method_without_a_weight_is_no_condition():
    with pytest.raises(ValueError, match="'beam' is no method of one weight.*flowguide.register"):
        Condition("beam")


def test_agents_that_results_could_not_tell_apart_are_refused():
    one = agent()
    with pytest.raises(ValueError, match=r"two agents.*0\), .*0\).*flowguide.register"):
        evaluate([one, Agent(one.policy, one.critic)], Fault(), [Condition()], [1])


def test_an_episode_that_is_there_twice_is_refused():
    played = evaluate(agent(), Fault(), [Condition()], [1, 2], workers=1)
    with pytest.raises(ValueError, match="1 episodes are there more than once, such as unguided"):
        compare([*played, played[0]])


def test_kappa_is_refused_where_it_would_not_reach_a_weight():
    one: Any = agent()
    some = jnp.ones((4, 3))
    for method in (fg.qgf(), ["qgf", "best_of_n"]):
        with pytest.raises(TypeError, match=r"kappa is for a method given by name.*weight_unit"):
            fg.guide(one.policy, one.critic, method, kappa=5.0, observations=some)
    with pytest.raises(TypeError, match=r"best_of_n has no weight that kappa could be.*\['n'\]"):
        fg.guide(one.policy, one.critic, "best_of_n", kappa=5.0, observations=some)
