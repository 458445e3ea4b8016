"""Runs the code of README and docs: each page from top to bottom, in one namespace.

Python blocks run. Commands go through the parsers that read them: most take minutes or hours, and
the tests of the command line and of the examples run them, small. Plans are read, BibTeX is parsed.
A block is excepted with `<!-- skip: next "the reason" -->`, a page that needs PyTorch from
`<!-- skip: start if(without_torch, reason="...") -->` on, and a block is made short with
`<!-- in the tests: 20_000 is 20; 50 is 1 -->`.
"""

import contextlib
import importlib
import importlib.util
import re
import shlex
import sys
import tomllib
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jaxtyping
import pytest
import tyro
from bibtexparser.entrypoint import parse_string
from sybil import Example, Sybil
from sybil.evaluators.python import pad
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from flowguide import CATALOGUE
from flowguide.cli._main import parse
from flowguide.ogbench import collect
from flowguide.runs import run, Settings

ROOT = Path(__file__).resolve().parents[2]
CUBE = "cube-single-play-singletask-task1-v0"
# What a page may tell a reader to do that is no part of this project.
NOT_OURS = {"apt", "lerobot-eval", "mkdocs", "pip", "python3"}
_SHORTENED = re.compile(r"<!-- in the tests: (.+) -->\s*$")
_COMMAND = re.compile(
    r"`((?:python (?:-m examples\.|(?:examples|docs|benchmarks)/)|flowguide )[^`]*)`"
)


def run_python(example: Example) -> None:
    source = str(example.parsed)
    shortened = _SHORTENED.search(example.document.text[: example.start])
    for change in shortened[1].split("; ") if shortened else ():
        long, short = change.split(" is ")
        assert long in source, f"The block has no {long!r} that could be made {short!r}."
        source = source.replace(long, short)
    source = pad(source, example.line + example.parsed.line_offset)
    exec(compile(source, example.path, "exec", dont_inherit=True), example.namespace)


def check_commands(example: Example) -> None:
    for line in str(example.parsed).replace("\\\n", " ").splitlines():
        for command in line.split("&&"):
            check_command(command)


def check_command(command: str) -> None:
    """Refuses what the command line or a script would refuse."""
    with unchecked():  # tyro fills in what is missing with a marker of no annotated type.
        _check_command(command)


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Without the tests' checks of annotations, which a reader does not have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def _check_command(command: str) -> None:
    head, *arguments = shlex.split(command, comments=True) or ["python3"]
    head = head.removeprefix(".venv/bin/")
    if head == "python" and arguments[0] == "-m" and arguments[1].startswith("examples."):
        module = arguments[1]
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), command
        try:
            settings = importlib.import_module(module).Settings
        except ModuleNotFoundError as error:
            # Among the packages of .ci/lerobot, which reads the page as well.
            assert error.name in ("lerobot", "metaworld", "torch"), error
        else:
            tyro.cli(settings, args=arguments[2:])
    elif head == "python" and arguments[0] != "-m":
        tyro.cli(script(arguments[0]).Settings, args=arguments[1:])
    elif head == "flowguide":
        parse(arguments)
    elif head == "bash":
        assert (ROOT / arguments[0]).exists(), command
    else:
        assert head in NOT_OURS or arguments[:2] == ["-m", "pytest"], command


@cache
def script(file: str) -> Any:
    """An example or a benchmark as a module, imported and not run."""
    path = ROOT / file
    sys.path.insert(0, str(path.parent))
    try:
        spec: Any = importlib.util.spec_from_file_location(f"page_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(path.parent))


def commands_in(text: str) -> list[str]:
    """The commands that a page names within its sentences; `...` leaves something out."""
    found = [" ".join(command.split()) for command in _COMMAND.findall(text)]
    return [
        command
        for command in found
        # Two words are the name of a command.
        if "..." not in command and len(command.split()) > 2 and not command.endswith("--help")
    ]


def check_plan(example: Example) -> None:
    # Not where there is no Snakemake, and no page of plans is run.
    from flowguide.sweep import read_plan

    text = str(example.parsed)
    if "tasks" not in tomllib.loads(text):
        text = f'tasks = ["{CUBE}"]\nseeds = [0]\n[train.small]\npreset = "small"\n{text}'
    file = Path("plan.toml")
    file.write_text(text)
    read_plan(file)


def check_bibtex(example: Example) -> None:
    parse_bibtex(str(example.parsed))


def parse_bibtex(text: str) -> None:
    library = parse_string(text)
    assert library.entries and not library.failed_blocks, text
    for entry in library.entries:
        assert {"title", "author", "year"} <= set(entry.fields_dict), entry.key


@pytest.fixture(scope="session")
def a_folder_with_runs(tmp_path_factory):
    """The folder that a reader of the pages has: data, and tiny runs under the names they use."""

    folder = tmp_path_factory.mktemp("reader")
    collect("cube-single-play-v0", 2, folder / "data")
    tiny: dict[str, Any] = {"hidden": (16, 16), "batch_size": 32, "steps": 20, "log_every": 10}
    preset = Settings(CUBE, folder / "data", checkpoint_every=20, **tiny)
    with jax.numpy_dtype_promotion("standard"):
        run(preset, folder / "runs/cube", progress=False)
    for name in ("demo", "quick"):
        (folder / "runs" / name).mkdir()
        (folder / "runs" / name / "run").symlink_to(folder / "runs/cube")
    return folder


@pytest.fixture
def as_a_reader(a_folder_with_runs, monkeypatch):
    """In that folder, with jax as it is for whoever has not made it stricter."""
    monkeypatch.chdir(a_folder_with_runs)
    named = dict(CATALOGUE)
    with (
        unchecked(),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        warnings.catch_warnings(),
    ):
        # Two episodes are too few for a success.
        warnings.filterwarnings("ignore", message=".* a critic has nothing to learn from")
        yield
    # What a page registered.
    CATALOGUE.clear()
    CATALOGUE.update(named)


def know_what_is_missing(namespace: dict[str, Any]) -> None:
    for name in ("torch", "lerobot"):
        namespace[f"without_{name}"] = importlib.util.find_spec(name) is None


pytest_collect_file = Sybil(
    parsers=[
        CodeBlockParser("python", run_python),
        CodeBlockParser("bash", check_commands),
        CodeBlockParser("toml", check_plan),
        CodeBlockParser("bibtex", check_bibtex),
        SkipParser(),
    ],
    patterns=["README.md", "CONTRIBUTING.md", "docs/*.md", "docs/api/*.md"],
    path=str(ROOT),
    setup=know_what_is_missing,
    fixtures=["as_a_reader"],
).pytest()
