"""Single episodes of OGBench's datasets, played by the oracles inside the ogbench package.

The settings are those of OGBench's own generator (`data_gen_scripts/generate_manipspace.py`,
`generate_locomaze.py` and `commands.sh` of github.com/seohongpark/ogbench), so that a set made here
has the distribution of the published one.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._rollout import environments

Episode = dict[str, np.ndarray]
Cell = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one dataset is made.

    **Attributes:**

    - `dataset`: its name.
    - `kind`: "play", "noisy", "navigate" or "stitch".
    - `steps`: the length of an episode.
    - `p_random`: the probability of a random action.
    - `p_stack`: the bounds of the probability, drawn for each episode, that a cube's target lies on
        another cube.
    """

    dataset: str
    kind: str
    steps: int
    p_random: float = 0.0
    p_stack: tuple[float, float] = (0.5, 0.5)

    @property
    def is_maze(self) -> bool:
        return self.dataset.startswith("pointmaze")


_CUBES = {
    "single": (0.0, 0.0),
    "double": (0.0, 0.25),
    "triple": (0.05, 0.35),
    "quadruple": (0.1, 0.5),
    "octuple": (0.0, 0.35),
}
_PUZZLES = ("3x3", "4x4", "4x5", "4x6")
_MAZES = ("medium", "large", "giant", "teleport")


def _recipes() -> Iterator[Recipe]:
    for kind, p_random in (("play", 0.0), ("noisy", 0.1)):
        for size, p_stack in _CUBES.items():
            yield Recipe(f"cube-{size}-{kind}-v0", kind, 1001, p_random, p_stack)
        yield Recipe(f"scene-{kind}-v0", kind, 1001, p_random)
        for size in _PUZZLES:
            yield Recipe(f"puzzle-{size}-{kind}-v0", kind, 1001, 2 * p_random)
    for size in _MAZES:
        steps = 2001 if size == "giant" else 1001
        yield Recipe(f"pointmaze-{size}-navigate-v0", "navigate", steps)
        yield Recipe(f"pointmaze-{size}-stitch-v0", "stitch", 201)


RECIPES = {recipe.dataset: recipe for recipe in _recipes()}

SUPPORTED = (
    f"cube-{{{','.join(_CUBES)}}}-{{play,noisy}}-v0, scene-{{play,noisy}}-v0, "
    f"puzzle-{{{','.join(_PUZZLES)}}}-{{play,noisy}}-v0, "
    f"pointmaze-{{{','.join(_MAZES)}}}-{{navigate,stitch}}-v0"
)


class Generator:
    """Plays the episodes of one dataset, one after another, in one environment.

    **Arguments:**

    - `recipe`: the dataset's.
    - `steps`: the length of an episode.
    """

    def __init__(self, recipe: Recipe, steps: int):
        settings: dict[str, Any] = {"terminate_at_goal": False, "max_episode_steps": steps}
        if recipe.is_maze:
            self._player = _MazePlayer(environments.make(recipe.dataset, **settings), recipe)
        else:
            settings["mode"] = "data_collection"
            self._player = _ArmPlayer(environments.make(recipe.dataset, **settings), recipe)

    def episode(self, seed: int, index: int) -> Episode:
        """The episode number `index`, which depends on nothing but the arguments.

        **Returns:**

        One array for each key of the dataset's files, all of them with one row for each action.
        """
        attempt = 0
        while True:
            sequence = np.random.SeedSequence([seed, index], spawn_key=(attempt,))
            ours, theirs = sequence.spawn(2)
            episode = self._player.play(
                np.random.default_rng(ours), int(theirs.generate_state(1, np.uint64)[0])
            )
            if self._player.keeps(episode):
                return {key: np.asarray(rows, _dtype(key)) for key, rows in episode.items()}
            attempt += 1


def _dtype(key: str) -> type:
    return {"terminals": np.bool_, "button_states": np.int64}.get(key, np.float32)


