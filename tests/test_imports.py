import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from flowguide import CATALOGUE

ROOT = Path(__file__).resolve().parents[1]


def test_importing_flowguide_imports_no_simulator_and_no_plotting():
    code = (
        "import sys, flowguide, flowguide.train; "
        "heavy = {'mujoco', 'gymnasium', 'ogbench', 'matplotlib', 'dm_control', 'scipy.stats'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_submodules_are_there_when_they_are_used():
    code = (
        "import flowguide, sys; "
        "assert {'data', 'diagnose', 'evaluate', 'sweep', 'train'} <= set(dir(flowguide)); "
        "assert 'flowguide.diagnose' not in sys.modules; "
        "print(flowguide.diagnose.noise_sensitivity.__name__, hasattr(flowguide, 'diagnosis'))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["noise_sensitivity", "False"]


def test_every_public_name_is_public():
    import flowguide

    for name in ("guide", "sample", "FlowPolicy", "Ensemble", "reverse_time", "save", "load"):
        assert getattr(flowguide, name).__doc__
    for name in CATALOGUE:
        said = getattr(flowguide, name).__doc__
        assert "Source:" in said or "cite" in said, name


def test_every_imported_package_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    required = {_name(each) for each in project["dependencies"]}
    # What only developers have is no dependency of the library.
    extras = [each for name in optional if name not in ("dev", "docs") for each in optional[name]]
    declared = required | {_name(each) for each in extras}
    known = packages_distributions()
    missing = {
        package: sorted(files)
        for package, files in _imported(ROOT / "flowguide").items()
        if not declared & {_name(each) for each in known.get(package, [package])}
    }
    assert not missing


def _imported(folder: Path) -> dict[str, set[str]]:
    """The packages of others that are imported anywhere below a folder, and in which files."""
    found: dict[str, set[str]] = {}
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            for module in modules:
                found.setdefault(module.split(".")[0], set()).add(file.name)
    return {name: found[name] for name in found if name not in sys.stdlib_module_names}


def _name(requirement: str) -> str:
    """The normalised name of what a requirement asks for."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()
