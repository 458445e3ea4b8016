import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._agent.cross import check_guidances
from .._agent.guided import conditions_of
from .._agent.runs import load_runs
from .._checks import as_positive_int
from .._results.conditions import Condition, UNGUIDED
from .._results.episodes import Episode
from .._results.statistics import rank
from .._results.tuned import TEST_FILE, TUNED_FILE, VALIDATION_FILE
from .._rollout.rules import Rules, SuccessAt
from .._system.files import replace_file
from ._evaluate import Pool
from ._runs import play_into

# Far from each other and from the seeds that an evaluation begins with.
FIRST_VALIDATION_SEED = 1_000_000
FIRST_TEST_SEED = 2_000_000


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What tuning chose, and what was played.

    **Attributes:**

    - `chosen`: the condition of each curve (`Condition.series`) with the weight that won.
    - `rounds`: of successive halving: each candidate with its number of episodes and its score.
    - `validation`: the episodes that chose. The winners' success in them is optimistic.
    - `test`: the chosen conditions, and those without a weight, in other episodes.
    """

    chosen: list[Condition]
    rounds: list[dict[Condition, tuple[int, float]]]
    validation: list[Episode]
    test: list[Episode]


def tune_runs(
    runs: Sequence[str | os.PathLike],
    candidates: Mapping[str, Any],
    out: str | os.PathLike,
    *,
    validation_episodes: int = 32,
    test_episodes: int = 50,
    training: str = "",
    environment: str | None = None,
    replan: int | None = None,
    max_episode_steps: int | None = None,
    success_at: SuccessAt = "end",
    rescale: bool = False,
    num_envs: int | None = None,
    timeout: float = 120.0,
    on_message: Callable[[str], Any] = print,
    progress: bool = True,
) -> Tuned:
    """Chooses weights on validation episodes, and plays test episodes with what was chosen.

    Weights of one curve and one unit compete by successive halving: all play a few episodes, the
    better half plays twice as many, and so on, until two have played all validation episodes and
    one has won. Success decides, then the return, then the smaller weight; one choice serves all
    training seeds. Killed and called again, it plays only what is missing.

    **Arguments:**

    - `runs`: folders of `flowguide train`, of one task.
    - `candidates`: labels and guidances, as in `evaluate`. Guidances of one curve are those whose
        labels differ in the weight alone, as `flowguide.evaluate.cross` names them. Those without a
        weight only play the test.
    - `out`: a folder for `validation.jsonl`, `test.jsonl` and `tuned.json`.
    - `validation_episodes`, `test_episodes`: of each training seed and condition. The two have
        different seeds.
    - `training`, `environment`, `replan`, `max_episode_steps`, `success_at`, `rescale`, `num_envs`,
        `timeout`, `on_message`, `progress`: as in `evaluate_runs`.

    **Returns:**

    A `Tuned`.

    **Raises:**

    `ValueError` if no candidate has a weight, and what `evaluate_runs` raises.

    Source: successive halving, Jamieson and Talwalkar (arXiv 1502.07943).
    """
    validation_episodes = as_positive_int("validation_episodes", validation_episodes)
    test_episodes = as_positive_int("test_episodes", test_episodes)
    check_guidances(candidates)
    conditions = list(conditions_of(candidates).values())
    curves: dict[str, list[Condition]] = {}
    for condition in conditions:
        if condition.has_weight:
            curves.setdefault(condition.series, []).append(condition)
    if not curves:
        raise ValueError("Nothing to tune: no candidate has a weight.")
    loaded = load_runs(runs, training, environment)
    task, seeds_each = loaded.environment, len(loaded.agents)
    rules = Rules(replan, loaded.goal_conditioned, max_episode_steps, success_at, rescale)
    folder = Path(out).expanduser()
    validation: dict[Any, Episode] = {}
    rounds = []
    with Pool() as pool:

        def play(file: str, some: Sequence[Condition], seeds: Sequence[int]) -> list[Episode]:
            return play_into(
                folder / file,
                loaded,
                # The unguided policy is tested, whether it is a candidate or not.
                {c.label: candidates.get(c.label) for c in some},
                seeds,
                rules,
                num_envs=num_envs,
                timeout=timeout,
                on_message=on_message,
                progress=progress,
                pool=pool,
            )

        left = dict(curves)
        for episodes in halving(max(map(len, curves.values())), validation_episodes):
            racing = [c for some in left.values() for c in some]
            seeds = range(FIRST_VALIDATION_SEED, FIRST_VALIDATION_SEED + episodes)
            played = play(VALIDATION_FILE, racing, seeds)
            validation |= {episode.key: episode for episode in played}
            ranks = {condition: rank(condition, played) for condition in racing}
            rounds.append({c: (episodes * seeds_each, ranks[c][0]) for c in racing})
            for series, some in left.items():
                best = sorted(some, key=lambda c: ranks[c], reverse=True)
                left[series] = best[: -(-len(best) // 2)]
        chosen = [some[0] for some in left.values()]
        on_message(f"{task}: chosen {', '.join(map(str, chosen))}.")
        others = [condition for condition in conditions if not condition.has_weight]
        tested = list(dict.fromkeys([Condition(UNGUIDED), *others, *chosen]))
        seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + test_episodes)
        test = play(TEST_FILE, tested, seeds)
    tuned = Tuned(chosen, rounds, list(validation.values()), test)
    _write(folder / TUNED_FILE, tuned, task, training)
    return tuned


def halving(candidates: int, episodes: int) -> list[int]:
    """How many episodes a candidate has played by the end of each round of successive halving.

    **Arguments:**

    - `candidates`: how many there are at first.
    - `episodes`: what the last two play.
    """
    rounds = max(1, math.ceil(math.log2(candidates)))
    return [-(-episodes // 2 ** (rounds - 1 - i)) for i in range(rounds)]


def _write(file: Path, tuned: Tuned, task: str, training: str) -> None:
    results = {
        "task": task,
        "training": training,
        "chosen": [condition.label for condition in tuned.chosen],
        "rounds": [
            [
                {"condition": condition.label, "episodes": count, "score": score}
                for condition, (count, score) in each.items()
            ]
            for each in tuned.rounds
        ],
    }
    replace_file(file, lambda path: path.write_text(json.dumps(results, indent=2) + "\n"))
