"""The page "See the idea" in a real browser: numbers are flowguide's, sentences are true."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from scipy.special import logsumexp

import flowguide
from flowguide.diagnose import MixtureVelocity

# Modes, standard deviation and bounds of an action, by the dimensions.
MIXTURES = {
    1: ([[-2.0], [0.0], [1.0]], 0.15, 4.0),
    2: ([[-1.2, -0.6], [0.1, 1.2], [1.2, -0.5]], 0.13, 3.0),
}
# The place, width and height of the false peak.
PEAKS = {
    (1, "beyond"): ([2.2], 0.3, 4.0),
    (1, "between"): ([-1.0], 0.3, 4.0),
    (2, "beyond"): ([0.0, -1.6], 0.4, 6.0),
    (2, "between"): ([0.0, 0.1], 0.3, 3.0),
}
SETTINGS = [
    {"critic": "right", "weight": 1.0, "steps": 10, "n": 4, "t": 0.5, "x": 1.0, "y": -0.2},
    {"critic": "beyond", "weight": 0.3, "steps": 10, "n": 3, "t": 0.2, "x": -0.5, "y": 0.7},
    {"critic": "between", "weight": 5.0, "steps": 4, "n": 16, "t": 0.75, "x": 0.3, "y": -1.1},
]


class Critic(eqx.Module):
    best: Array
    at: Array
    width: Array
    height: Array

    def __call__(self, observation, action):
        away = jnp.sum((action - self.at) ** 2)
        bump = self.height * jnp.exp(-away / (2 * self.width**2))
        return bump - jnp.sum((action - self.best) ** 2)


@pytest.fixture
def idea(page, address):
    page.goto(f"{address}/idea.html")
    yield page
    assert page.wrong == []


def shown(page):
    """What is shown, once the frame is drawn that the last input asked for."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate("idea()")


def choose(page, dimensions, settings):
    page.check(f"[name=dimensions][value='{dimensions}']")
    page.select_option("[name=critic]", settings["critic"])
    for name in settings.keys() - {"critic"} - ({"y"} if dimensions == 1 else set()):
        page.fill(f"[name={name}]", f"{settings[name]:g}")
    return shown(page)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings["critic"])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_all_actions_are_those_of_flowguide(idea, x64, dimensions, settings):
    found = choose(idea, dimensions, settings)
    modes, std, bound = MIXTURES[dimensions]
    policy = flowguide.FlowPolicy(
        MixtureVelocity(jnp.asarray(modes), std),
        (dimensions,),
        num_steps=settings["steps"],
        low=-bound,
        high=bound,
    )
    best = np.asarray([settings["x"], settings["y"]][:dimensions])
    peak = PEAKS.get((dimensions, settings["critic"]), (modes[0], 1.0, 0.0))
    critic = Critic(jnp.asarray(best), *map(jnp.asarray, peak))
    weight = settings["weight"]
    policies = {
        "unguided": policy,
        **{m: flowguide.guide(policy, critic, m, weight=weight) for m in ("ood", "qgf", "bptt")},
        "best_of_n": flowguide.guide(policy, critic, "best_of_n", n=settings["n"]),
    }
    assert found["panels"].keys() == policies.keys()
    noises = jnp.asarray(found["noises"])
    assert noises.shape[1:] == (16, dimensions) and len(noises) > 100
    step = round(settings["t"] * settings["steps"])
    for method, one in policies.items():
        panel = found["panels"][method]
        starts = noises[:, : settings["n"]] if method == "best_of_n" else noises[:, 0]
        trace = jax.jit(jax.vmap(lambda noise, one=one: one.trace(noise, None)))(starts)
        # Floats of 64 bits on both sides: far below the 1e-3 that a reader could see.
        np.testing.assert_allclose(panel["actions"], trace.action, atol=1e-6, err_msg=method)
        np.testing.assert_allclose(panel["at_t"], trace.actions[:, step], atol=1e-6, err_msg=method)
        numbers = numbers_of(np.asarray(trace.action), critic, best, modes, std)
        assert {name: panel[name] for name in numbers} == pytest.approx(numbers, abs=1e-6)
        told = idea.locator(f"[data-method={method}] [data-number=critic] dd").inner_text()
        assert float(told.replace("−", "-")) == pytest.approx(numbers["critic"], abs=0.00501)


def numbers_of(actions, critic, best, modes, std):
    away = np.linalg.norm(actions[:, None] - np.asarray(modes), axis=2)
    exponents = -(away**2) / (2 * std**2) - actions.shape[1] * np.log(std * np.sqrt(2 * np.pi))
    return {
        "critic": float(jax.vmap(lambda action: critic(None, action))(actions).mean()),
        "truth": -np.mean(np.sum((actions - best) ** 2, axis=1)),
        "density": np.mean(logsumexp(exponents, axis=1) - np.log(len(modes))),
        "off": np.mean(away.min(axis=1) > 4 * std),
    }


