import pytest

from flowguide.ogbench import collect
from flowguide.runs import Settings

from .runs import NAME, TASK


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    collect(NAME, 2, folder, workers=1)
    return folder


@pytest.fixture
def settings(data):
    return lambda task=TASK, **changes: Settings(
        task,
        **{
            "dataset_dir": data,
            "steps": 8,
            "horizon": 3,
            "hidden": (8, 8),
            "batch_size": 16,
            "log_every": 4,
            "checkpoint_every": 4,
            **changes,
        },
    )
