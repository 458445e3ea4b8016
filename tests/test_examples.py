import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_guidance_1d(tmp_path):
    picture = tmp_path / "picture.svg"
    arguments = ["--out", str(picture), "--actions", "300", "--steps", "20"]
    command = [sys.executable, str(EXAMPLES / "guidance_1d.py"), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    assert picture.read_text().count("<text") > 20 and (tmp_path / "picture-dark.svg").exists()
    values = {line[:12].strip(): float(line[12:22]) for line in found.stdout.splitlines()[1:-1]}
    # Guidance raises the value, and more weight raises it more.
    for method in ("bptt", "ood", "qgf"):
        assert values["unguided"] < values[f"{method} 0.3"] < values[f"{method} 1"]


def test_chunking():
    arguments = ["--episodes", "12", "--seeds", "0", "--updates", "20", "--delays", "4"]
    arguments += ["--demonstrations", "16", "--caps", "5"]
    command = [sys.executable, str(EXAMPLES / "chunking.py"), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    rows = [line.strip("| ").split(" | ") for line in found.stdout.splitlines() if "|" in line]
    apart = [{row[0]: float(row[3].split()[0]) for row in rows[i + 2 : i + 6]} for i in (0, 6)]
    for field in apart:
        free = field.pop("no coherence")
        # The new chunk goes on with what was played, in an untrained network too.
        assert len(field) == 3 and all(value < free for value in field.values())
        assert field["dropped Jacobian, cap 5"] < field["nearest of 16"]


def test_handover(tmp_path):
    arguments = ["--pairs", "100", "--steps", "60", "--delays", "0", "3", "--out", str(tmp_path)]
    command = [sys.executable, str(EXAMPLES / "handover.py"), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    drawn = {file.name for file in tmp_path.glob("*.svg")}
    names = ("handover", "handover_linear")
    assert drawn == {f"{name}{scheme}.svg" for name in names for scheme in ("", "-dark")}
    rows = [line.strip("| ").split(" | ") for line in found.stdout.splitlines() if "|" in line]
    at_once, later = ({row[0]: row[1:] for row in rows[i + 2 : i + 11]} for i in (0, 11))

    def interval(cell):
        return [float(x) for x in cell.split("[")[1].rstrip("]").split(", ")]

    # What conditioning finds is as likely as the data, at any delay; so is what the field samples,
    # but for 2.5 nats that Euler's 60 steps gather at the modes' centres.
    for row, shift in (
        (at_once["exact continuation"], 0),
        (later["exact continuation"], 0),
        (at_once["no coherence"], 2.5),
    ):
        low, high = interval(row[4])
        assert low - 1 < shift < high + 1 and high - low < 4
    free = interval(later.pop("no coherence")[2])[0]
    assert all(interval(row[2])[1] < free for row in later.values())
    assert later["exact continuation"][2] == "0.000 [0.000, 0.000]"
    # The paper's correction goes back through the velocity, LeRobot's does not.
    passes = {name: row[5] for name, row in later.items()}
    assert passes["exact Jacobian, cap 5"] == "120" and passes["dropped Jacobian, cap 5"] == "60"