class _ArmPlayer:
    """Cubes, scene and puzzles: an oracle that is given a new target whenever it is done.

    "play" follows a plan with smooth noise on it. "noisy" is Markovian, with white noise.
    """

    def __init__(self, env: Any, recipe: Recipe):
        self._env = env
        self._recipe = recipe
        self._oracles = _oracles(env, recipe)
        self._is_scene = recipe.dataset.startswith("scene")

    def play(self, rng: np.random.Generator, seed: int) -> dict[str, np.ndarray]:
        env, recipe = self._env, self._recipe
        # The oracles draw from NumPy's global state, which this seeds, too.
        observation, info = environments.reset(env, seed)
        oracle = self._started(observation, info)
        p_stack = rng.uniform(*recipe.p_stack)
        noise = rng.uniform(0, 0.1) * np.array([1, 1, 1, 3, 10])
        rows = defaultdict(list)
        done = False
        while not done:
            if rng.random() < recipe.p_random:
                action = rng.uniform(-1, 1, size=noise.shape)
            else:
                action = np.asarray(oracle.select_action(observation, info))
                if recipe.kind == "noisy":
                    action = action + rng.normal(0, noise)
            action = np.clip(action, -1, 1)
            following, _, terminated, truncated, info = env.step(action)
            done = terminated or truncated
            if oracle.done:
                # `info` stays that of the step, with the target before: so does the generator's.
                oracle = self._started(*env.unwrapped.set_new_target(p_stack=p_stack))
            _add_row(rows, observation, action, done, info)
            if "prev_button_states" in info:
                rows["button_states"].append(info["prev_button_states"])
            observation = following
        return {key: np.array(values) for key, values in rows.items()}

    def keeps(self, episode: dict[str, np.ndarray]) -> bool:
        """Whether the scene's block stayed where it can be seen, or in the drawer."""
        if not self._is_scene:
            return True
        _, y, z = episode["qpos"][:, 14:17].T
        is_out = (y >= 0.29) | ((y <= -0.3) & ((z < 0.06) | (z > 0.08)))
        return not is_out.any()

    def _started(self, observation: np.ndarray, info: dict[str, Any]) -> Any:
        oracle = self._oracles[info["privileged/target_task"]]
        oracle.reset(observation, info)
        return oracle


def _oracles(env: Any, recipe: Recipe) -> dict[str, Any]:
    """One oracle for each thing that can be a target."""
    if recipe.kind == "play":
        from ogbench.manipspace.oracles.plan.button_plan import ButtonPlanOracle as Button
        from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle as Cube
        from ogbench.manipspace.oracles.plan.drawer_plan import DrawerPlanOracle as Drawer
        from ogbench.manipspace.oracles.plan.window_plan import WindowPlanOracle as Window

        settings = {"env": env, "noise": 0.1, "noise_smoothing": 0.5}
    else:
        from ogbench.manipspace.oracles.markov.button_markov import ButtonMarkovOracle as Button
        from ogbench.manipspace.oracles.markov.cube_markov import CubeMarkovOracle as Cube
        from ogbench.manipspace.oracles.markov.drawer_markov import DrawerMarkovOracle as Drawer
        from ogbench.manipspace.oracles.markov.window_markov import WindowMarkovOracle as Window

        settings = {"env": env, "min_norm": 0.4}
    family = recipe.dataset.split("-")[0]
    if family == "cube":
        return {"cube": Cube(**settings)}
    if family == "puzzle":
        return {"button": Button(gripper_always_closed=True, **settings)}
    # The generator also gives the scene's Markovian cube oracle `max_step=100`, which does nothing:
    # the oracle's `reset` sets it back to 200.
    return {
        "cube": Cube(**settings),
        "button": Button(**settings),
        "drawer": Drawer(**settings),
        "window": Window(**settings),
    }


