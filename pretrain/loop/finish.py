"""The end of a run: samples of text, the summary, the picture, the status and the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch

from megatron_lite.model.parameters import count
from pretrain.checkpoint.load import newest
from pretrain.loop.build import build_model
from pretrain.loop.run import Run
from pretrain.loop.samples import samples_of
from pretrain.monitor.curves import draw
from pretrain.monitor.goodput import goodput
from pretrain.monitor.meter import Speed, peak_memory_bytes
from pretrain.monitor.record import METRICS, TIMING, read
from pretrain.monitor.status import write_status
from pretrain.monitor.summary import Sample, Score, Summary, score_of, write_summary
from pretrain.report.write import write_report

T = TypeVar("T")


def finish(run: Run, *, seconds: float) -> Summary:
    """Write what a run leaves behind whose last update is trained and saved; `finished` once results stand.

    What only shows the run may fail: that is said, and the run is finished all the same.

    `seconds`: of this process, preparation included. On the first rank only.
    """
    shown = run.config.trackers.report
    picture, report = run.folder / "curves.png", run.folder / "report.html"
    speed = _speed(read(run.folder / TIMING))
    summary = Summary(
        name=run.config.run.name,
        parameters=count(run.shape),
        tokens=run.position.tokens,
        steps=run.position.step,
        validation=run.scores or _scores(read(run.folder / METRICS), run.position.step),
        tokens_per_second=speed.tokens_per_second,
        mfu=speed.mfu,
        seconds=seconds,
        peak_memory_bytes=peak_memory_bytes(run.device),
        samples=(_tried(run, "samples", lambda: samples(run)) or ()) if shown else (),
        picture=str(picture) if shown else "",
        report=str(report) if shown else "",
        goodput=_tried(run, "goodput", lambda: goodput(run.folder)),
    )
    write_summary(run.folder, summary)
    if shown:
        _tried(run, picture.name, lambda: draw(run.folder, picture))
    write_status(run.folder, "finished", run.position.step)
    if shown:
        _tried(run, report.name, lambda: write_report(run.folder))
    return summary


def _tried(run: Run, what: str, make: Callable[[], T]) -> T | None:
    """Something that shows the run, or None and a warning where it cannot be made."""
    try:
        return make()
    except Exception as error:  # a GPU without room, a full disk, a damaged line
        run.inspector.warn(f"Warning: no {what}: {type(error).__name__}: {error}")
        return None


def _scores(metrics: Sequence[Mapping[str, Any]], step: int) -> dict[str, Score]:
    """The last validation, by source."""
    return {
        line["source"]: score_of(line)
        for line in metrics
        if line["kind"] == "validation" and line["step"] == step
    }


def _speed(timing: Sequence[Mapping[str, Any]]) -> Speed:
    """Over all updates that are in the record, restarts included, without what lies between updates."""
    known = [line for line in timing if line["mfu"] is not None]
    return Speed(
        tokens_per_second=_mean(timing, "tokens_per_second") if timing else 0.0,
        mfu=_mean(known, "mfu") if known else None,
    )


def _mean(timing: Sequence[Mapping[str, Any]], key: str) -> float:
    return sum(line[key] * line["seconds"] for line in timing) / sum(line["seconds"] for line in timing)


def samples(run: Run) -> tuple[Sample, ...]:
    """Three continuations by the weights of the newest checkpoint: the engine's may be in shards."""
    checkpoint = newest(run.checkpoints)
    assert checkpoint is not None, "a run is saved before it is finished"
    model = build_model(run.shape, run.config.run.precision, run.device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(checkpoint.tensor("weight", name))
    return samples_of(model, run.corpus.tokenizer, run.config.run.seed)
