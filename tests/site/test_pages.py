"""The built site: every public name once, every link leads somewhere, nothing from elsewhere."""

import html
import importlib
import inspect
import pkgutil
import re
import types
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.parse import unquote, urlsplit

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

import flowguide
from flowguide import nn
from flowguide.evaluate import Agent

from .blocks import check_command, commands_in, parse_bibtex, ROOT

# The command line is a page of its own.
MODULES = (
    "",
    *(
        f".{module.name}"
        for module in pkgutil.iter_modules(flowguide.__path__)
        if not module.name.startswith("_") and module.name != "cli"
    ),
)
# What the environment of the tests does not have, by the module that needs it.
NEEDS = {".torch": "torch", ".lerobot": "lerobot"}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TESTED = {"python", "bash", "toml", "bibtex"}
COLUMNS = 80
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# A number with its interval, which may go on in the next line.
_INTERVAL = re.compile(r"[+-]?\d+\.\d+ \[[^\[\]]*\d, [^\[\]]*\d\]")
# Where a reader of Home wants to get, and the page that has it.
WANTED = {
    "install": "install.html",
    "guide my policy": "own_policy.html",
    "which method": "methods.html",
    "which weight": "weights.html",
    "LeRobot": "lerobot.html",
    "own data": "own_data.html",
    "compare": "evaluation.html",
    "reproduce": "reproduce.html",
    "an error": "faq.html",
    "cite": "citing.html",
}
# Of these attributes a browser loads the value at once.
LOADED = {"img": "src", "script": "src", "source": "src", "iframe": "src"}


class Page(HTMLParser):
    """What a built page defines, links to and loads."""

    def __init__(self, file: Path):
        super().__init__()
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(file.read_text())

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(found["id"] or "")
            if re.fullmatch("h[1-6]", tag):
                self.headings.append(found["id"] or "")
        if tag == "a" and found.get("href"):
            self.links.append(found["href"] or "")
        if tag == "link" and found.get("rel") != "canonical":
            self.loads.append(found.get("href") or "")
        if found.get(LOADED.get(tag, "")):
            self.loads.append(found[LOADED[tag]] or "")


@pytest.fixture(scope="module")
def pages(site):
    return {file.relative_to(site): Page(file) for file in site.rglob("*.html")}


def imported(module: str) -> Any:
    if module in NEEDS:
        pytest.importorskip(NEEDS[module])
    return importlib.import_module("flowguide" + module)


def names_of(module: str) -> list[str]:
    found = imported(module)
    return [n for n in found.__all__ if not isinstance(getattr(found, n), types.ModuleType)]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference_once(pages, module):
    told = Counter(
        heading
        for path, page in pages.items()
        if path.parts[0] == "api"
        for heading in page.headings
        if heading.startswith(f"flowguide{module}.")
    )
    public = {f"flowguide{module}.{name}": 1 for name in names_of(module)}
    assert {name: told[name] for name in public} == public
    depth = module.count(".") + 2
    top = {name for name in told if name.count(".") == depth - 1}
    assert top == set(public) | {f"flowguide{m}" for m in MODULES if m} & top


def test_the_reference_shows_no_module_in_place_of_its_function(site):
    for file in (site / "api").rglob("*.html"):
        assert "doc-symbol-module" not in file.read_text(), file.name


@pytest.mark.parametrize("module", MODULES)
def test_all_has_every_public_name(module):
    found = imported(module)
    public = {
        name
        for name, value in vars(found).items()
        if not name.startswith("_")
        and not (isinstance(value, types.ModuleType) and name not in found.__all__)
    }
    assert sorted(found.__all__) == sorted(public)


@pytest.mark.parametrize("module", MODULES)
def test_docstrings_say_what_goes_in(module):
    found = imported(module)
    for name in names_of(module):
        value = getattr(found, name)
        if not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        text = inspect.getdoc(value) or ""
        assert text.strip(), name
        # Or each in a docstring of its own, below the field.
        source = inspect.getsource(value)
        missing = [
            parameter
            for parameter in inspect.signature(value).parameters
            if not re.search(rf"`\*{{0,2}}{parameter}`", text)
            and not re.search(rf'^    {parameter}: .*\n    """', source, re.MULTILINE)
        ]
        assert not missing, f"flowguide{module}.{name} does not say what {missing} are"


