"""One HTML page with every figure and its sentence, what was left out, and the table of optima."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pretrain.laws.figures.files import inline
from pretrain.laws.figures.study import Study
from pretrain.laws.figures.words import interval, rate, short
from pretrain.laws.lr_view import block, words
from pretrain.laws.optimum import WHY
from pretrain.laws.power_fit import PowerLaw
from pretrain.page import grid, listed, section, text
from pretrain.page import page as frame

OPTIMA = ("N", "T", "batch", "β", "best lr", "±", "γ", "loss", "")
LAWS = ("sizes", "a", "95 %", "b", "95 %", "points", "")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure that was drawn: its svg and its sentence."""

    name: str
    title: str
    says: str
    svg: bytes


def page(study: Study, drawn: Sequence[Drawn], left_out: Sequence[tuple[str, str]]) -> str:
    """The whole file; `left_out` holds titles and reasons."""
    title = f"Learning rates of {study.source}"
    header = f"<header><h1>{text(title)}</h1><p>{text(_counted(study))}</p></header>"
    return frame(title, [header, *_sections(study, drawn, left_out)])


def _sections(study: Study, drawn: Sequence[Drawn], left_out: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield section("What the results say", listed(words(study.fit)) + _laws(study) + _block(study))
    for one in drawn:
        picture = f'<div class="sheet">{inline(one.svg, one.name, text(one.title))}</div>'
        caption = f"<figcaption>{text(one.says)}</figcaption>"
        yield section(one.title, f'<figure id="{one.name}">{picture}{caption}</figure>')
    if left_out:
        yield section("Left out", listed(f"{title}: {why}" for title, why in left_out))
    yield section("Optima", _optima(study))


def _counted(study: Study) -> str:
    flagged = len(study.fit.optima) - len(study.found)
    return (
        f"{len(study.found)} optima of {len(study.fit.optima)} (size, budget, batch), {flagged} left out; "
        "losses in nats; β is the batch in sequences of 4096 tokens; T is tokens; N leaves embeddings out; "
        "rates are those of the group with ratio 1."
    )


def _block(study: Study) -> str:
    said = block(study.fit)
    return "" if said is None else f"<pre>{text(said)}</pre>"


def _laws(study: Study) -> str:
    rows = [(short(N), law) for N, law in study.fit.by_size.items()]
    if study.fit.together is not None:
        rows.append(("together", study.fit.together))
    return grid(LAWS, [(name, *_law(law)) for name, law in rows], "named reasoned")


def _law(law: PowerLaw) -> tuple[str, ...]:
    a, b = interval(law.amplitude_interval, ".3g"), interval(law.exponent_interval)
    scatter = f"scatter × {law.factor:.3f}" if law.factor == law.factor else ""
    return f"{law.amplitude:.4g}", _bare(a), f"{law.exponent:.4f}", _bare(b), str(law.points), scatter


def _bare(told: str) -> str:
    return told.strip(" ()").removeprefix("95 %: ")


def _optima(study: Study) -> str:
    rows = []
    for one in study.fit.optima:
        cell = one.cell
        where = (short(cell.N), short(cell.T), short(cell.batch_tokens), f"{cell.beta:.4g}")
        if one.flag:
            rows.append((*where, "", "", "", "", WHY[one.flag]))
        else:
            error = f"{one.log_lr_se:.0%}" if one.log_lr_se == one.log_lr_se else "?"
            rows.append((*where, rate(one.lr), error, rate(one.gamma), f"{one.loss:.4f}", ""))
    return grid(OPTIMA, rows, "reasoned")
