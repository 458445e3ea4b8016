"""What the site does to each page as it is built.

Formulas become MathML, which browsers draw by themselves. Names such as `flowguide.qgf`, and those
of methods at the beginning of a table's row, become links to the reference, and files of docs/ to
their pages. A picture takes its room before it is loaded and opens in full size, below it stands
what it shows, and a drawing has a twin in the dark scheme. A number and its interval stay in one
line. `{help: train}` becomes what `flowguide train --help` prints; `{methods}` the table of
`flowguide.CATALOGUE`, and `{methods: gradient}` the reference of one of its families; `{notebook:
tutorial}` the notebook of that name, with what it printed.
"""

import base64
import functools
import html
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import PIL.Image
from latex2mathml.converter import convert

DOCS = Path(__file__).parents[1]
# What pymdownx.arithmatex leaves behind, in a line or as a block.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_HELP = re.compile(r"^\{help: *(\w*)\}$", re.MULTILINE)
_METHODS = re.compile(r"^\{methods(?:: *(\w+))?\}$", re.MULTILINE)
_NOTEBOOK = re.compile(r"^\{notebook: *(\w+)\}$", re.MULTILINE)
_PAPER = re.compile(r"(.+) \(arXiv (\S+)\)")
_NAME = re.compile(r"<code>(flowguide(?:\.\w+)+)</code>")
_FILE = re.compile(r"<code>docs/(\w+)\.md</code>")
_ROW = re.compile(r"(?<=<tr>\n<td>)<code>(\w+)</code>")
_INTERVAL = re.compile(r"[+-]?\d+(?:\.\d+)? \[[^\[\]<>]*\d, [^\[\]<>]*\d\]")
_PICTURE = re.compile(r"<img [^>]*>")
_SIZE = re.compile(r'<svg [^>]*width="(\d+)" height="(\d+)"')
_ALT, _SRC = (re.compile(rf'\b{name}="([^"]+)"') for name in ("alt", "src"))


def on_page_markdown(markdown: str, **_: Any) -> str:
    markdown = _NOTEBOOK.sub(_notebook, _HELP.sub(_help, markdown))
    return _METHODS.sub(_methods, markdown)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    top = "../" * page.url.count("/")
    content = _FILE.sub(rf'<a href="{top}\1.html">\g<0></a>', content)
    content = _NAME.sub(lambda match: _link(match, match[1]), _FORMULA.sub(_formula, content))
    content = _ROW.sub(lambda match: _link(match, f"flowguide.{match[1]}"), content)
    content = _INTERVAL.sub(r'<span class="interval">\g<0></span>', content)
    return _PICTURE.sub(_picture, content)


def _help(match: re.Match[str]) -> str:
    command = [sys.executable, "-m", "flowguide", *match[1].split(), "--help"]
    shown = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    found = subprocess.run(command, env=shown, check=True, capture_output=True, text=True)
    # tyro wraps all but the description.
    lines = (
        textwrap.fill(line, 80) if line[:1].isalpha() else line for line in found.stdout.split("\n")
    )
    return "```text\n" + "\n".join(lines).rstrip() + "\n```"


def _notebook(match: re.Match[str]) -> str:
    cells = json.loads((DOCS / f"{match[1]}.ipynb").read_text())["cells"]
    parts: list[str] = []
    for cell in cells:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_output(each) for each in cell.get("outputs", ())]
    return "\n\n".join(parts)


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        encoded = "".join(data["image/png"]).strip()
        # Matplotlib's 150 dots an inch; a page has 96.
        width = int.from_bytes(base64.b64decode(encoded)[16:20], "big") * 96 // 150
        return f'<img alt="" width="{width}" src="data:image/png;base64,{encoded}">'
    if "text/html" in data:
        return "".join(data["text/html"])
    return f"```text\n{_wrapped(''.join(output['text']).rstrip())}\n```"


