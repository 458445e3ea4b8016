import os
import tempfile
from pathlib import Path

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

MANY_MAPPINGS = 20_000

# Compilation makes the first example of a test slow; the number of examples is the budget.
settings.register_profile("flowguide", deadline=None, max_examples=12, derandomize=True)
settings.load_profile("flowguide")


@pytest.fixture
def key():
    return jax.random.key(5678)


@pytest.fixture(autouse=True)
def few_programs():
    """Forgets compiled programs when there are many. Each keeps memory mappings, of which Linux
    allows a process 65,530: beyond them XLA aborts, which the whole suite reaches."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MANY_MAPPINGS:
        jax.clear_caches()
