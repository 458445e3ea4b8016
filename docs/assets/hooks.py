"""What the site does to each page as it is built.

Formulas become MathML, which browsers draw by themselves. Names such as `flowguide.qgf`, and those
of methods at the beginning of a table's row, become links to the reference, and files of docs/ to
their pages. A picture opens in full size, and below it stands what it shows. `{help: train}`
becomes what `flowguide train --help` prints.
"""

import html
import os
import re
import subprocess
import sys
import textwrap
from typing import Any

from latex2mathml.converter import convert

# What pymdownx.arithmatex leaves behind, in a line or as a block.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_HELP = re.compile(r"^\{help: *(\w*)\}$", re.MULTILINE)
_NAME = re.compile(r"<code>(flowguide(?:\.\w+)+)</code>")
_FILE = re.compile(r"<code>docs/(\w+)\.md</code>")
_ROW = re.compile(r"(?<=<tr>\n<td>)<code>(\w+)</code>")
_PICTURE = re.compile(r'<img alt="([^"]+)" src="([^"]+)"[^>]*>')


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _HELP.sub(_help, markdown)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    top = "../" * page.url.count("/")
    content = _FILE.sub(rf'<a href="{top}\1.html">\g<0></a>', content)
    content = _NAME.sub(lambda match: _link(match, match[1]), _FORMULA.sub(_formula, content))
    content = _ROW.sub(lambda match: _link(match, f"flowguide.{match[1]}"), content)
    return _PICTURE.sub(r'<a href="\2">\g<0></a><span class="caption">\1</span>', content)


def _help(match: re.Match[str]) -> str:
    command = [sys.executable, "-m", "flowguide", *match[1].split(), "--help"]
    shown = {**os.environ, "COLUMNS": "88", "NO_COLOR": "1"}
    found = subprocess.run(command, env=shown, check=True, capture_output=True, text=True)
    # tyro wraps all but the description.
    lines = (
        textwrap.fill(line, 88) if line[:1].isalpha() else line for line in found.stdout.split("\n")
    )
    return "```text\n" + "\n".join(lines).rstrip() + "\n```"


def _formula(match: re.Match[str]) -> str:
    tag, bracket, latex = match.groups()
    kind = "block" if bracket == "[" else "inline"
    found = convert(html.unescape(latex), display=kind)
    return f'<{tag} class="formula-{kind}">{found}</{tag}>'


def _link(match: re.Match[str], name: str) -> str:
    # Resolved by mkdocs-autorefs; what is no public name stays as it is.
    return f'<autoref identifier="{name}" optional>{match[0]}</autoref>'
