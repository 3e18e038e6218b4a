"""The page of the experiment, from the files that its stages left."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.power_law import design
from benchmarks.power_law.judge import CONFIDENCE, duels, holds, pooled_spread
from megatron_lite.options import format_count

TEXT = """# The paper's experiment, small

Does the law of *Power Scheduler*, lr = β · a · n^−0.51, come out of runs of one's own? Decoders of 0.2M
parameters (beside the embedding) on the default corpus, Python source, through `pretrain sweep` and
`pretrain laws fit-lr`. Design and rules of decision were written down (`benchmarks/power_law/design.py`)
before the first run; what was changed later, and why, stands there too.

    python -m benchmarks.power_law find --jobs 2
    python -m benchmarks.power_law versus --jobs 2
    python -m benchmarks.power_law page
    pretrain laws fit-lr docs/power_law_find.csv
    pretrain laws figures docs/power_law_find.csv out/figures

## What came out

{verdict}

| | found | 95 % interval | the paper's |
|---|---|---|---|
{law}

![Loss against learning rate, by budget](power_law_loss.png)

![Best rate per sequence of 4096 tokens against the tokens of a run](power_law_gamma.png)

The fit is through budgets of {budgets} tokens. The smallest that was run, {shortest}, is 25 updates of the
largest batch, and with it the exponent of T is {all_exponent} (`pretrain laws fit-lr
docs/power_law_all.csv`).

{versus}
## What to keep in mind

- One size of model, one text, batches of 512 to 2048 tokens: 1/128 to 1/32 of the paper's smallest,
  65,536. Far below the critical batch Adam's best rate is expected to grow more slowly than
  the batch.
- Losses are on the same held-out text for all runs, so that its error is not in their differences. Noise is
  that of repeated runs at the middle batch ({noise:.2g} nats, the highest rates included).
- {runs} points, {tokens} tokens trained (what budgets share is trained once), on two cores.

Every run lies in [power_law_all.csv](power_law_all.csv){also}.
"""

VERSUS = """## Power against WSD and cosine

At {budget} tokens, twice the largest budget that the law was fitted to, {batch} sequences a batch. As many
trials for each schedule, {factors} times what was expected to be best; the best again with two other seeds.

| schedule | best trial | loss, {seeds} seeds | spread | loss of each trial, from low to high |
|---|---|---|---|---|
{methods}

| pair | difference of means | least that is more than seeds | by the rule | p, Welch |
|---|---|---|---|---|
{duels}

The spread over seeds, pooled, is {spread:.4f} nats ({freedom} degrees of freedom). The rule, written before
the runs, takes it as the spread of every schedule, and the column of spreads says otherwise. Welch's test
gives each its own: {welch}

Of the trials {edges}, so that others beyond
it might be better. The first of the three seeds is the one that the best trial was chosen by, which favours
what scatters most.
"""


def page(docs: Path) -> str:
    """The page as Markdown; without the comparison of schedules where that was not run."""
    fit = json.loads((docs / "power_law_find.json").read_text())
    everything = json.loads((docs / "power_law_all.json").read_text())
    rows = _rows(docs / "power_law_all.csv")
    compared = docs / "power_law_versus.csv"
    trials = _rows(compared) if compared.exists() else []
    losses = repeated(trials)
    return TEXT.format(
        verdict="\n".join(f"- {line}" for line in decisions(fit, losses)),
        law="\n".join(_law(fit)),
        budgets=_listed(budget for budget in design.BUDGETS if budget >= design.FITTED_FROM),
        shortest=format_count(min(design.BUDGETS)),
        all_exponent=_shown(everything["together"]["exponent"], everything["together"]["exponent_interval"]),
        versus=_versus(trials, losses) if trials else "",
        noise=fit["noise"],
        runs=len(rows) + len(trials),
        tokens=format_count(trained_tokens(rows) + sum(int(row["D"]) for row in trials)),
        also=" and [power_law_versus.csv](power_law_versus.csv)" if trials else "",
    )


def _versus(trials: list[Mapping[str, str]], losses: Mapping[str, list[float]]) -> str:
    spread, freedom = pooled_spread(losses)
    return VERSUS.format(
        budget=format_count(design.UNSEEN_BUDGET),
        batch=design.UNSEEN_BATCH,
        factors=", ".join(f"{factor:g}" for factor in design.FACTORS),
        seeds=len(design.SEEDS),
        methods="\n".join(_methods(trials, losses)),
        duels="\n".join(_duels(losses)),
        welch=_welch(losses),
        edges=_edges(trials),
        spread=spread,
        freedom=freedom,
    )


def trained_tokens(rows: list[Mapping[str, str]]) -> int:
    """Of a sweep whose budgets share a trunk: the longest run of each setting, and the others' decays."""
    settings: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row in rows:
        settings[row["batch_tokens"], row["lr"], row["seed"]].append(int(row["D"]))
    share = design.DECAY_SHARE
    return round(sum(max(tokens) * (1 - share) + sum(tokens) * share for tokens in settings.values()))


