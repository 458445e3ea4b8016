import _thread
import contextlib
import functools
import gc
import inspect
import multiprocessing
import operator
import os
import select
import signal
import sys
import threading
from typing import Annotated, Any

import tyro

from .._near import did_you_mean
from .._system.versions import versions
from ._collect import Collect
from ._demo import Demo
from ._evaluate import Evaluate, Tune
from ._parsing import read
from ._report import Report
from ._sweep import Sweep
from ._train import Train, train_default

# In the order in which they are used.
COMMANDS = {
    "demo": Demo,
    "collect": Collect,
    "train": Train,
    "evaluate": Evaluate,
    "tune": Tune,
    "report": Report,
    "sweep": Sweep,
}
DESCRIPTION = (
    "Test-time guidance of frozen flow policies by a critic's gradient. `flowguide COMMAND --help` "
    "says what a command takes, `flowguide --version` which flowguide this is."
)


def parse(arguments: list[str]) -> Any:
    """What `flowguide` does with these arguments, as an object with `run()`.

    **Raises:**

    `SystemExit` after help or the version, and for options that cannot be read; `ValueError` for a
    command that there is not.
    """
    if arguments[:1] == ["--version"]:
        print(f"flowguide {versions()['flowguide']}")
        raise SystemExit
    name, *rest = arguments or [""]
    if name in COMMANDS:
        # By itself: options of other commands are none to be proposed.
        kind = COMMANDS[name]
        options = {"default": train_default(rest)} if kind is Train else {}
        return read(kind, rest, f"flowguide {name}", _described(kind), **options)
    if name and not name.startswith("-"):
        raise ValueError(
            f"There is no command {name!r}: expected one of {', '.join(COMMANDS)}."
            f"{did_you_mean(name, COMMANDS)}"
        )
    return read(_all_commands(), arguments, "flowguide", DESCRIPTION)


def _all_commands() -> Any:
    """All of them, each with the first sentence of its description."""
    each = (
        Annotated[
            kind,
            tyro.conf.subcommand(name, description=_described(kind).partition("\n\n")[0]),
        ]
        for name, kind in COMMANDS.items()
    )
    return functools.reduce(operator.or_, each)


def _described(kind: type) -> str:
    return inspect.getdoc(kind) or ""


def main() -> None:
    """The `flowguide` command: parses, calls the library and prints."""
    is_stopped = False
    sys.unraisablehook = _interrupt_again
    try:
        try:
            parse(sys.argv[1:]).run()
            # All is done: Python's own end is not to be interrupted.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        except SystemExit:
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except BrokenPipeError as error:
        if not _reader_is_gone():
            print(f"flowguide: {error}", file=sys.stderr)
        sys.exit(1)
    except (ValueError, OSError, ImportError, FloatingPointError, RuntimeError) as error:
        print(f"flowguide: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(
            "flowguide: stopped; the same command goes on from what is finished.", file=sys.stderr
        )
        is_stopped = True
    if is_stopped:
        for process in multiprocessing.active_children():
            process.kill()
            process.join()
        # Without the frames of the interrupt, what they held is given back.
        gc.collect()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        # At once: a program that still runs on the device would meet an interpreter that is taken
        # down under it, which ends in SIGSEGV.
        os._exit(130)


def _interrupt_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Python drops what is raised in a destructor or a callback of the garbage collector: a Ctrl-C
    that arrives there would be lost."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # A moment later, when it is over.
        threading.Timer(0.01, _interrupt).start()
    else:
        sys.__unraisablehook__(unraisable)


def _interrupt() -> None:
    """Interrupts the main thread, also one that waits."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:  # Not on this operating system.
        _thread.interrupt_main()


def _reader_is_gone() -> bool:
    """Whether nobody reads what is printed any more (`flowguide --help | head`): so nothing is."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sys.stdout, select.POLLOUT)
        if not any(events & select.POLLERR for _, events in poll.poll(0)):
            return False
    # Else Python would try again at its end, and say so.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True
