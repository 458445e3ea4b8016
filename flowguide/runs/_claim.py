"""What makes a run the run that it is, written into its folder before it trains."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from .._run_folder import RunFolder
from .._system.files import replace_file
from .._system.locks import locked
from .._system.versions import versions
from ._settings import Settings, WATCHING


def make_claim(
    settings: Settings, folder: RunFolder, data_sha256: str, frozen_sha256: str | None
) -> dict[str, Any]:
    """The settings and what else the result follows from.

    **Raises:**

    `ValueError` if the folder holds another run.
    """
    claim = {
        **settings.to_json(),
        "data_sha256": data_sha256,
        "frozen_sha256": frozen_sha256,
        # See `nn.critic_ensemble`: a few separate members are faster on a CPU. A run that goes on
        # on another machine keeps the form that it has.
        "stacked": jax.default_backend() != "cpu" or settings.num_critics > 2,
    }
    check_same_run(folder, claim, settings)
    return {**claim, "stacked": folder.settings().get("stacked", claim["stacked"])}


def write_claim(
    folder: RunFolder, claim: dict[str, Any], step: int, on_message: Callable[[str], Any]
) -> None:
    """Writes it beside the versions that train from `step` on."""
    write_json(folder.settings_file, {**claim, **_versions(folder, step, on_message)})


@contextlib.contextmanager
def alone_in(folder: RunFolder) -> Iterator[None]:
    """Refuses to train where another process does: they would tidy each other's files away."""
    with locked(folder.lock_file, wait=False) as is_alone:
        if not is_alone:
            raise RuntimeError(f"Another process is training in {folder.path}.")
        yield


def write_json(file: Path, value: Any) -> None:
    replace_file(file, lambda path: path.write_text(json.dumps(value, indent=2) + "\n"))


def is_finished(folder: RunFolder, settings: Settings) -> bool:
    return folder.finished().get("steps") == settings.steps


def check_same_run(folder: RunFolder, given: dict[str, Any], settings: Settings) -> None:
    """Refuses a folder that holds another run, with a `ValueError`.

    More updates at a constant learning rate are the same run, prolonged.
    """
    earlier = folder.settings()
    if not earlier:
        return
    free = WATCHING | {"stacked"}
    if settings.schedule == "constant":
        free |= {"steps"}
    if settings.critic != "bootstrapped":
        free |= {"target_method", "target_weight", "target_best_of_n"}
    # A setting that is younger than the run was its default.
    earlier = {**type(settings)(settings.task).to_json(), **earlier}
    changed = [name for name in given if name not in free and earlier.get(name) != given[name]]
    if changed:
        listed = ", ".join(
            f"{name} was {earlier.get(name)!r}, is {given[name]!r}" for name in changed
        )
        raise ValueError(
            f"{folder.path} holds a run with other settings: {listed}. Choose "
            "another --out, or delete the folder."
        )
    before, after = earlier["steps"], settings.steps
    # The report at an end that is no multiple would be one that a longer run does not have.
    if before > after or (before < after and before % settings.log_every):
        raise ValueError(
            f"{folder.path} holds a run of {before:,} steps. It can be prolonged if that is a "
            f"multiple of log_every ({settings.log_every:,}), and not be made shorter: got "
            f"{after:,}. Choose another --out."
        )


def _versions(folder: RunFolder, step: int, on_message: Callable[[str], Any]) -> dict[str, Any]:
    """The versions that train from here on, and those that trained up to here."""
    earlier = folder.settings()
    before, now = earlier.get("versions", {}), versions()
    past = earlier.get("earlier_versions", [])
    differ = [f"{k} {before.get(k)}, now {v}" for k, v in now.items() if before.get(k) != v]
    if before and differ and step:
        on_message(
            f"Warning: other versions trained the first {step:,} updates: {'; '.join(differ)}. The "
            "result is not the same, bit for bit, as that of one of them."
        )
        past = [*past, {"until": step, **before}]
    return {"versions": now, **({"earlier_versions": past} if past else {})}