def test_the_sentences_are_true(idea):
    examples = idea.locator("[data-set]")

    def after(number):
        examples.nth(number - 1).click()
        found = shown(idea)
        asked = json.loads(examples.nth(number - 1).get_attribute("data-set"))
        assert asked.items() <= found["settings"].items()
        return found["panels"]

    fair = after(1)
    for method, least in {"ood": 0.95, "qgf": 0.95, "bptt": 0}.items():
        actions, modes = np.asarray(fair[method]["actions"]), np.asarray(MIXTURES[2][0])
        beside = np.linalg.norm(actions[:, None] - modes, axis=2).argmin(1) == 2
        assert least <= np.mean(beside) and (method != "bptt" or np.mean(beside) < 0.8)

    after(2)
    idea.fill("[name=t]", "0.05")
    line = shown(idea)
    noise = np.asarray(line["noises"])[:, 0]
    first = {m: np.abs(line["panels"][m]["at_t"] - noise).max() for m in ("qgf", "bptt")}
    assert first["bptt"] > 3 * first["qgf"]

    large = after(3)["qgf"]
    assert 0 < large["critic"] - fair["qgf"]["critic"] < 0.2
    assert large["density"] < fair["qgf"]["density"] - 2
    assert np.linalg.norm(np.asarray(large["actions"]) - [1.0, -0.2], axis=1).mean() < 0.05

    few = after(4)
    outside = np.abs(few["ood"]["actions"]).max(1) > 2
    assert np.mean(outside) > 0.5
    assert few["qgf"]["critic"] > -0.1 and few["qgf"]["off"] > 0.9

    beyond = after(5)
    assert 0.17 < beyond["ood"]["off"] < 0.2
    assert abs(beyond["qgf"]["off"] - fair["qgf"]["off"]) < 0.01
    assert abs(beyond["qgf"]["truth"] - fair["qgf"]["truth"]) < 0.01

    between = after(6)
    assert 0.2 < between["qgf"]["off"] < between["ood"]["off"] - 0.2
    assert between["best_of_n"]["off"] == 0

    sixteen = after(7)
    assert abs(sixteen["best_of_n"]["truth"] - sixteen["qgf"]["truth"]) < 0.02
    assert sixteen["best_of_n"]["density"] > sixteen["qgf"]["density"] + 0.5
    assert sixteen["best_of_n"]["off"] < sixteen["qgf"]["off"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_panels_are_drawn_side_by_side(idea, width, scheme):
    idea.emulate_media(color_scheme=scheme)
    idea.set_viewport_size({"width": width, "height": 844})
    shown(idea)
    boxes = [canvas.bounding_box() for canvas in idea.locator(".idea canvas").all()]
    assert len(boxes) == 5
    assert sum(box["y"] == boxes[0]["y"] for box in boxes) == (2 if width == 390 else 5)
    assert idea.evaluate("document.documentElement.scrollWidth") == width
    colors = idea.evaluate(
        """[...document.querySelectorAll(".idea canvas")].map((canvas) => new Set(
            canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data).size)"""
    )
    assert min(colors) > 50


def test_the_switch_to_dark_draws_the_panels_again(idea):
    def first():
        shown(idea)
        return idea.evaluate("document.querySelector('.idea canvas').toDataURL()")

    light = first()
    assert first() == light
    idea.click("label[title='Switch to dark mode']")
    idea.wait_for_selector("body[data-md-color-scheme=slate]")
    assert first() != light


def test_keys_move_a_slider_and_reset_undoes_it(idea):
    idea.focus("[name=weight]")
    idea.keyboard.press("ArrowRight")
    assert shown(idea)["settings"]["weight"] == 1.1
    assert idea.locator("label:has([name=weight]) output").inner_text() == "1.1"
    idea.click("#idea [type=reset]")
    assert shown(idea)["settings"]["weight"] == 1


def test_play_goes_from_noise_to_action(idea):
    idea.click("[data-play]")
    idea.wait_for_function("0 < idea().settings.t && idea().settings.t < 1")
    idea.wait_for_function("document.querySelector('[data-play]').textContent === 'Play'")
    assert shown(idea)["settings"]["t"] == 1


def test_without_javascript_a_sentence_says_where_pictures_are(browser, address):
    page = browser.new_page(java_script_enabled=False)
    page.goto(f"{address}/idea.html")
    assert page.locator("noscript a").first.is_visible()
    assert not page.locator("#idea").is_visible()
    page.close()
