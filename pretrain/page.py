"""An HTML page that needs no other file: its frame, its looks on screens and on paper, text, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

# A page may load nothing at all; the browser sees to it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"

STYLE = """\
:root {
  color-scheme: light dark;
  --ink: #1b1f24; --soft: #59636e; --page: #fff; --line: #d8dee4; --box: #f6f8fa; --link: #0060a8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6edf3; --soft: #9aa4ae; --page: #0d1117; --line: #30363d; --box: #161b22; --link: #6cb6ff;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  max-width: 54rem; margin: 0 auto; padding: 1.5rem 1rem 4rem;
  font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
}
h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 0.6rem; font-size: 1.2rem; }
a { color: var(--link); }
header p { margin: 0; color: var(--soft); overflow-wrap: anywhere; }
.note { margin: 0.4rem 0; font-size: 0.875rem; color: var(--soft); overflow-wrap: anywhere; }
figure { margin: 0; }
.sheet { padding: 0.5rem; border-radius: 6px; background: #fff; }
.sheet svg { display: block; width: 100%; height: auto; margin: 0 auto; }
figcaption { margin-top: 0.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td {
  padding: 0.3rem 0.9rem 0.3rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line);
}
th { font-weight: 500; color: var(--soft); white-space: nowrap; }
td { overflow-wrap: anywhere; }
.facts { width: 100%; }
.facts th { width: 1%; }
.wide { overflow-x: auto; }
.grid { font-size: 0.9rem; }
.grid th, .grid td { text-align: right; white-space: nowrap; overflow-wrap: normal; }
.grid.named :is(th, td):first-child, .grid.reasoned :is(th, td):last-child { text-align: left; }
pre {
  padding: 0.75rem; font-size: 0.85rem; white-space: pre-wrap; overflow-wrap: anywhere;
  background: var(--box); border: 1px solid var(--line); border-radius: 6px;
}
summary { cursor: pointer; }
@media (max-width: 32rem) {
  .facts tr { display: block; padding: 0.3rem 0; border-bottom: 1px solid var(--line); }
  .facts :is(th, td) { display: block; width: auto; padding: 0; border: 0; white-space: normal; }
}
@media print {
  :root {
    color-scheme: light;
    --ink: #000; --soft: #444; --page: #fff; --line: #bbb; --box: #fff; --link: #000;
  }
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  .wide { overflow: visible; }
}
"""


def page(title: str, sections: Iterable[str], *, style: str = "", script: str = "") -> str:
    """The whole file, from markup; `style` and `script` are of this page alone."""
    body = "\n".join(section for section in sections if section)
    code = f"<script>\n{script}</script>\n" if script else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{STYLE}{style}</style>\n</head>\n<body>\n{body}\n{code}"
        "</body>\n</html>\n"
    )


def section(title: str, content: str, *, name: str = "") -> str:
    """A heading and the markup below it, to be linked to by `name`; nothing without content."""
    anchor = f' id="{name}"' if name else ""
    return f"<section{anchor}><h2>{text(title)}</h2>\n{content}\n</section>" if content else ""


def facts_table(rows: Sequence[tuple[str, str]]) -> str:
    """A name and a value a row; nothing without rows."""
    cells = (f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in rows)
    return _table(cells, "facts") if rows else ""


def grid(columns: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table with a row of headings; nothing without rows.

    `kind`: `named` where the first column is words, `reasoned` where the last is.
    """
    return marked_grid(columns, [[text(cell) for cell in row] for row in rows], kind)


def marked_grid(columns: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """As `grid`, of cells that are markup already."""
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    body = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    lines = (f"<tr>{cells}</tr>" for cells in (head, *body))
    return f'<div class="wide">{_table(lines, f"grid {kind}".strip())}</div>' if rows else ""


def listed(lines: Iterable[str]) -> str:
    """A list, of text."""
    return "<ul>" + "".join(f"<li>{text(line)}</li>" for line in lines) + "</ul>"


def note(words: str) -> str:
    """A line in small print; nothing without words."""
    return f'<p class="note">{text(words)}</p>' if words else ""


def text(words: str) -> str:
    """Text as text: nothing in it is markup, and control characters are made visible."""
    return escape("".join(char if char.isprintable() or char in "\n\t" else _visible(char) for char in words))


def _visible(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _table(rows: Iterable[str], kind: str) -> str:
    return "\n".join([f'<table class="{kind}">', *rows, "</table>"])