def _wrapped(text: str) -> str:
    """Lines of 80 columns at most, as in a terminal; what goes on is indented."""
    return "\n".join(
        textwrap.fill(line, 80, subsequent_indent="    ") if len(line) > 80 else line
        for line in text.split("\n")
    )


def _methods(match: re.Match[str]) -> str:
    from flowguide import CATALOGUE

    family = match[1]
    if family is None:
        return _table()
    return "\n\n".join(f"::: flowguide.{m.name}" for m in CATALOGUE.values() if m.family == family)


@functools.cache
def _table() -> str:
    """What the catalogue says of every method, and what an action costs."""
    from flowguide import CATALOGUE

    head = ("method", "what it does", "family", "needs", "source", "cost of one action")
    rows = [
        (f"`{m.name}`", m.summary, m.family, _needs(m), _source(m), str(_forwards(m)))
        for m in CATALOGUE.values()
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


def _needs(method: Any) -> str:
    needs = [
        method.needs,
        "" if method.black_box else "the policy's derivative",
        "any policy will do" if method.any_policy else "",
    ]
    return "; ".join(filter(None, needs))


def _source(method: Any) -> str:
    return _PAPER.sub(r"[\1](https://arxiv.org/abs/\2)", method.source) or "flowguide"


def _forwards(method: Any) -> int:
    """Forward passes of one network for an action: ten Euler steps, a chunk of five times five
    entries, a weight that is a number, and else the defaults."""
    import flowguide

    # One policy, and a critic that is all that any other method asks for.
    velocity = flowguide.ClassifierFreeVelocity(lambda t, action, observation: action)
    policy = flowguide.FlowPolicy(velocity, (5, 5), num_steps=10)
    member = flowguide.NoiseConditionedCritic(lambda observation, action: action.sum())
    options: dict[str, Any] = {
        "weight": 1.0,
        "guidance": flowguide.qgf(weight=1.0),
    }
    guidance = method.make(**{k: v for k, v in options.items() if k in method.options})
    critic = flowguide.Ensemble([member, member])
    if method.name == "agf":
        critic = flowguide.Costate(lambda t, action, observation: action)
    return flowguide.guide(policy, critic, guidance).cost().forwards()


def _formula(match: re.Match[str]) -> str:
    tag, bracket, latex = match.groups()
    kind = "block" if bracket == "[" else "inline"
    found = convert(html.unescape(latex), display=kind)
    return f'<{tag} class="formula-{kind}">{found}</{tag}>'


def _picture(match: re.Match[str]) -> str:
    alt, src = _ALT.search(match[0]), _SRC.search(match[0])
    if src is None or src[1].startswith("data:"):
        return match[0]
    picture = match[0] if " width=" in match[0] else match[0].replace(" ", _size(src[1]), 1)
    shown = f'<a href="{src[1]}">{picture}</a>' if alt else picture
    if src[1].endswith(".svg"):
        # Lazy: a browser does not ask for the one that it does not show.
        lazy = re.sub("<img (?!.*loading=)", '<img loading="lazy" ', shown)
        light = lazy.replace(" ", ' class="only-light" ', 1)
        dark = lazy.replace(" ", ' class="only-dark" ', 1).replace(".svg", "-dark.svg")
        shown = light + dark
    return f'{shown}<span class="caption">{alt[1]}</span>' if alt else shown


@functools.cache
def _size(src: str) -> str:
    """Attributes with which a picture takes its room before it is loaded."""
    file = DOCS / "images" / Path(src).name
    if file.suffix == ".svg":
        found = _SIZE.search(file.read_text())
        assert found, file
        width, height = found.groups()
    else:
        width, height = PIL.Image.open(file).size
    return f' width="{width}" height="{height}" '


def _link(match: re.Match[str], name: str) -> str:
    # Resolved by mkdocs-autorefs; what is no public name stays as it is.
    return f'<autoref identifier="{name}" optional>{match[0]}</autoref>'