def test_examples_in_docstrings_run(as_a_reader, tmp_path):
    policy, critic = flowguide.load("runs/cube")
    ensemble: Any = critic
    members = ensemble.critics
    pendulum = flowguide.FlowPolicy(lambda t, a, o: -a, (1,), low=-2.0, high=2.0)
    known = {
        "flowguide": flowguide,
        "jax": jax,
        "jnp": jnp,
        "policy": policy,
        "critic": critic,
        "some": flowguide.load_observations("runs/cube"),
        "agent": Agent(pendulum, lambda o, a: -jnp.sum(a**2)),
        "left": jnp.zeros((3, 5)),
        "my_guidance": flowguide.best_of_n(2),
        "stacked": nn.critic_ensemble(2, 28, (5, 5), (8,), key=jax.random.key(0)).critics,
        **dict(zip(("critic_a", "critic_b"), members, strict=True)),
        **dict(zip(("carry", "reach"), members, strict=True)),
    }
    found = 0
    for file in (ROOT / "flowguide").rglob("*.py"):
        if file.parent.name == "lerobot":  # Of LeRobot's policies; its page shows the same.
            continue
        for block in re.findall(r"^ *```python\n(.*?)^ *```$", file.read_text(), re.M | re.S):
            source = dedent(block).replace("range(50)", "range(1)")
            exec(compile(source, str(file), "exec"), dict(known))
            found += 1
    assert found >= 5


def test_every_link_leads_somewhere(site, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//"):
                continue
            # The page of errors has absolute links, since it may be shown anywhere.
            base = site if parts.path.startswith("/") else (site / path).parent
            target = base / unquote(parts.path.lstrip("/")) if parts.path else site / path
            target = (target / "index.html" if target.is_dir() else target).resolve()
            if not target.exists():
                broken.append(f"{path}: {link}")
            elif parts.fragment and target.suffix == ".html":
                other = pages[target.relative_to(site.resolve())]
                if unquote(parts.fragment) not in other.ids and parts.fragment != "__skip":
                    broken.append(f"{path}: {link} (no such heading)")
    assert not broken


def test_nothing_comes_from_another_host(site, pages):
    for path, page in pages.items():
        assert not [link for link in page.loads if urlsplit(link).netloc], path
    for file in site.rglob("*.css"):
        assert "@import" not in file.read_text() and "url(http" not in file.read_text(), file


def test_formulas_are_drawn_by_the_browser(pages, site):
    text = (site / "methods.html").read_text()
    assert text.count("<math") > 10 and "arithmatex" not in text
    reference = (site / "api" / "methods.html").read_text()
    assert reference.count("<math") > 20 and "arithmatex" not in reference


def test_the_table_of_methods_is_the_catalogue(site):
    rows = re.findall(r"<tr>(.*?)</tr>", (site / "methods.html").read_text(), re.DOTALL)
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    plain = [[re.sub("<[^>]+>", "", cell) for cell in row] for row in cells]
    told = {row[0]: row for row in plain if len(row) == 6}
    assert list(told) == list(flowguide.CATALOGUE)
    for name, method in flowguide.CATALOGUE.items():
        _, _, family, needs, _, cost = told[name]
        assert family == method.family and method.needs in needs and int(cost) > 10
    assert int(told["qgf"][-1]) == 50 and int(told["best_of_n"][-1]) == 48
    assert not [file for file in site.rglob("*.html") if "{methods" in file.read_text()]


def test_a_gradient_method_is_named_in_the_five_files_that_the_page_lists():
    page = (ROOT / "docs" / "extending.md").read_text()
    # It has a file of its own, and none of the colours that some methods have in pictures.
    named = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "flowguide").rglob("*.py")
        if re.search(r"\bguided_action_flow\b", file.read_text())
    }
    shared = {file for file in named if "/guided_action_flow" not in file}
    assert len(named) <= 5 and len(shared) == 4
    assert all(f"`{file}`" in page for file in shared)


