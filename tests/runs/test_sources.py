import hashlib

import numpy as np
import pytest

from flowguide.ogbench import load_ogbench
from flowguide.runs import _sources

from .runs import TASK


# Two episodes are too few for a success.
@pytest.mark.filterwarnings("ignore:.* a critic has nothing to learn from")
def test_data_are_hashed_before_they_go_to_the_device(settings, monkeypatch):
    """B14: hashed afterwards, all of them came back."""
    order = []

    def placed(name, file, arrays):
        order.append("placed")
        return ogbench_dataset(name, file, arrays)

    class Hash:
        def __init__(self, *start):
            self.digest = sha256(*start)

        def update(self, data):
            order.append("hashed")
            assert isinstance(data.obj, np.ndarray)
            self.digest.update(data)

        def hexdigest(self):
            return self.digest.hexdigest()

    ogbench_dataset, sha256 = _sources.ogbench_dataset, hashlib.sha256
    monkeypatch.setattr(_sources, "ogbench_dataset", placed)
    monkeypatch.setattr(_sources.hashlib, "sha256", Hash)
    found = _sources.load_data(settings())
    monkeypatch.undo()
    assert order == ["hashed", "hashed", "placed", "placed"]
    # The same as of what is learnt from, so that runs of flowguide 0.1.0 are known again.
    train, _ = load_ogbench(TASK, settings().dataset_dir)
    digest = hashlib.sha256()
    for rows in (train.observations, train.actions):
        digest.update(np.ascontiguousarray(rows).data)
    assert found.sha256 == digest.hexdigest()
