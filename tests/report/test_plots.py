"""Pictures: that every number has its interval, that text does not lie on text, and that many
conditions do not make them larger."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from matplotlib.container import ErrorbarContainer

import flowguide as fg
from flowguide._agent.cross import Crossing
from flowguide._results.conditions import method_of
from flowguide.plot import (
    curve_panels,
    MAX_IN_PANEL,
    new_figure,
    plot_along_training,
    plot_success,
    save_picture,
    Styles,
)
from flowguide.plot._dark import BACKGROUND, on_dark
from flowguide.plot._styles import MAX_CURVES, METHOD_STYLES, OTHER_STYLES
from flowguide.plot._ticks import spread_ticks
from flowguide.report._findings import find
from flowguide.report._picture_changes import draw_changes, draw_weights, MAX_BARS
from flowguide.report._picture_compute import compute_picture
from flowguide.report._picture_profiles import draw_profiles
from flowguide.report._picture_tasks import draw_conditions, draw_iqm, draw_tasks, draw_tuned
from flowguide.report._read import Group, Results, TunedFolder
from flowguide.results import compare, Condition, Episode, write_episodes

PNG = b"\x89PNG"


def play(conditions, *, episodes=12, train_seed=0, told=True):
    generator = np.random.default_rng(0)
    found = []
    for i, condition in enumerate(conditions):
        for seed in range(episodes):
            won = bool(generator.random() < (i + 1) / (len(conditions) + 1)) if told else None
            value = float(generator.normal(-100, 20))
            episode = Episode(condition, train_seed, seed, won, value, 50, "cube-task1-v0")
            found.append(dataclasses.replace(episode, steps=10, cost=cost_of(condition)))
    return found


def cost_of(condition):
    """What ten steps of the methods in these tests cost."""
    method, n = method_of(condition.curve)
    if condition.label == "unguided":
        return fg.Cost(10)
    if method == "best of 4" or not condition.has_weight:
        return fg.Cost(40, critic_values=4)
    one = fg.Cost(10 + 2 * 55, 55, 0, 10) if method == "bptt" else fg.Cost(10, critic_gradients=10)
    return one if n == 1 else n * one + fg.Cost(critic_values=n)


def crossed(methods, **options):
    found = {name: tuple(several) for name, several in options.items()}
    return Crossing(tuple(methods), **found).conditions


FEW = [
    *crossed(["qgf", "ood", "best_of_n"], kappas=[1.0, 10.0, 100.0], best_of_n=[1, 4]),
    Condition("qgf 0.1", "qgf", 0.1),
    Condition("bptt 0.3", "bptt", 0.3),
]
MANY = crossed(
    ["qgf", "ood", "ode", "bptt", "qgf_jacobian", "robust_q", "best_of_n"],
    weights=np.geomspace(1e-3, 1e3, 40).tolist(),
    best_of_n=[1, 2, 4, 8, 16, 32, 64],
)


def overlaps(figure, texts):
    """Pairs of them that lie on each other, in a figure that was laid out."""
    figure.canvas.draw()
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
    return [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(boxes, 2)
        if a.overlaps(b) and one != other
    ]


def texts_of(figure):
    above = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    found = [figure._suptitle] + [text for x in (*figure.legends, *above) for text in x.texts]
    for axes in figure.axes:
        found += [*axes.texts, axes.xaxis.label, axes.yaxis.label, axes.title]
        for axis, place in ((axes.xaxis, 0), (axes.yaxis, 1)):
            low, high = sorted(axis.get_view_interval())
            # The others are not drawn.
            ticks = [
                text for text in axis.get_ticklabels() if low <= text.get_position()[place] <= high
            ]
            found += (
                ticks if axis.get_tick_params()["labelleft" if place else "labelbottom"] else []
            )
    return [text for text in found if text is not None and text.get_visible()]


def check(picture):
    """No text lies on other text or beyond the figure, and no line is without its interval."""
    assert overlaps(picture.figure, texts_of(picture.figure)) == []
    width, height = picture.figure.get_size_inches() * picture.figure.dpi
    for text in texts_of(picture.figure):
        if text.get_text():
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= width + 1, text
            assert box.y0 >= 0 and box.y1 <= height + 1, text
    for axes in picture.figure.axes:
        for container in axes.containers:
            if isinstance(container, ErrorbarContainer):
                assert container.has_xerr or container.has_yerr


def drawn_weights(*arguments):
    picture = draw_weights(*arguments)
    assert picture is not None
    return picture


@pytest.fixture(scope="module")
def few():
    return compare(play(FEW))


@pytest.fixture(scope="module")
def many():
    assert len(MANY) > 1000
    return compare(play(MANY, episodes=3))


@pytest.fixture(scope="module")
def alone(few):
    """Two curves, and two conditions without a weight: one panel has room for them."""
    return [row for row in few if ", best of" not in row.condition.curve]


def test_success_and_return_against_weights(alone):
    picture = drawn_weights("name", "a task", alone, "kappa", Styles(FEW))
    check(picture)
    success, returns = picture.figure.axes
    assert success.get_ylabel() == "success rate" and returns.get_ylabel() == "mean return"
    assert "kappa" in returns.get_xlabel()
    assert [tick.get_text() for tick in returns.get_xticklabels()] == ["1", "10", "100"]
    names = {text.get_text() for text in picture.figure.legends[0].texts}
    assert names == {"unguided", "best of 4", "qgf", "ood"}
    assert picture.left_out == ""
    # Bands of the two without a weight, intervals of the two curves.
    assert len(success.patches) == 2 and len(success.containers) == 2
    title = picture.figure._suptitle.get_text()
    assert "12 episodes each" in title and "95%" in title


def test_of_many_curves_each_has_a_row(few):
    picture = drawn_weights("name", "a task", few, "kappa", Styles(FEW))
    check(picture)
    axes = picture.figure.axes
    curves = ["qgf", "ood", "qgf, best of 4", "ood, best of 4"]
    assert sorted(each.get_title() for each in axes[::2]) == sorted(curves)
    assert [each.get_ylabel() for each in axes] == ["success rate", "mean return"] * 4
    assert [bool(each.get_xlabel()) for each in axes] == [False] * 6 + [True] * 2
    # The two without a weight, and its own curve.
    assert all(len(each.patches) == 2 and len(each.containers) == 1 for each in axes)
    # Of one measure all have one scale, so that rows can be compared.
    assert len({each.get_ylim() for each in axes[1::2]}) == 1


def test_one_episode_has_no_empty_panel():
    rows = compare(play(FEW, episodes=1))
    picture = drawn_weights("name", "a task", rows, "kappa", Styles(FEW))
    check(picture)
    # Of one episode there is no mean return.
    assert [axes.get_ylabel() for axes in picture.figure.axes] == ["success rate"] * 4
    assert picture.caption.startswith("Success against") and "return" not in picture.caption
    assert "1 episode each; 95% intervals: Wilson" in picture.figure._suptitle.get_text()
    untold = compare(play(FEW, episodes=1, told=False))
    assert draw_weights("name", "a task", untold, "kappa", Styles(FEW)) is None


def test_pictures_fit_a_phone(few, alone):
    found = [
        drawn_weights("name", "a task", alone, "kappa", Styles(FEW)),
        drawn_weights("name", "a task", few, "kappa", Styles(FEW)),
        compute_picture("name", "a task", few, Styles(FEW)),
        draw_changes("name", "a task", few),
        draw_conditions("name", "a task", few),
    ]
    for picture in found:
        assert picture is not None
        # At 356 pixels, which a page of 390 has for it, no text is below 7 of them.
        scale = 356 / (picture.figure.get_size_inches()[0] * 72)
        assert min(text.get_fontsize() for text in texts_of(picture.figure)) * scale > 7
        # No legend takes room from the panels' width.
        axes = picture.figure.axes[0]
        assert axes.get_position().width * axes.get_gridspec().ncols > 0.55


def test_a_weight_that_is_zero_or_negative_has_a_place():
    conditions = [Condition(), *(Condition(f"qgf {w}", "qgf", w) for w in (-1.0, 0.0, 0.5, 2.0))]
    picture = drawn_weights("name", "a task", compare(play(conditions)), "raw", Styles(conditions))
    check(picture)
    assert picture.figure.axes[0].get_xscale() == "symlog"


def test_an_environment_that_tells_no_success_has_returns_alone():
    rows = compare(play(FEW, told=False))
    picture = drawn_weights("name", "a task", rows, "kappa", Styles(FEW))
    assert [axes.get_ylabel() for axes in picture.figure.axes] == ["mean return"] * 4
    assert draw_changes("name", "a task", rows) is None
    assert compute_picture("name", "a task", rows, Styles(FEW)) is None


def test_success_against_compute(few):
    picture = compute_picture("name", "a task", few, Styles(FEW))
    assert picture is not None
    check(picture)
    panels = picture.figure.axes
    assert "10 flow steps, critics of 2 networks" in panels[-1].get_xlabel()
    assert "as the episodes recorded them" in picture.caption
    ticks = [tick.get_text() for tick in panels[-1].get_xticklabels()]
    assert ticks == ["10", "48", "208"]
    # As many points as conditions, each near its cost; the best of each curve has its interval.
    dots = [x for axes in panels for x in axes.lines if x.get_marker() == "."]
    points = [x for line in dots if line.get_color() != "0.87" for x in line.get_xdata()]
    containers = [container for axes in panels for container in axes.containers]
    best = [x for container in containers for x in container.lines[0].get_xdata()]
    series = {row.condition.series for row in few}
    assert len(best) == len(series) and len(best) + len(points) == len(FEW)
    # No panel has more than can be told apart, and in each the others are grey.
    assert len(panels) == 2 and all(len(axes.containers) <= MAX_IN_PANEL for axes in panels)
    for axes in panels:
        grey = [line for line in axes.lines if line.get_color() == "0.87"]
        assert len(grey) + len(axes.containers) == len(series)
    # Every weight stands beside its point, or with others that are as high.
    for axes in panels:
        told = sorted(float(w) for text in axes.texts for w in text.get_text().split(", "))
        colors = {container.lines[0].get_color() for container in axes.containers}
        assert {text.get_color() for text in axes.texts} <= colors
        labels = axes.get_legend_handles_labels()[1]
        drawn = {name for name in series if any(x.startswith(name.split(" (")[0]) for x in labels)}
        assert told and set(told) <= {
            row.condition.weight for row in few if row.condition.series in drawn
        }
    named = [w for axes in panels for text in axes.texts for w in text.get_text().split(", ")]
    assert len(named) == sum(row.condition.has_weight for row in few)
    assert picture.left_out == ""
    costs = sorted([10, *[48] * 1, *[50] * 7, *[208] * 6, 215])
    together = sorted([*points, *best])
    assert all(abs(math.log(x / c)) < 0.2 for x, c in zip(together, costs, strict=True))
    told = {text.get_text() for axes in panels for text in axes.get_legend().texts}
    for name in series:
        mine = [row for row in few if row.condition.series == name]
        highest = max(row.success.rate for row in mine)
        names = {f"{r.condition}: {r.cost.forwards()}" for r in mine if r.success.rate == highest}
        assert len(names & told) == 1
    # One condition has nothing to be compared with.
    assert compute_picture("name", "a task", few[:1], Styles(FEW)) is None


def test_no_two_curves_have_the_same_marker():
    conditions = [
        *crossed(["qgf", "best_of_n"], kappas=[1.0], local=[1.0], best_of_n=[1, 4]),
        Condition("qgf 0.1", "qgf", 0.1),
        *(Condition(f"m{i} 1", f"m{i}", 1.0) for i in range(8)),
        *(Condition(f"p{i}") for i in range(3)),
    ]
    styles = Styles(conditions)
    episodes = [dataclasses.replace(e, cost=fg.Cost(10)) for e in play(conditions)]
    picture = compute_picture("name", "a task", compare(episodes), styles)
    assert picture is not None
    lines = [x.lines[0] for axes in picture.figure.axes for x in axes.containers]
    looks = [(line.get_color(), line.get_marker(), line.get_fillstyle()) for line in lines]
    assert len(looks) > 14 and len(set(looks)) == len(looks)
    # A marker that cannot be filled would hide that.
    assert all(line.get_marker() not in ("x", "+", ".", ",") for line in lines)
    weights = drawn_weights("name", "a task", compare(episodes), "raw", styles)
    curves = [c.lines[0] for axes in weights.figure.axes[::2] for c in axes.containers]
    looks = [(x.get_color(), x.get_marker(), x.get_linestyle()) for x in curves]
    assert len(looks) == 9 - styles.left_out(conditions).count("m")
    assert len(set(looks)) == len(looks)


def test_gained_and_lost_episodes(few):
    picture = draw_changes("name", "a task", few)
    assert picture is not None
    check(picture)
    (axes,) = picture.figure.axes
    shown = [text.get_text().split() for text in axes.texts]
    rows = [row for row in few if row.difference]
    assert shown == [[f"+{r.gained}", f"-{r.lost}", "of", "12"] for r in rows]
    gained = [bar.get_width() for bar in axes.patches[::2]]
    lost = [bar.get_width() for bar in axes.patches[1::2]]
    assert gained == pytest.approx([(row.gained or 0) / 12 for row in rows])
    assert lost == pytest.approx([-(row.lost or 0) / 12 for row in rows])


def test_a_thousand_conditions_do_not_make_a_larger_picture(many):
    styles = Styles(MANY)
    weights = drawn_weights("name", "a task", many, "raw", styles)
    compute = compute_picture("name", "a task", many, styles)
    changes = draw_changes("name", "a task", many)
    assert compute is not None and changes is not None
    for picture in (weights, compute, changes):
        assert max(picture.figure.get_size_inches()) < 12
        assert picture.left_out != ""
        assert overlaps(picture.figure, texts_of(picture.figure)) == []
    assert "No room for" in weights.left_out and "best of 64" in weights.left_out
    success = weights.figure.axes[::2]
    curves = [line for axes in success for line in axes.lines if len(line.get_xdata()) == 40]
    assert len(curves) == MAX_CURVES
    # A curve without room for caps has a shaded interval instead.
    assert sum(len(axes.collections) for axes in success) == MAX_CURVES
    assert 2 < len(changes.figure.axes[0].texts) <= MAX_BARS
    # An interval for each curve, whatever its weights are.
    assert sum(len(axes.containers) for axes in compute.figure.axes) < 3 * MAX_CURVES


def test_several_tasks_and_what_was_chosen():
    groups = [
        Group(task, "", "played", [dataclasses.replace(e, task=task) for e in both])
        for task in ("a-singletask-task1-v0", "b-v0", "c-v0")
        for both in [play(FEW, episodes=6) + play(FEW, episodes=6, train_seed=1)]
    ]
    chosen = Condition("qgf kappa 10", "qgf", 10.0, "kappa")
    tuned = TunedFolder("d-v0", "", [chosen], [(3, 6)], groups[0].episodes, groups[1])
    findings = find(Results(groups, [], 0))
    styles = Styles(FEW)
    tasks = draw_tasks("name", "3 tasks", findings.compared, "kappa", styles)
    iqm = draw_iqm("name", "3 tasks", findings.tasks[0], styles)
    rows = findings.compared[1].rows
    found = draw_tuned("name", "d", tuned, findings.compared[0].rows, rows)
    assert tasks is not None and iqm is not None and found is not None
    profiles = draw_profiles("name", "3 tasks", findings.tasks[0], styles)
    assert profiles is not None
    for picture in (tasks, iqm, found, profiles):
        check(picture)
    # A curve and its band for each look: unguided first.
    (axes,) = profiles.figure.axes
    drawn = [text.get_text() for text in profiles.figure.legends[0].texts]
    assert drawn[0] == "unguided" and "best of 4" in drawn and len(drawn) == 5
    assert len(axes.collections) == len(axes.lines) == 5
    for line in axes.lines:
        # The share of the runs above falls with the rate.
        assert np.all(np.diff(line.get_ydata()) <= 0) and line.get_ydata()[-1] == 0
    shown = [axes for axes in tasks.figure.axes if axes.axison]
    assert [axes.get_title() for axes in shown] == ["a-task1", "b", "c"]
    assert len({axes.get_xlim() for axes in shown}) == 1
    assert "6 runs each" in iqm.figure._suptitle.get_text()
    assert [axes.get_xlabel() for axes in iqm.figure.axes][1].endswith("(kappa)")
    # Unguided, best of 4 and the chosen one, before and after.
    (axes,) = found.figure.axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == ["unguided", "best of 4", "qgf kappa 10"] and len(axes.containers) == 6
    # One task has nothing to be beside.
    assert draw_tasks("name", "1 task", findings.compared[:1], "kappa", styles) is None


def test_every_method_has_its_own_colour():
    styles = Styles(MANY)
    kept = [condition for condition in MANY if styles.has(condition)]
    looks = {
        condition.series: (
            styles.color(condition),
            styles.marker(condition),
            str(styles.dashes(condition)),
        )
        for condition in kept
    }
    assert len(set(looks.values())) == len(looks) > 6
    # And the same one whatever it is drawn with.
    alone = Condition("ood 1", "ood", 1.0)
    assert Styles([alone]).color(alone) == looks["ood"][0] == METHOD_STYLES["ood"][0]


def test_guidances_of_ones_own_are_coloured_in_turn():
    names = ["mine", "yours", "theirs", "qgf", "mine, best of 4"]
    weighted = [Condition(f"{name} {w:g}", name, w) for name in names for w in (0.1, 1.0)]
    plain = [Condition(name) for name in ("a", "b", "c", "d", "e")]
    styles = Styles([Condition(), *weighted, *plain])
    assert all(map(styles.has, [Condition(), *weighted, *plain]))
    looks = {c.curve: (styles.color(c), styles.marker(c)) for c in weighted}
    assert looks["mine"] == looks["mine, best of 4"]
    assert len(set(looks.values())) == 4 and looks["qgf"] == METHOD_STYLES["qgf"]
    dashes = {c.curve: styles.dashes(c) for c in weighted}
    assert dashes["mine"] != dashes["mine, best of 4"]
    assert len({(styles.color(c), str(styles.dashes(c))) for c in [Condition(), *plain]}) == 6
    # The same whatever the order, and their picture can be drawn.
    assert Styles([*plain, *reversed(weighted)]).color(weighted[0]) == looks["mine"][0]
    rows = compare(play([Condition(), *weighted, *plain]))
    check(drawn_weights("name", "a task", rows, "raw", styles))


def test_a_unit_of_ones_own_has_its_axis():
    conditions = [Condition(), *(Condition(f"m {w:g}", "m", w, "metres") for w in (0.5, 2.0))]
    rows, styles = compare(play(conditions)), Styles(conditions)
    picture = drawn_weights("name", "a task", rows, "metres", styles)
    check(picture)
    assert picture.figure.axes[-1].get_xlabel() == "guidance weight (metres)"
    compute = compute_picture("name", "a task", rows, styles)
    assert compute is not None
    check(compute)


def test_conditions_without_a_weight_are_a_list():
    conditions = [Condition(), Condition("mine"), Condition("yours")]
    picture = draw_conditions("name", "a task", compare(play(conditions)))
    assert picture is not None
    check(picture)
    (axes,) = picture.figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["unguided", "mine", "yours"]
    assert draw_conditions("name", "a task", compare(play(conditions, told=False))) is None


def test_conditions_whose_cost_is_not_known_are_left_out_of_compute():
    conditions = [
        Condition(),
        *FEW[1:4],
        Condition("mine"),
        Condition("very own 1", "very own", 1.0),
    ]
    episodes = [
        dataclasses.replace(e, cost=None)
        if "own" in e.condition.label or "mine" == str(e.condition)
        else e
        for e in play(conditions)
    ]
    picture = compute_picture("name", "a task", compare(episodes), Styles(conditions))
    assert picture is not None
    check(picture)
    assert picture.left_out == (
        "4 of 6 conditions are shown. Of mine, very own 1 the cost is not known."
    )
    nothing = [dataclasses.replace(e, cost=None) for e in episodes]
    assert compute_picture("name", "a task", compare(nothing), Styles(conditions)) is None


weights = st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=30, unique=True).map(sorted)


@given(weights, st.floats(0.02, 0.3))
def test_ticks_leave_room_for_each_other(weights, room):
    length = math.log(weights[-1] / weights[0]) + 0.6
    ticks = spread_ticks(weights, length, room)
    assert ticks[0] == weights[0] and set(ticks) <= set(weights)
    gaps = [math.log(b / a) for a, b in itertools.pairwise(ticks)]
    assert all(gap >= room * length for gap in gaps)
    # None is missing without a reason.
    for weight in set(weights) - set(ticks):
        assert any(0 <= math.log(weight / tick) < room * length for tick in ticks)


def test_pictures_of_files(tmp_path):
    file = tmp_path / "success.png"
    plot_success(play(FEW), file, "a task")
    assert file.read_bytes().startswith(PNG)
    for step in (100, 200):
        for seed in (0, 1):
            episodes = play([Condition(), Condition("qgf 1", "qgf", 1.0)], train_seed=seed)
            write_episodes(tmp_path / f"seed_{seed}_update_{step:09d}.jsonl", episodes)
    along = tmp_path / "along.png"
    plot_along_training(tmp_path, along, "a task")
    assert along.read_bytes().startswith(PNG)


def test_more_curves_than_a_reader_can_tell_apart_have_a_panel_each():
    methods = ["qgf", "ood", "ode", "bptt", "qgf_jacobian", "posterior"]
    few, many = (crossed(methods[:n], kappas=[1.0, 10.0], best_of_n=[1]) for n in (2, 6))
    for conditions, titles in ((few, [""]), (many, sorted(methods))):
        rates = {row.condition: row.success for row in compare(play(conditions))}
        figure, panels = curve_panels(rates, Styles(rates), "success rate")
        assert [axes.get_title() for axes in panels] == titles
        figure.canvas.draw()
        for axes in panels:
            # The unguided policy is in each.
            assert len(axes.patches) == 1 and 1 <= len(axes.containers) <= MAX_IN_PANEL - 1
            assert axes.get_ylim() == panels[0].get_ylim()


def luminance(color):
    codes = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in codes]
    return sum(a * x for a, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_read_and_told_apart_on_dark():
    assert on_dark("#ffffff") == BACKGROUND and contrast(on_dark("#000000"), BACKGROUND) > 10
    colors = [color.lower() for color, _ in (*METHOD_STYLES.values(), *OTHER_STYLES)]
    dark = {on_dark(color) for color in colors}
    assert len(dark) == len(set(colors))
    # As of WCAG: text.
    assert min(contrast(color, BACKGROUND) for color in dark) >= 4.5
    # Tints of white become tints of the page.
    assert contrast(on_dark("#e8eef7"), BACKGROUND) < 1.6


def test_a_drawing_has_a_twin_and_is_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        figure = new_figure(5.2, 2.0)
        axes = figure.subplots()
        axes.plot(np.arange(500), np.zeros(500), color="#0072B2", label="a name")
        axes.fill_between([0, 1], [1, 1], color="white")
        axes.legend()
        light, dark = save_picture(figure, tmp_path / f"{name}.svg")
        assert (light.name, dark.name) == (f"{name}.svg", f"{name}-dark.svg")
    drawn = light.read_text()
    assert drawn == (tmp_path / "one.svg").read_text()
    # As wide as a page's column, its text as text in the page's font; points on a line go.
    assert 'width="749" height="288"' in drawn and "a name</text>" in drawn
    assert "DejaVu" not in drawn and "<dc:date>" not in drawn and len(drawn) < 20_000
    swapped = dark.read_text()
    assert "#0072b2" in drawn and "#0072b2" not in swapped and on_dark("#0072b2") in swapped
    assert "#ffffff" in drawn and "#ffffff" not in swapped and BACKGROUND in swapped
    # Other kinds of files are as they were.
    (png,) = save_picture(figure, tmp_path / "one.png")
    assert png.read_bytes().startswith(PNG)
