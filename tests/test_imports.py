import subprocess
import sys

from flowguide._guide import METHODS


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
    for name in METHODS:
        said = getattr(flowguide, name).__doc__
        assert "Source:" in said or "cite" in said, name
