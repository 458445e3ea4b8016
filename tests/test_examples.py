import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_guidance_1d(tmp_path):
    picture = tmp_path / "picture.png"
    arguments = ["--out", str(picture), "--actions", "300", "--steps", "20"]
    command = [sys.executable, str(EXAMPLES / "guidance_1d.py"), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    values = {line[:12].strip(): float(line[12:22]) for line in found.stdout.splitlines()[1:-1]}
    # Guidance raises the value, and more weight raises it more.
    for method in ("bptt", "ood", "qgf"):
        assert values["unguided"] < values[f"{method} 0.3"] < values[f"{method} 1"]
