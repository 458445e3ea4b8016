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
}
_DECIDED_OF_CLONING = {
    "learner": "[learn.NAME] has policies that a critic trains",
    "coefficient": "it is one of learners, [learn.NAME]",
}

# What says how a critic learns: the policy of a dataset does not depend on it.
_OF_CRITIC = (
    "expectile critic_horizon distil_expectile num_critics pessimism target_rate target_method "
    "target_weight target_best_of_n keep bootstrap_through_success "
    "sparse_rewards"
).split()

CRITICS = ("iql", "sarsa", "bootstrapped", "monte_carlo", "success_to_go")
# What learns from another critic.
CRITICS_OF_CRITICS = ("agf", "robust")


@dataclasses.dataclass(frozen=True)
class Training:
    """A named way of training, `[train.NAME]` or `[learn.NAME]` in a plan.

    **Attributes:**

    - `name`: its name, part of the paths of its runs.
    - `options`: fields of `flowguide.runs.Settings`, and `preset`.
    - `differing`: for tasks and datasets by name, what differs for them.
    - `source`: of `[learn.NAME]` the training whose policies and critics it learns from.
    """

    name: str
    options: Mapping[str, Any]
    differing: Mapping[str, Mapping[str, Any]]
    source: str | None = None

    @property
    def where(self) -> str:
        return f"[{'train' if self.source is None else 'learn'}.{self.name}]"

    def learner_settings(self, task: str) -> Settings:
        """How a critic trains a task's policy, or another critic, but for the seed, the data's
        folder and what is learnt from; errors as of `critic_settings`."""
        options = self._differing(task)
        settings = self._settings(task, options)
        critic = options.get("critic", self.options.get("critic", "none"))
        if critic == "none" and settings.learner == "cloning":
            raise ValueError(
                f"{self.where} lacks learner, such as 'fql', or critic, one of "
                f"{list(CRITICS_OF_CRITICS)}: [train.NAME] clones."
            )
        if critic not in ("none", *CRITICS_OF_CRITICS):
            raise ValueError(
                f"critic in {self.where} must be one of {list(CRITICS_OF_CRITICS)}, which learn "
                f"from the critic of a training, got {critic!r}."
            )
        return self._checked(dataclasses.replace(settings, critic=critic), task)

    def critic_settings(self, task: str) -> Settings:
        """How a task's critic is trained, but for the seed, the data's folder and the policy. A
        `ValueError` for settings that are unknown, of another type, or make no sense."""
        settings = self._settings(task, self._differing(task))
        if settings.critic not in CRITICS:
            raise ValueError(
                f"critic in {self.where} must be one of {list(CRITICS)}, which learn from a policy "
                f"alone, got {settings.critic!r}."
            )
        return self._checked(settings, task)

    def _checked(self, settings: Settings, task: str) -> Settings:
        try:
            # The folder of what is frozen is known when there is one.
            dataclasses.replace(settings, frozen=settings.dataset_dir).check()
        except ValueError as error:
            raise ValueError(f"{self.where}, {task}: {error}") from error
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
                    f"{self.where} has {name} = {getattr(settings, name)!r} for {task} and "
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
            raise ValueError(f"{self.where}, {task}: {error}") from error
        return settings

    def _differing(self, task: str) -> dict[str, Any]:
        """A dataset's own settings, and over them a task's."""
        found = {}
        for name in dict.fromkeys((dataset_name(task), task)):
            options = self.differing.get(name, {})
            where = f'{self.where[:-1]}.tasks."{name}"]'
            self._check_options(options, where)
            if "preset" in options:
                raise ValueError(f"preset belongs into {self.where}, not into {where}.")
            found |= options
        return found

    def _settings(self, task: str, own: Mapping[str, Any]) -> Settings:
        where = self.where
        self._check_options(self.options, where)
        options = {**self.options, **own}
        kind = convert(options.pop("preset", "default"), str, f"preset in {where}")
        if kind not in PRESETS:
            raise ValueError(f"preset in {where} must be one of {sorted(PRESETS)}, got {kind!r}.")
        changed = from_table(Settings, {"task": task, **options}, where)
        return dataclasses.replace(
            preset(kind, task), **{name: getattr(changed, name) for name in options}
        )

    def _check_options(self, options: Any, where: str) -> None:
        check_keys(options, options, where)
        decided = _DECIDED | (_DECIDED_OF_CLONING if self.source is None else {})
        for name, reason in decided.items():
            if name in options:
                raise ValueError(f"{name} must not be in {where}: {reason}.")
        known = [f.name for f in dataclasses.fields(Settings) if f.name not in decided]
        check_keys(options, [*known, "preset"], where)
