import pytest

from flowguide.ogbench import collect

MAZE = "pointmaze-medium-navigate-v0"
MAZE_TASK = "pointmaze-medium-navigate-singletask-task1-v0"
STEPS = 25


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Two short episodes and one for validation, of one dataset in each format."""
    out = tmp_path_factory.mktemp("ogbench")
    for dataset in (MAZE, "cube-single-noisy-v0", "scene-play-v0"):
        collect(dataset, 2, out, max_episode_steps=STEPS, progress=False)
    return out


@pytest.fixture
def maze(folder, tmp_path):
    """A folder with a copy of the maze's files, to be damaged."""
    for name in (f"{MAZE}.npz", f"{MAZE}-val.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path
