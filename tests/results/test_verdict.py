"""The sentence that a report begins with, and the pairs of methods."""

import dataclasses

import pytest

from flowguide._results.between import best_of_series, between
from flowguide._results.verdict import verdict
from flowguide.results import compare, Condition, Episode

QGF = Condition("qgf kappa 5", "qgf", 5.0, "kappa")
WEAK = Condition("qgf kappa 1", "qgf", 1.0, "kappa")
BEST = Condition("best of 4")
MINE = Condition("mine")
UNGUIDED = Condition()


def play(solved, *, count=30, train_seed=0):
    """Of each condition so many of the episodes are solved, the first ones."""
    return [
        Episode(condition, train_seed, seed, seed < won, -float(seed % 7), 9, "task")
        for condition, won in solved.items()
        for seed in range(count)
    ]


def said(episodes, baseline=UNGUIDED, **options):
    return verdict(episodes, compare(episodes, baseline), baseline, **options)


def test_it_says_yes_and_how_much():
    episodes = play({UNGUIDED: 2, QGF: 27, BEST: 25})
    row = next(row for row in compare(episodes) if row.condition == QGF)
    assert row.difference is not None
    ends = f"[{row.difference.low:+.2f}, {row.difference.high:+.2f}]"
    text = said(episodes)
    assert text.startswith(f"Yes: qgf kappa 5, 27 of 30 against 2 of 30 unguided, +0.83 {ends}; ")
    assert "; against best of 4 +0.07 [" in text and ", undecided; " in text
    assert text.endswith("; one training seed")


@pytest.mark.parametrize(
    ("won", "answer"), [(27, "Yes"), (14, "Undecided"), (12, "Undecided"), (0, "No")]
)
def test_the_answer_is_that_of_the_interval(won, answer):
    episodes = play({UNGUIDED: 13, QGF: won})
    (row,) = (row for row in compare(episodes) if row.condition == QGF)
    assert row.difference is not None
    assert said(episodes).partition(":")[0] == answer
    assert (row.difference.low > 0) == (answer == "Yes")
    assert (row.difference.high < 0) == (answer == "No")


def test_the_rival_is_the_choice_among_unguided_actions():
    # A better method of another kind is not what guidance has to beat at the same cost.
    text = said(play({UNGUIDED: 2, QGF: 27, MINE: 26, BEST: 3}))
    assert "against best of 4 +0.80 [" in text and ", better;" in text and "mine" not in text
    text = said(play({UNGUIDED: 2, QGF: 3, BEST: 29}))
    # The guidance is judged, even where choosing is better.
    assert text.startswith("Undecided: qgf kappa 5, 3 of 30") and ", worse;" in text
    assert "against mine +0.03 [" in said(play({UNGUIDED: 2, QGF: 27, MINE: 26}))
    assert said(play({UNGUIDED: 2, BEST: 29})).startswith("Yes: best of 4, 29 of 30")


def test_it_says_that_the_best_was_chosen():
    episodes = play({UNGUIDED: 2, QGF: 27, WEAK: 20, BEST: 5})
    assert "; the best of 2 conditions, chosen on these episodes; " in said(episodes)
    text = said(episodes, is_chosen_elsewhere=True)
    assert "; the best of 2 methods, chosen on these episodes; " in text
    assert "chosen" not in said(play({UNGUIDED: 2, QGF: 27, BEST: 5}))


def test_another_baseline_and_several_seeds():
    episodes = play({UNGUIDED: 2, QGF: 27, BEST: 25})
    episodes += play({UNGUIDED: 2, QGF: 27, BEST: 25}, train_seed=1)
    text = said(episodes, BEST)
    assert text.startswith("Undecided: qgf kappa 5, 54 of 60 against 50 of 60 best of 4, +0.07 [")
    assert text.endswith("; 2 training seeds")
    # Unguided is no guidance, whatever the others are compared with.
    text = said(play({UNGUIDED: 29, QGF: 5, BEST: 10}), QGF)
    assert text.startswith("Undecided: best of 4, 10 of 30 against 5 of 30 qgf kappa 5")


def test_episodes_without_a_partner_are_told():
    episodes = [
        e for e in play({UNGUIDED: 2, QGF: 27}) if e.condition != UNGUIDED or e.episode_seed < 20
    ]
    assert "27 of 30 against 2 of 20 unguided" in said(episodes)
    assert " in 20 pairs" in said(episodes)


def test_what_cannot_be_said():
    assert said(play({QGF: 5})).startswith("Undecided: unguided was not played")
    assert said(play({UNGUIDED: 5})) == "Undecided: nothing but unguided was played"
    apart = play({QGF: 5}) + [
        dataclasses.replace(e, episode_seed=e.episode_seed + 100) for e in play({UNGUIDED: 5})
    ]
    assert "share too few episodes" in said(apart)


def test_returns_where_success_is_not_told():
    episodes = [
        dataclasses.replace(e, success=None, episode_return=float(e.condition == QGF) + i % 3)
        for i, e in enumerate(play({UNGUIDED: 0, QGF: 0}))
    ]
    text = said(episodes)
    assert text.startswith("Yes: qgf kappa 5, a return of ") and "+1.00 [" in text


def test_every_pair_of_methods_as_compare_has_it():
    episodes = play({UNGUIDED: 2, QGF: 27, WEAK: 20, BEST: 25, MINE: 10})
    rows = compare(episodes)
    best = [row.condition for row in best_of_series(rows) if row.condition != UNGUIDED]
    assert set(best) == {QGF, BEST, MINE}
    found = between(episodes, best)
    assert [(each.row.condition, each.other) for each in found] == [
        *((QGF, BEST), (QGF, MINE), (BEST, MINE)),
    ]
    for each in found:
        expected = {row.condition: row for row in compare(episodes, each.other)}
        assert each.row == expected[each.row.condition]
    assert [each.row.gained for each in found] == [2, 17, 15]
