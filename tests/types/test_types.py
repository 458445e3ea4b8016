"""What a type checker knows about a user's code: `user.py` in pyright's strict mode."""

import json
import subprocess
import sys
from pathlib import Path

USER = Path(__file__).with_name("user.py")
ROOT = Path(__file__).resolve().parents[2]


def look_at(code: str, folder: Path) -> dict:
    (folder / "user.py").write_text(code)
    config = {
        "include": ["user.py"],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        # Of other packages, which is no matter of ours.
        "reportMissingTypeStubs": False,
    }
    path = folder / "pyrightconfig.json"
    path.write_text(json.dumps(config))
    command = [
        *(sys.executable, "-m", "pyright", "--outputjson"),
        *("--project", str(path), "--pythonpath", sys.executable),
    ]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.stdout.startswith("{"), found.stdout + found.stderr
    return json.loads(found.stdout)


def errors_of(found: dict) -> list[str]:
    return [
        f"{each['range']['start']['line'] + 1}: {each['message']}"
        for each in found["generalDiagnostics"]
    ]


def test_code_of_users_has_types(tmp_path):
    found = look_at(USER.read_text(), tmp_path)
    assert found["summary"]["filesAnalyzed"] == 1
    assert errors_of(found) == []


def test_the_check_would_find_what_is_not_known(tmp_path):
    """Or the test above would say nothing."""
    code = (
        "from typing import Any, assert_type\n"
        "import flowguide\n"
        "def f(policy: flowguide.FlowPolicy, anything: Any) -> None:\n"
        "    assert_type(flowguide.guide(policy, None, 'cfg'), flowguide.Trace)\n"
        "    assert_type(anything, flowguide.FlowPolicy)\n"
        "    flowguide.guide(policy, 3)\n"
    )
    lines = {int(each.split(":")[0]) for each in errors_of(look_at(code, tmp_path))}
    assert lines == {4, 5, 6}
