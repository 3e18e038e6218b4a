"""The page that goes with the figure: the slopes, the best rate of every width, and how they came about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.lr_transfer.figure import NAMES, slope_text
from benchmarks.lr_transfer.fit import CONFIDENCE
from benchmarks.lr_transfer.summary import Panel, mean_best
from benchmarks.lr_transfer.trial import Recipe

TEXT = """# Learning rates across widths

Under µP the best learning rate of a narrow model should stay the best of a wide one; under the standard
parametrisation it should fall as the model grows. Measured: every point of the figure is a model trained from
the start on Python source (the default corpus), with the project's own decoder, rules, groups and AdamW.

![Loss against learning rate](lr_transfer.png)

A star is a width's best rate, the mean over seeds of the lowest point of the parabola (in log2 of the rate)
through a curve's lowest point and its two neighbours; triangles lie above the picture, crosses diverged (no
number, or worse than before training). Losses count as no more than ln of the vocabulary in the parabola.

| | slope of log2(best rate) against log2(width), {confidence:.0%} interval | aim |
|---|---|---|
{slopes}

The slope is that of ordinary least squares through the best rates of all widths and seeds, the interval
Student's from the residuals of that line.

| best rate (log2) / loss | {widths} |
|---|{rules}|
{bests}

In brackets the number of seeds; ± is the standard deviation over them. {number} trials, {diverged} of them
diverged; {seconds:.0f} seconds of training, added up over processes, on {devices}.

## How

    {command}

Every trial: {recipe}.
The dense inner width is twice the width; a MoE has 8 experts of the width each, 2 of them a token. Heads and
inner widths grow with the width, all else stays. µP: `mup.enabled=true`, base width {base_width}, init std
{init_std:g} (embedding, and hidden matrices at the base width), multipliers as in the paper. Standard:
`mup.enabled=false`, init std {standard_init_std:g} for every matrix of every width (the last of a branch
divided by the root of twice the layers), multipliers 1, one learning rate. Both:
AdamW as in the shipped configs (betas 0.9 and 0.95, weight decay 0.1, gradient clipped at 1), fp32, every
sequence its own document. Learning rates go in factors of 2; a curve is extended outward until its lowest
point is inside. Loss is on {validation_sequences} held-out sequences, the same for all.
"""


def page(panels: Sequence[Panel], recipe: Recipe, *, command: str, devices: str, seconds: float) -> str:
    """The page as Markdown."""
    widths = sorted({width for panel in panels for width in panel.widths})
    return TEXT.format(
        confidence=CONFIDENCE,
        slopes="\n".join(_slope_row(panel) for panel in panels),
        widths=" | ".join(str(width) for width in widths),
        rules="|".join("---" for _ in widths),
        bests="\n".join(_best_row(panel, widths) for panel in panels),
        number=sum(len(curve.losses) for panel in panels for curve in panel.curves),
        diverged=sum(len(curve.diverged) for panel in panels for curve in panel.curves),
        seconds=seconds,
        devices=devices,
        command=command,
        recipe=_recipe(recipe),
        base_width=recipe.base_width,
        init_std=recipe.init_std,
        standard_init_std=recipe.standard_init_std,
        validation_sequences=recipe.validation_sequences,
    )


def _slope_row(panel: Panel) -> str:
    aim = "within ±0.15" if panel.parametrisation == "mup" else "at most -0.5"
    return f"| {_name(panel)} | {slope_text(panel.slope)} | {aim} |"


def _best_row(panel: Panel, widths: Sequence[int]) -> str:
    return f"| {_name(panel)} | " + " | ".join(_best_cell(panel, width) for width in widths) + " |"


def _best_cell(panel: Panel, width: int) -> str:
    bests = panel.bests(width)
    if not bests:
        return "not inside"
    mean = mean_best(bests)
    spread = f" ± {np.std([best.log2_lr for best in bests], ddof=1):.2f}" if len(bests) > 1 else ""
    return f"{mean.log2_lr:.2f}{spread} / {mean.loss:.3f} ({len(bests)})"


def _name(panel: Panel) -> str:
    return f"{NAMES[panel.architecture]}, {NAMES[panel.parametrisation]}"


def _recipe(recipe: Recipe) -> str:
    return (
        f"{recipe.layers} layers, heads of {recipe.head_dim}, vocabulary {recipe.vocab_size},\n"
        f"{recipe.updates} updates of {recipe.sequences} sequences of {recipe.sequence_length} tokens, the "
        f"rate rising over {recipe.warmup_updates} updates and falling in a straight line to 0"
    )
