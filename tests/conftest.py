import ctypes
import os
import shutil
import tempfile
from pathlib import Path

import jax
import pytest
from hypothesis import settings

# Strict from the first day: shapes and dtypes that only happen to fit are errors.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Most of a test's time is compilation, which this makes shorter, here and in the processes that
# tests start. Who names the level in XLA_FLAGS tests what users run.
QUICK_COMPILATION = [
    "--xla_backend_optimization_level=0",
    "--xla_cpu_parallel_codegen_split_count=1",
]
# Later ones do not know the flag, and abort.
if jax.__version_info__ < (0, 11):
    QUICK_COMPILATION.append("--xla_cpu_use_fusion_emitters=false")
if "xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *QUICK_COMPILATION])

# Tests compile the same programs many times, here and in the processes that they start.
cache = tempfile.TemporaryDirectory(prefix="flowguide-tests-")
for name, value in (
    ("jax_compilation_cache_dir", cache.name),
    ("jax_persistent_cache_min_compile_time_secs", 0.1),
):
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)

MANY_MAPPINGS = 20_000
MUCH_MEMORY = 3 * 2**30

# Compilation makes the first example of a test slow; the number of examples is the budget.
settings.register_profile("flowguide", deadline=None, max_examples=12, derandomize=True)
settings.load_profile("flowguide")


@pytest.fixture
def key():
    return jax.random.key(5678)


def memory() -> int:
    """Bytes of memory that the process has, where Linux says."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


at_first = [memory()]


@pytest.fixture(autouse=True)
def few_programs():
    """Forgets compiled programs when there are many. Each keeps memory, and memory mappings, of
    which Linux allows a process 65,530: beyond them XLA aborts, which the whole suite reaches."""
    yield
    maps = Path("/proc/self/maps")
    many = maps.exists() and maps.read_bytes().count(b"\n") > MANY_MAPPINGS
    if many or memory() > at_first[0] + MUCH_MEMORY:
        jax.clear_caches()
        # Without it, most of what is free stays with the process: gigabytes after some hundred
        # tests.
        if hasattr(ctypes.CDLL(None), "malloc_trim"):
            ctypes.CDLL(None).malloc_trim(0)
        at_first[0] = memory()


@pytest.fixture(scope="session")
def chromium() -> str:
    """A browser of this machine: playwright's own cannot be installed by pip."""
    found = next(filter(None, map(shutil.which, ("google-chrome", "chromium"))), "")
    if not found and os.environ.get("FLOWGUIDE_TESTS_NEED_BROWSER"):
        pytest.fail("FLOWGUIDE_TESTS_NEED_BROWSER is set, and there is no chromium.")
    if not found:
        pytest.skip("There is no chromium here (apt install chromium).")
    return found


# While it is open, nothing else in its process can run an event loop, as checkpoints do.
@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
