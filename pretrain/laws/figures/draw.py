"""Every figure that a study holds, written into a folder with the page; the others have their reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.errors import UserError
from pretrain.files import put, sync
from pretrain.laws.figures import (
    best_exponent,
    constants,
    cost_of_rate,
    gamma,
    loss_and_batch,
    loss_and_rate,
    rate_and_batch,
    rate_and_tokens,
    schedules,
    transfer,
)
from pretrain.laws.figures.files import rendered
from pretrain.laws.figures.page import Drawn, page
from pretrain.laws.figures.picture import Picture
from pretrain.laws.figures.study import Study

PICTURES: tuple[Picture, ...] = tuple(
    one.PICTURE
    for one in (
        schedules,
        loss_and_rate,
        rate_and_batch,
        gamma,
        constants,
        best_exponent,
        rate_and_tokens,
        loss_and_batch,
        cost_of_rate,
        transfer,
    )
)
PAGE = "figures.html"


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was drawn, as file names by figure, and what was left out."""

    figures: tuple[dict[str, Any], ...]
    left_out: tuple[dict[str, str], ...]
    page: str


def write(study: Study, folder: Path) -> Written:
    """Draw all figures into `folder`, which is made; the files of earlier ones are written over."""
    reasons = {one.name: one.lacks(study) for one in PICTURES}
    drawn, figures = [], []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in PICTURES:
            if reasons[one.name] is not None:
                continue
            content = rendered(one.draw(study), one.name)
            files = {kind: f"{one.name}.{kind}" for kind in content}
            for kind, data in content.items():
                put(folder / files[kind], data)
            drawn.append(Drawn(name=one.name, title=one.title, says=one.says(study), svg=content["svg"]))
            figures.append({"name": one.name, "title": one.title, "says": drawn[-1].says, "files": files})
        left_out = list(_left_out(reasons))
        put(folder / PAGE, page(study, drawn, [(lack["title"], lack["why"]) for lack in left_out]))
        sync(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from error
    return Written(figures=tuple(figures), left_out=tuple(left_out), page=PAGE)


def _left_out(reasons: dict[str, str | None]) -> Iterator[dict[str, str]]:
    for one in PICTURES:
        if (why := reasons[one.name]) is not None:
            yield {"name": one.name, "title": one.title, "why": why}
