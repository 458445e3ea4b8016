import os
import tempfile

import jax
import pytest
from hypothesis import settings

# Strict from the first day: shapes and dtypes that only happen to fit are errors.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Tests compile the same programs many times, here and in the processes that they start.
cache = tempfile.TemporaryDirectory(prefix="flowguide-tests-")
for name, value in (
    ("jax_compilation_cache_dir", cache.name),
    ("jax_persistent_cache_min_compile_time_secs", 0.1),
):
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)

# Compilation makes the first example of a test slow; the number of examples is the budget.
settings.register_profile("flowguide", deadline=None, max_examples=12, derandomize=True)
settings.load_profile("flowguide")


@pytest.fixture
def key():
    return jax.random.key(5678)
