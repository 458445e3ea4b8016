import os
import tempfile

# Tests compile the same programs many times, in this process and in those they start.
cache = tempfile.TemporaryDirectory(prefix="flowguide-tests-")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", cache.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import jax
import pytest
from hypothesis import settings

# Strict from the first day: shapes and dtypes that only happen to fit are errors.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Compilation makes the first example of a test slow; the number of examples is the budget.
settings.register_profile("flowguide", deadline=None, max_examples=12, derandomize=True)
settings.load_profile("flowguide")


@pytest.fixture
def key():
    return jax.random.key(5678)
