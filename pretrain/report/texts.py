"""Texts that a model wrote: at the end of a run, and as it learned."""

from __future__ import annotations

from collections.abc import Iterable

from pretrain.page import note, text
from pretrain.report.run import RunRecord
from pretrain.report.words import tokens


def samples(run: RunRecord) -> str:
    """The newest texts in full view, earlier ones folded away, oldest last."""
    moments = [
        (line.get("step"), line.get("tokens"), _pairs(line.get("samples"))) for line in run.samples.lines
    ]
    if run.summary and run.summary.samples:
        last = [(sample.prompt, sample.text) for sample in run.summary.samples]
        if not moments or moments[-1][0] != run.summary.steps:
            moments.append((run.summary.steps, run.summary.tokens, last))
    if not moments:
        return ""
    *earlier, (step, count, newest) = moments
    parts = [_moment(step, count), *_texts(newest)]
    for step, count, pairs in reversed(earlier):
        texts = "".join(_texts(pairs))
        parts.append(f"<details><summary>{_where(step, count)}</summary>{texts}</details>")
    shown = len(run.samples.lines)
    if shown < run.samples.of:
        parts.append(note(f"{shown} of {run.samples.of:,} moments, evenly spread."))
    return "\n".join(parts)


def _pairs(found: object) -> list[tuple[str, str]]:
    if not isinstance(found, list):
        return []
    return [(str(one.get("prompt", "")), str(one.get("text", ""))) for one in found if isinstance(one, dict)]


def _texts(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [f'<pre class="sample"><b>{text(prompt)}</b>{text(words)}</pre>' for prompt, words in pairs]


def _moment(step: object, count: object) -> str:
    return f'<p class="moment">{_where(step, count)}</p>'


def _where(step: object, count: object) -> str:
    behind = f", {tokens(count)} tokens" if isinstance(count, int | float) else ""
    return text(f"after step {step:,}{behind}" if isinstance(step, int) else f"after step {step}{behind}")
