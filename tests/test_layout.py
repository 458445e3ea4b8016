"""The house: three storeys, rooms of their own, files that can be read at a sitting."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "flowguide"
# From the bottom up. What is not named here, files and folders that begin with `_`, is the library.
WORKSHOP = {
    *("_agent", "_preload", "_results", "_rollout"),
    *("diagnose", "evaluate", "ogbench", "plot", "report", "results", "runs", "video"),
}
STREET = {"__main__", "cli", "sweep"}
LONGEST_FILE = 350
# It measures the parts of an evaluation by themselves, to say what holds the whole back.
OF_PARTS = {"benchmarks/evaluation.py"}


def modules_of(file: Path) -> Iterator[str]:
    """The modules of flowguide that a file imports; a name counts as one where it may be."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] == "flowguide")


def room_of(module: str) -> str:
    """The folder or file below `flowguide` that a module is in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_no_package_imports_a_private_module_of_another():
    found = []
    for file in PACKAGE.rglob("*.py"):
        mine = room_of(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for module in modules_of(file):
            inner = module.split(".")[2:]
            if room_of(module) != mine and any(part.startswith("_") for part in inner):
                found.append(f"{file.relative_to(ROOT)}: {module}")
    assert not found


def test_examples_benchmarks_and_docs_import_what_is_public():
    found = [
        f"{file.relative_to(ROOT)}: {module}"
        for folder in ("examples", "benchmarks", "docs")
        for file in (ROOT / folder).rglob("*.py")
        if str(file.relative_to(ROOT)) not in OF_PARTS
        for module in modules_of(file)
        if any(part.startswith("_") for part in module.split(".")[1:])
    ]
    assert not found


def test_code_in_strings_imports_what_there_is():
    found = []
    for folder in ("tests", "benchmarks", "examples"):
        for file in (ROOT / folder).rglob("*.py"):
            for module in re.findall(r"(?:from|import) (flowguide(?:\.\w+)+)", file.read_text()):
                if importlib.util.find_spec(module) is None:
                    found.append(f"{file.relative_to(ROOT)}: {module}")
    assert not found


def test_no_storey_imports_a_higher_one():
    def storey(room: str) -> int:
        return 2 if room in STREET else 1 if room in WORKSHOP else 0

    found = []
    for file in PACKAGE.rglob("*.py"):
        mine = room_of(".".join(file.relative_to(ROOT).with_suffix("").parts))
        # The package itself knows all of them, by name.
        if mine != "__init__":
            found += [
                f"{file.relative_to(ROOT)}: {module}"
                for module in modules_of(file)
                if storey(room_of(module)) > storey(mine)
            ]
    assert not found


def test_rooms_and_files_are_small():
    lines = {file: len(file.read_text().splitlines()) for file in PACKAGE.rglob("*.py")}
    rooms: dict[str, int] = {}
    for file, count in lines.items():
        parts = file.relative_to(PACKAGE).parts
        if len(parts) > 1:
            rooms[parts[0]] = rooms.get(parts[0], 0) + count
    assert not {file.name: count for file, count in lines.items() if count > LONGEST_FILE}
    assert not {name: n for name, n in rooms.items() if n > sum(lines.values()) / 10}