class _MazePlayer:
    """The point mazes: from cell to cell along the shortest way, with noise on the direction.

    "navigate" starts anywhere and is given a new goal whenever it reaches one. "stitch" goes to a
    goal four cells away and stays there.
    """

    def __init__(self, env: Any, recipe: Recipe):
        self._env = env
        self._recipe = recipe
        self._map = env.unwrapped.maze_map
        self._cells: list[Cell] = [(int(i), int(j)) for i, j in np.argwhere(self._map == 0)]
        self._vertices = [cell for cell in self._cells if not _is_corridor(self._map, cell)]
        self._subgoals: dict[tuple[Cell, Cell], np.ndarray] = {}

    def play(self, rng: np.random.Generator, seed: int) -> dict[str, np.ndarray]:
        env = self._env
        start = _choice(rng, self._cells)
        if self._recipe.kind == "navigate":
            goal = _choice(rng, self._vertices)
        else:
            # A start without a cell at that distance is its own goal.
            goal = _choice(rng, _cells_at(self._map, start, distance=4) or [start])
        task = {"task_info": {"init_ij": start, "goal_ij": goal}}
        observation, _ = environments.reset(env, seed, task)
        rows = defaultdict(list)
        done = False
        while not done:
            action = np.clip(self._direction() + rng.normal(0, 0.5, size=2), -1, 1)
            following, _, terminated, truncated, info = env.step(action)
            done = terminated or truncated
            if info["success"] and self._recipe.kind == "navigate":
                self._set_goal(_choice(rng, self._vertices))
            # Where a teleport is entered, `following` is the entrance and the next `qpos` the exit,
            # as in the published sets.
            _add_row(rows, observation, action, done, info)
            observation = following
        return {key: np.array(values) for key, values in rows.items()}

    def keeps(self, episode: dict[str, np.ndarray]) -> bool:
        del episode
        return True

    def _direction(self) -> np.ndarray:
        """The unit vector towards the middle of the next cell on the shortest way to the goal."""
        maze = self._env.unwrapped
        position = maze.get_xy()
        # OGBench searches the whole maze at each call, but only the two cells matter.
        cells = maze.xy_to_ij(position), maze.xy_to_ij(maze.cur_goal_xy)
        if cells not in self._subgoals:
            self._subgoals[cells], _ = maze.get_oracle_subgoal(position, maze.cur_goal_xy)
        offset = self._subgoals[cells] - position
        return offset / (np.linalg.norm(offset) + 1e-6)

    def _set_goal(self, cell: Cell) -> None:
        # `set_goal(cell)` would do all of this, but then place the goal's marker at None, which
        # NumPy reads as NaN.
        maze = self._env.unwrapped
        maze.set_goal(goal_xy=maze.add_noise(maze.ij_to_xy(cell)))


def _add_row(
    rows: defaultdict[str, list],
    observation: np.ndarray,
    action: np.ndarray,
    done: bool,
    info: dict[str, Any],
) -> None:
    rows["observations"].append(observation)
    rows["actions"].append(action)
    rows["terminals"].append(done)
    rows["qpos"].append(info["prev_qpos"])
    rows["qvel"].append(info["prev_qvel"])


def _choice(rng: np.random.Generator, cells: list[Cell]) -> Cell:
    return cells[rng.integers(len(cells))]


def _is_corridor(maze_map: np.ndarray, cell: Cell) -> bool:
    """Whether a free cell is open to two opposite sides and closed to the two others."""
    i, j = cell
    up, down, left, right = (
        bool(maze_map[i + di, j + dj] == 0) for di, dj in ((-1, 0), (1, 0), (0, -1), (0, 1))
    )
    return up == down and left == right and up != left


def _cells_at(maze_map: np.ndarray, start: Cell, distance: int) -> list[Cell]:
    """The free cells whose shortest way from `start` has that many steps."""
    seen, ring = {start}, [start]
    for _ in range(distance):
        neighbours = {
            (i + di, j + dj) for i, j in ring for di, dj in ((-1, 0), (1, 0), (0, -1), (0, 1))
        }
        ring = sorted(cell for cell in neighbours - seen if maze_map[cell] == 0)
        seen.update(ring)
    return ring
