"""What the tests of whole runs share."""

from flowguide.runs import run

NAME = "pointmaze-medium-navigate-v0"
TASK = "pointmaze-medium-navigate-singletask-task1-v0"


def quiet_run(settings, out):
    told = []
    run(settings, out, on_message=told.append, progress=False)
    return told
