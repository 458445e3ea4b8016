import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_code_in_the_readme_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) == 2
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert names["action"].shape == (2,) and names["actions"].shape == (256, 2)
    assert names["path"].actions.shape == (11, 2)
