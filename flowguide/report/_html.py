"""A page that needs nothing but itself: pictures, videos and the script that sorts are inside."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from .._results.tables import html, Table
from ._picture import Picture
from ._sections import Key, Section

# Of tables that hold words: their last column is text of any length.
_WORDS = ("guidances", "errors", "source", "runs")

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --soft: #57606a; --line: #d0d7de;
  --page: #ffffff; --shade: #f3f5f7; --better: #005a91; --worse: #9a4300; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --soft: #a0a8b2; --line: #3b424b;
  --page: #15181c; --shade: #20252b; --better: #6cb8ea; --worse: #f0995a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--page);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 2.5rem 0 0.5rem; border-top: 1px solid
  var(--line); padding-top: 1.5rem; }
.verdict { font-size: 1.15rem; line-height: 1.4; font-weight: 600; margin: 0.75rem 0; }
th.sorts { cursor: pointer; } th.sorts:hover, th.sorts:focus-visible { text-decoration: underline; }
th[aria-sort="ascending"]::after { content: " \\25B2"; }
th[aria-sort="descending"]::after { content: " \\25BC"; }
p { margin: 0.5rem 0; } p.note, figcaption, footer { color: var(--soft); font-size: 0.875rem; }
nav ul { padding-left: 1.2rem; margin: 0.5rem 0; columns: 22rem; } a { color: inherit; }
.box { overflow: auto; max-height: 36rem; border: 1px solid var(--line); border-radius: 6px;
  margin: 0.75rem 0; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: 0.875rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.75rem; text-align: right; white-space: nowrap; }
thead th { position: sticky; top: 0; z-index: 1; background: var(--shade); font-weight: 600;
  white-space: normal; vertical-align: bottom; }
tbody th { text-align: left; font-weight: 400; background: var(--page); position: sticky;
  left: 0; }
thead th:first-child { text-align: left; }
table.words td, table.words th { text-align: left; }
table.words td:last-child { white-space: pre-wrap; min-width: 16rem; }
tbody tr + tr > * { border-top: 1px solid var(--line); }
tbody tr.better > th, tbody tr.worse > th { font-weight: 600; }
tr.better > th { box-shadow: inset 4px 0 var(--better); }
tr.worse > th { box-shadow: inset 4px 0 var(--worse); }
@media print { .box { max-height: none; } }
figure { margin: 1rem 0; } .figures { display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
figure img, figure video { display: block; width: 100%; height: auto; }
figure img { background: #fff; }
@media (prefers-color-scheme: dark) { figure img { filter: invert(0.9) hue-rotate(180deg); } }
.picture { overflow: hidden; border: 1px solid var(--line); border-radius: 6px; }
"""

# A click sorts by the first number of a cell, the largest first, or by its text; a third one gives
# back the order of the report. Cells without a number are last. Without scripts the table is as it
# was written.
_SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const number = text => /^[+-]?[\\d.,]+/.test(text) ? parseFloat(text.replace(/,/g, "")) : NaN;
  const sort = (head, i) => {
    const text = row => row.cells[i].textContent, value = row => number(text(row));
    const isNumbers = i > 0 && rows.some(row => !isNaN(value(row)));
    const orders = isNumbers ? ["descending", "ascending"] : ["ascending", "descending"];
    const order = [...orders, null][orders.indexOf(head.ariaSort) + 1];
    heads.forEach(each => each.removeAttribute("aria-sort"));
    if (order) head.setAttribute("aria-sort", order);
    const sign = order === "descending" ? -1 : 1;
    const compare = (a, b) => !isNumbers
      ? sign * text(a).localeCompare(text(b), undefined, { numeric: true })
      : isNaN(value(a)) - isNaN(value(b)) || sign * (value(a) - value(b)) || 0;
    body.append(...(order ? [...rows].sort(compare) : rows));
  };
  if (rows.length > 1) heads.forEach((head, i) => {
    head.classList.add("sorts");
    head.tabIndex = 0;
    head.title = "Sort";
    head.addEventListener("click", () => sort(head, i));
    head.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort(head, i);
    });
  });
}
"""


def page(
    title: str,
    told: Sequence[str],
    introduction: Sequence[str],
    sections: Sequence[Section],
    pictures: dict[Key, list[Picture]],
    images: dict[str, bytes],
    videos: Sequence[Path],
    footer: str,
) -> str:
    """The whole page.

    **Arguments:**

    - `title`: of the page.
    - `told`: the verdicts, which come first.
    - `introduction`: paragraphs below them.
    - `sections`: its tables.
    - `pictures`: by the section that they belong to.
    - `images`: the PNG of each picture, by its name.
    - `videos`: MP4 files.
    - `footer`: the last line.
    """
    body = [f"<h1>{escape(title)}</h1>"]
    body += [f'<p class="verdict">{escape(text)}</p>' for text in told]
    body += [f"<p>{escape(text)}</p>" for text in introduction]
    if len(sections) > 1:
        links = (
            f'<li><a href="#part{i}">{escape(section.table.title)}</a></li>'
            for i, section in enumerate(sections)
            # They follow their task.
            if not section.key[2].endswith("between")
        )
        body.append(f"<nav><ul>{''.join(links)}</ul></nav>")
    for i, section in enumerate(sections):
        body.append(f'<section id="part{i}">')
        body.append(_table(section.table, is_words=section.key[2] in _WORDS))
        body.append(_pictures(pictures.get(section.key, []), images))
        body.append("</section>")
    if videos:
        body.append(f"<section><h2>Videos</h2>{''.join(map(_video, videos))}</section>")
    body.append(f"<footer><p>{escape(footer)}</p></footer>")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + f"\n<script>{_SCRIPT}</script>"
        + "\n</body>\n</html>\n"
    )


def _table(table: Table, *, is_words: bool) -> str:
    title = escape(table.title)
    parts = [f"<h2>{title}</h2>"]
    if table.rows:
        # Reachable by the keyboard, because it scrolls.
        parts.append(
            f'<div class="box" tabindex="0" role="region" aria-label="{title}">'
            f"{html(table, 'words' if is_words else '')}</div>"
        )
    parts += [f'<p class="note">{escape(note)}</p>' for note in table.notes]
    return "\n".join(parts)


def _pictures(pictures: Sequence[Picture], images: dict[str, bytes]) -> str:
    if not pictures:
        return ""
    parts = []
    for picture in pictures:
        caption = f"{picture.caption} {picture.left_out}".strip()
        parts.append(
            f'<figure><div class="picture"><img alt="{escape(picture.caption)}" '
            f'src="{_uri("png", images[picture.name])}"></div>'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    return f'<div class="figures">{"".join(parts)}</div>'


def _video(file: Path) -> str:
    name = escape(file.name)
    return (
        f'<figure><video controls preload="metadata" aria-label="{name}" '
        f'src="{_uri("mp4", file.read_bytes())}"></video><figcaption>{name}</figcaption></figure>'
    )


def _uri(kind: str, data: bytes) -> str:
    medium = {"png": "image/png", "mp4": "video/mp4"}[kind]
    return f"data:{medium};base64,{base64.b64encode(data).decode()}"
