import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The built site. `--strict` makes every warning of mkdocs an error."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out


@pytest.fixture(scope="session")
def chromium() -> str:
    """A browser of this machine: playwright's own cannot be installed by pip."""
    found = next(filter(None, map(shutil.which, ("google-chrome", "chromium"))), "")
    if not found and os.environ.get("FLOWGUIDE_TESTS_NEED_BROWSER"):
        pytest.fail("FLOWGUIDE_TESTS_NEED_BROWSER is set, and there is no chromium.")
    if not found:
        pytest.skip("There is no chromium here (apt install chromium).")
    return found