def repeated(versus: list[Mapping[str, str]]) -> dict[str, list[float]]:
    """The losses of each schedule's best trial, over seeds."""
    losses: dict[str, list[float]] = {}
    for method in dict.fromkeys(row["method"] for row in versus):
        trials = [row for row in versus if row["method"] == method and row["stage"] == "search"]
        repeats = [row for row in versus if row["method"] == method and row["stage"] == "repeat"]
        losses[method] = [min(_loss(row) for row in trials), *(_loss(row) for row in repeats)]
    return losses


def decisions(fit: Mapping[str, Any], losses: Mapping[str, list[float]]) -> Iterator[str]:
    """What the rules say."""
    together, general = fit["together"], fit["general"]
    yield _agreement("exponent of T", together["exponent"], together["exponent_interval"], design.PAPER[1])
    yield _agreement("exponent of the batch", general["batch"]["value"], general["batch"]["interval"], 1.0)
    yield f"lr in proportion to the batch: {fit['verdict']['batch_linear']['words']}."
    if not losses:
        yield "Power against WSD and cosine: not run."
    for duel in duels(losses) if losses else ():
        said = f"{duel.winner} wins" if duel.winner else "a tie"
        yield f"{duel.first} against {duel.second}: {said} ({duel.difference:+.4f} nats)."


def _agreement(name: str, value: float, interval: list[float] | None, paper: float) -> str:
    held = holds(interval, paper)
    word = {True: "agrees with", False: "differs from", None: "cannot be compared with"}[held]
    return f"The {name} is {_shown(value, interval)}: it {word} the paper's {paper:g}."


def _shown(value: float, interval: list[float] | None) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})" if interval else f"{value:.3f} (± unknown)"


def _listed(counts: Iterable[int]) -> str:
    return ", ".join(map(format_count, counts))


def _law(fit: Mapping[str, Any]) -> Iterator[str]:
    together, general = fit["together"], fit["general"]
    rows = [
        ("amplitude a", together["amplitude"], together["amplitude_interval"], "4.6 (WSD), 4 (chosen)"),
        ("exponent b of T in gamma", together["exponent"], together["exponent_interval"], "-0.51"),
        ("exponent of T, general law", general["tokens"]["value"], general["tokens"]["interval"], "-0.51"),
        ("exponent of the batch, general law", general["batch"]["value"], general["batch"]["interval"], "1"),
    ]
    for name, value, interval, paper in rows:
        shown = f"{interval[0]:.3g} to {interval[1]:.3g}" if interval else "unknown"
        yield f"| {name} | {value:.3g} | {shown} | {paper} |"


def _methods(versus: list[Mapping[str, str]], losses: Mapping[str, list[float]]) -> Iterator[str]:
    for method, rows in _searches(versus).items():
        best, values = min(rows, key=_loss), losses[method]
        knob, own = _knob(best), [f"{_loss(row):.4f}" for row in rows]
        yield (
            f"| {method} | {knob.removeprefix('schedule.')} {float(best[knob]):.4g} | {np.mean(values):.4f} "
            f"| {np.std(values, ddof=1):.4f} | {', '.join(own)} |"
        )


def _duels(losses: Mapping[str, list[float]]) -> Iterator[str]:
    for duel in duels(losses):
        said = f"{duel.winner} wins" if duel.winner else "tie"
        numbers = f"{duel.difference:+.4f} | {duel.least:.4f} | {said} | {duel.welch:.2g}"
        yield f"| {duel.first} − {duel.second} | {numbers} |"


def _welch(losses: Mapping[str, list[float]]) -> str:
    told = [duel for duel in duels(losses) if duel.welch < 1 - CONFIDENCE]
    pairs = "; ".join(
        f"{duel.first if duel.difference < 0 else duel.second} is better of {duel.first} and {duel.second}"
        for duel in told
    )
    return f"by it {pairs}." if told else "by it no schedule is better than another."


def _edges(versus: list[Mapping[str, str]]) -> str:
    """Schedules whose best trial is the lowest or the highest."""
    found = [
        method for method, rows in _searches(versus).items() if min(rows, key=_loss) in (rows[0], rows[-1])
    ]
    return f"the best is at an edge ({'; '.join(found)})" if found else "none at an edge is best"


def _searches(versus: list[Mapping[str, str]]) -> dict[str, list[Mapping[str, str]]]:
    """The trials of each schedule, from low to high."""
    trials: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in versus:
        if row["stage"] == "search":
            trials[row["method"]].append(row)
    return {method: sorted(rows, key=lambda row: float(row[_knob(row)])) for method, rows in trials.items()}


def _knob(row: Mapping[str, str]) -> str:
    return "schedule.amplitude" if row.get("schedule.amplitude") else "schedule.lr_max"


def _rows(path: Path) -> list[Mapping[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _loss(row: Mapping[str, str]) -> float:
    return float(row["loss"]) if row["status"] == "finished" and row["loss"] else float("inf")
