"""What the site does to each page as it is built.

Formulas become MathML, which browsers draw by themselves; names such as `flowguide.qgf` become
links to the reference; and `{help: train}` becomes what `flowguide train --help` prints.
"""

import html
import os
import re
import subprocess
import sys
from typing import Any

from latex2mathml.converter import convert

# What pymdownx.arithmatex leaves behind, in a line or as a block.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_HELP = re.compile(r"^\{help: *(\w*)\}$", re.MULTILINE)
_NAME = re.compile(r"<code>(flowguide(?:\.\w+)+)</code>")


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _HELP.sub(_help, markdown)


def on_page_content(content: str, **_: Any) -> str:
    return _NAME.sub(_link, _FORMULA.sub(_formula, content))


def _help(match: re.Match[str]) -> str:
    command = [sys.executable, "-m", "flowguide", *match[1].split(), "--help"]
    shown = {**os.environ, "COLUMNS": "88", "NO_COLOR": "1"}
    found = subprocess.run(command, env=shown, check=True, capture_output=True, text=True)
    return f"```text\n{found.stdout.rstrip()}\n```"


def _formula(match: re.Match[str]) -> str:
    tag, bracket, latex = match.groups()
    kind = "block" if bracket == "[" else "inline"
    found = convert(html.unescape(latex), display=kind)
    return f'<{tag} class="formula-{kind}">{found}</{tag}>'


def _link(match: re.Match[str]) -> str:
    # Resolved by mkdocs-autorefs; what is no public name stays as it is.
    return f'<autoref identifier="{match[1]}" optional>{match[0]}</autoref>'
