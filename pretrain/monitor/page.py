"""The pieces of an HTML page that needs no other file: escaped text, tables, a style for screen and print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from pretrain.monitor.words import printable

STYLE = """\
:root {
  color-scheme: light dark;
  --ink: #1b1f24; --soft: #59636e; --page: #fff; --line: #d8dee4; --box: #f6f8fa;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --page: #0d1117; --line: #30363d; --box: #161b22; }
}
body {
  max-width: 54rem; margin: 0 auto; padding: 1.5rem 1rem 4rem;
  font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
}
h1 { margin: 0; font-size: 1.75rem; overflow-wrap: anywhere; }
h2 { margin: 2.25rem 0 0.5rem; font-size: 1.15rem; }
header p { margin: 0; color: var(--soft); }
img {
  box-sizing: border-box; width: 100%; height: auto; padding: 0.5rem;
  border-radius: 6px; background: #fff;
}
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td {
  padding: 0.3rem 0.75rem 0.3rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line);
}
th { font-weight: 500; color: var(--soft); white-space: nowrap; }
td { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
.grid th, .grid td { text-align: right; white-space: nowrap; }
pre {
  padding: 0.75rem; font-size: 0.85rem; white-space: pre-wrap; overflow-wrap: anywhere;
  background: var(--box); border: 1px solid var(--line); border-radius: 6px;
}
summary { cursor: pointer; }
@media (max-width: 32rem) { th { white-space: normal; } }
@media print {
  body { max-width: none; padding: 0; }
  section { break-inside: avoid-page; }
  pre { break-inside: auto; }
}
"""


def page(title: str, sections: Iterable[str]) -> str:
    """The whole file."""
    body = "\n".join(section for section in sections if section)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def section(title: str, content: str) -> str:
    """A heading and what is below it; nothing without content."""
    return f"<section><h2>{text(title)}</h2>\n{content}\n</section>" if content else ""


def facts_table(rows: Sequence[tuple[str, str]]) -> str:
    """A name and a value a row; nothing without rows."""
    cells = (f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in rows)
    return _table(cells) if rows else ""


def grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a row of headings; nothing without rows."""
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    body = ("".join(f"<td>{text(cell)}</td>" for cell in row) for row in rows)
    lines = (f"<tr>{cells}</tr>" for cells in (head, *body))
    return f'<div class="wide">{_table(lines, "grid")}</div>' if rows else ""


def text(text: str) -> str:
    """Text as text: nothing in it is markup, and control characters are made visible."""
    return escape(printable(text))


def _table(rows: Iterable[str], kind: str = "facts") -> str:
    return "\n".join([f'<table class="{kind}">', *rows, "</table>"])
