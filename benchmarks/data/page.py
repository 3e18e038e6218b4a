"""A measured section of a page, between two comments that name it: the text around it stays as it is."""

from __future__ import annotations

from pathlib import Path

from pretrain.files import replace


def put(file: Path, name: str, text: str) -> None:
    """Put `text` between `<!-- NAME -->` and `<!-- /NAME -->` of a page."""
    first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    page = file.read_text(encoding="utf-8")
    head, found, rest = page.partition(first)
    if not found or last not in rest:
        raise SystemExit(f"{file} has no {first.strip()} and {last}")
    replace(file, head + first + text + last + rest.partition(last)[2])
