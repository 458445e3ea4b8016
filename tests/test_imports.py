import subprocess
import sys


def test_importing_flowguide_imports_no_simulator_and_no_plotting():
    code = (
        "import sys, flowguide, flowguide.train; "
        "heavy = {'mujoco', 'gymnasium', 'ogbench', 'matplotlib', 'dm_control', 'scipy.stats'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_public_name_is_public():
    import flowguide

    for name in ("guide", "sample", "FlowPolicy", "Ensemble", "reverse_time", "save", "load"):
        assert getattr(flowguide, name).__doc__
    for name in ("qgf", "qgf_jacobian", "ode", "bptt", "ood", "best_of_n", "grad_step"):
        assert (
            "Source:" in getattr(flowguide, name).__doc__
            or "cite" in getattr(flowguide, name).__doc__
        )