def test_every_block_is_of_a_language_that_is_tested():
    for page in PAGES:
        languages = re.findall(r"^```(\w*)\n.*?^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        assert set(languages) <= TESTED | {"text"}, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_has_80_columns(page):
    for _, _, code in _FENCE.findall(page.read_text()):
        assert not [line for line in code.split("\n") if len(line) > COLUMNS]


def test_what_the_site_prints_has_80_columns(site):
    """Help, signatures and what notebooks printed; sources are shown as they are."""
    wide = []
    for file in site.rglob("*.html"):
        text = re.sub(r"<details .*?</details>", "", file.read_text(), flags=re.DOTALL)
        for block in re.findall(r"<pre[^>]*>(.*?)</pre>", text, re.DOTALL):
            lines = html.unescape(re.sub("<[^>]+>", "", block)).split("\n")
            wide += [(file.name, line) for line in lines if len(line) > COLUMNS]
    assert wide == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_have_no_commands(page):
    """A cell may name a command and its options, `flowguide sweep --slurm`. One with an argument is
    there to be copied, and stands in a block."""
    rows = re.findall(r"^\|.*\|$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    for code in re.findall(r"`([^`]+)`", "\n".join(rows)):
        program, *words = code.split()
        if program in ("flowguide", "python", "pip", "bash"):
            assert all(word.startswith("--") for word in words[1:]) and program != "pip", code


def section(page: str, name: str) -> str:
    """What other pages include of a page, by its name."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    start, end = (f"<!-- --8<-- [{which}:{name}] -->" for which in ("start", "end"))
    return text.partition(start)[2].partition(end)[0].strip()


def intervals(page: Path) -> list[tuple[float, ...]]:
    found = _INTERVAL.findall(" ".join(page.read_text().split()))
    return [tuple(map(float, re.findall(r"[+-]?\d+\.\d+", each))) for each in found]


def test_readme_has_the_numbers_of_their_page():
    # It is shown where nothing can be included.
    assert section("small_plan", "short") in (ROOT / "README.md").read_text()


def test_summaries_have_the_numbers_of_other_pages():
    """Rounded, and a difference may be told the other way round."""
    summaries = [ROOT / "README.md", ROOT / "docs" / "index.md", ROOT / "docs" / "shown.md"]
    results = [found for page in PAGES if page not in summaries for found in intervals(page)]
    results += [(-mean, -high, -low) for mean, low, high in results]
    for page in summaries:
        for found in intervals(page):
            near = [abs(np.subtract(found, result)).max() < 0.0051 for result in results]
            assert any(near), f"{page.name}: {found}"


def test_what_is_wanted_is_two_clicks_from_home(site):
    """By the links within pages, without the menus."""

    def linked(name: str) -> set[str]:
        content = (site / name).read_text().partition("<article")[2].partition("</article>")[0]
        return {link.partition("#")[0] for link in re.findall(r'href="([^":]+\.html)', content)}

    first = linked("index.html")
    within_two = first.union(*(linked(name) for name in first))
    assert set(WANTED.values()) <= within_two


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_sentences_would_run(page):
    for command in commands_in(page.read_text()):
        check_command(command)


def test_bibtex_of_docstrings_parses():
    found = 0
    for file in (ROOT / "flowguide").rglob("*.py"):
        for block in re.findall(r"^ *```bibtex\n(.*?)^ *```$", file.read_text(), re.M | re.S):
            parse_bibtex(dedent(block))
            found += 1
    assert found > 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_picture_is_made_by_a_command_that_the_page_names(page):
    text = page.read_text()
    scripts = re.findall(r"python ((?:examples|docs|benchmarks)/\w+\.py)", text)
    modules = re.findall(r"python -m (examples(?:\.\w+)+)", text)
    scripts += [f"{module.replace('.', '/')}.py" for module in modules]
    made = " ".join((ROOT / script).read_text() for script in scripts)
    for picture in re.findall(r"!\[[^\]]*\]\((?:docs/)?images/(\w+)\.(?:png|svg)\)", text):
        # A script has the name, or its beginning where a task's follows, in quotes; or is told it.
        stem = picture.rsplit("_", 1)[0]
        is_by_script = re.search(rf'"(?:{picture}"|{picture}\.svg"|{stem}_\{{)', made)
        is_told = re.search(rf"--out \S*{picture}\.svg", text)
        named = {"demo": "demo", "small": "sweep", "training": "train"}
        by_command = f"flowguide {named.get(picture.split('_')[0])}" in text
        assert is_by_script or is_told or by_command, f"{page.name}: what makes {picture}?"


def test_every_picture_is_on_a_page():
    shown = " ".join(page.read_text() for page in PAGES)
    pictures = {picture.name for picture in (ROOT / "docs" / "images").iterdir()}
    drawings = {name for name in pictures if name.endswith(".svg")}
    # The hook of the site shows the twin of each in the dark scheme.
    dark = {name for name in drawings if name.endswith("-dark.svg")}
    assert {name.replace(".svg", "-dark.svg") for name in drawings - dark} == dark
    for name in pictures - dark:
        ways = (f"images/{name})", f'src="images/{name}"')
        assert any(way in shown for way in ways), name


def test_pictures_are_small():
    for picture in (ROOT / "docs" / "images").glob("*.svg"):
        assert picture.stat().st_size < 300_000, picture.name


def test_what_says_the_version_agrees():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == flowguide.__version__
    bibtex = (ROOT / "docs" / "citing.md").read_text()
    assert f"version = {{{flowguide.__version__}}}" in bibtex


def test_the_workflow_calls_the_scripts_that_are_there():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    called = " ".join(step.get("run", "") for step in steps)
    for script in (".ci/run", ".ci/docs"):
        assert script in called and (ROOT / script).exists()
