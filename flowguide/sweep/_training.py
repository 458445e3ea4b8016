import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..ogbench import dataset_name
from ..runs import preset, PRESETS, Settings, WATCHING
from ._tables import check_keys, convert, from_table

# What the sweep itself decides, and why.
_DECIDED = {
    "task": "tasks of the plan say it",
    "seed": "seeds of the plan say it",
    "seeds": "each seed is a job of its own",
    "frozen": "critics are trained for the policy of their dataset",
    "learner": "a plan clones its policies",
    "coefficient": "it is one of learners, and a plan clones its policies",
}

# What says how a critic learns: the policy of a dataset does not depend on it.
_OF_CRITIC = (
    "expectile critic_horizon distil_expectile num_critics pessimism target_rate target_method "
    "target_weight target_best_of_n keep bootstrap_through_success"
).split()

CRITICS = ("iql", "sarsa", "bootstrapped", "monte_carlo", "success_to_go")


@dataclasses.dataclass(frozen=True)
class Training:
    """A named way of training, `[train.NAME]` in a plan.

    **Attributes:**

    - `name`: its name, part of the paths of its runs.
    - `options`: fields of `flowguide.runs.Settings`, and `preset`.
    - `differing`: for tasks and datasets by name, what differs for them.
    """

    name: str
    options: Mapping[str, Any]
    differing: Mapping[str, Mapping[str, Any]]

    def critic_settings(self, task: str) -> Settings:
        """How a task's critic is trained, but for the seed, the data's folder and the policy. A
        `ValueError` for settings that are unknown, of another type, or make no sense."""
        settings = self._settings(task, self._differing(task))
        where = f"[train.{self.name}]"
        if settings.critic not in CRITICS:
            raise ValueError(
                f"critic in {where} must be one of {list(CRITICS)}, which learn from a policy "
                f"alone, got {settings.critic!r}."
            )
        try:
            # The folder of the policy is known when there is one.
            dataclasses.replace(settings, frozen=settings.dataset_dir).check()
        except ValueError as error:
            raise ValueError(f"{where}, {task}: {error}") from error
        return settings

    def policy_settings(self, tasks: Sequence[str]) -> Settings:
        """How the policy of a dataset is trained, under the first of its tasks. A `ValueError` if
        they disagree on what it follows from, too."""
        found = {task: self._policy_settings(task) for task in tasks}
        first = found[tasks[0]]
        for task, settings in found.items():
            names = [
                field.name
                for field in dataclasses.fields(Settings)
                if field.name not in WATCHING | {"task"}
                and getattr(settings, field.name) != getattr(first, field.name)
            ]
            if names:
                name = names[0]
                raise ValueError(
                    f"[train.{self.name}] has {name} = {getattr(settings, name)!r} for {task} and "
                    f"{getattr(first, name)!r} for {tasks[0]}, but both have the policy of "
                    f"{dataset_name(task)}: expected the same."
                )
        return first

    def _policy_settings(self, task: str) -> Settings:
        self.critic_settings(task)
        own = self._differing(task)
        # A discount of one task is about its critic; the shared one stays, as `flowguide train
        # --critic none` with the plan's settings has it.
        shared = {key: value for key, value in own.items() if key not in ("critic", "discount")}
        defaults = Settings(task)
        settings = dataclasses.replace(
            self._settings(task, shared),
            **{name: getattr(defaults, name) for name in _OF_CRITIC},
            critic="none",
        )
        try:
            settings.check()
        except ValueError as error:
            raise ValueError(f"[train.{self.name}], {task}: {error}") from error
        return settings

    def _differing(self, task: str) -> dict[str, Any]:
        """A dataset's own settings, and over them a task's."""
        found = {}
        for name in dict.fromkeys((dataset_name(task), task)):
            options = self.differing.get(name, {})
            where = f'[train.{self.name}.tasks."{name}"]'
            _check_options(options, where)
            if "preset" in options:
                raise ValueError(f"preset belongs into [train.{self.name}], not into {where}.")
            found |= options
        return found

    def _settings(self, task: str, own: Mapping[str, Any]) -> Settings:
        where = f"[train.{self.name}]"
        _check_options(self.options, where)
        options = {**self.options, **own}
        kind = convert(options.pop("preset", "default"), str, f"preset in {where}")
        if kind not in PRESETS:
            raise ValueError(f"preset in {where} must be one of {sorted(PRESETS)}, got {kind!r}.")
        changed = from_table(Settings, {"task": task, **options}, where)
        return dataclasses.replace(
            preset(kind, task), **{name: getattr(changed, name) for name in options}
        )


def _check_options(options: Any, where: str) -> None:
    check_keys(options, options, where)
    for name, reason in _DECIDED.items():
        if name in options:
            raise ValueError(f"{name} must not be in {where}: {reason}.")
    known = [f.name for f in dataclasses.fields(Settings) if f.name not in _DECIDED]
    check_keys(options, [*known, "preset"], where)
