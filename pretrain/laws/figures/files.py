"""A figure as files: svg and pdf for papers, png for screens; the same results make the same bytes."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pretrain.laws.figures.style import STYLE

DOTS_PER_INCH = 160
METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


def rendered(figure: Figure, name: str) -> dict[str, bytes]:
    """The bytes of every format; `name` makes the ids inside of the svg its own."""
    FigureCanvasAgg(figure)
    found = {}
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the layout is found once, not for every format
        for kind, metadata in METADATA.items():
            content = BytesIO()
            figure.savefig(content, format=kind, dpi=DOTS_PER_INCH, metadata=metadata, facecolor="white")
            found[kind] = content.getvalue()
    return found


def inline(svg: bytes, name: str, words: str) -> str:
    """The svg as an element of a page: no prologue, a width that fits, ids that no other figure has."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    head, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    width = re.search(r'width="([\d.]+)pt"', head)
    assert box is not None, "an svg of matplotlib has a view box"
    assert width is not None, "and a width"
    style = f"max-width:{float(width[1]) * 4 / 3:.0f}px"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} '
        f'role="img" aria-label="{words}" style="{style}">{rest}'
    )
