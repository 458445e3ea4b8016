"""One entry a method, from which everything else comes."""

import typing

import pytest

import flowguide as fg
from flowguide._catalogue import method_named
from flowguide._guide import FlowMethod

from .helpers import METHODS, without_typechecker


@pytest.mark.parametrize("name", METHODS)
def test_each_method_is_described_and_is_a_name_of_the_package(name):
    method = fg.CATALOGUE[name]
    assert method.name == name and method.make is getattr(fg, name) and name in fg.__all__
    assert method.summary and not method.summary.endswith(".") and len(method.summary) < 80
    said = method.make.__doc__ or ""
    assert "**Arguments:**" in said and "**Returns:**" in said
    assert "Source:" in said or "cite" in said
    assert method.source.split(" (")[0].split(" ")[0] in said or "cite" in said


def test_the_names_that_return_flow_policies_are_known_to_type_checkers():
    flows = {n for n in METHODS if fg.CATALOGUE[n].family in ("gradient", "conditioned")}
    assert set(typing.get_args(FlowMethod)) == flows


def test_a_method_of_ones_own_has_a_name(monkeypatch):
    monkeypatch.setattr("flowguide._catalogue.CATALOGUE", dict(fg.CATALOGUE))
    made = []

    def make(strength: float = 1.0):
        made.append(strength)
        return lambda policy, critic: policy

    fg.register("mine", make, summary="does nothing")
    policy = fg.FlowPolicy(lambda t, a, o: a, (3,))

    def critic(observation, action):
        return action.sum()

    assert fg.guide(policy, critic, "mine", strength=2.0) is policy
    assert fg.guide(policy, critic, ["mine", fg.best_of_n(2)]).policy is policy  # pyright: ignore[reportAttributeAccessIssue]
    assert made == [2.0, 1.0]
    fg.register("mine", make)
    for name in ("qgf", "unguided", "mine"):
        with pytest.raises(ValueError, match=f"There is a method '{name}' already"):
            fg.register(name, lambda: None)
    with pytest.raises(ValueError, match="name must be an identifier"):
        fg.register("my method", make)
    with without_typechecker(), pytest.raises(TypeError, match="make must be a callable"):
        fg.register("other", 3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"mine has no option \['weight'\].*'strength'"):
        fg.guide(policy, critic, "mine", weight=1.0)
    # What passes options on says itself which it takes.
    fg.register("passing", lambda weight=1.0, **options: fg.qgf(weight, **options))
    assert list(method_named("passing").options) == ["weight"]
    assert fg.guide(policy, critic, "passing", debug=True).guidance[0].guidance.debug  # pyright: ignore[reportAttributeAccessIssue]
