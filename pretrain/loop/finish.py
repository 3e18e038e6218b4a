"""The end of a run: samples of text, the summary, the picture, the status and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from megatron_lite.model.parameters import count
from pretrain.checkpoint.load import newest
from pretrain.evaluate.generate import generate
from pretrain.loop.build import build_model
from pretrain.loop.run import Run
from pretrain.monitor.curves import draw
from pretrain.monitor.meter import Speed, peak_memory_bytes
from pretrain.monitor.record import METRICS, TIMING, read
from pretrain.monitor.report import write_report
from pretrain.monitor.status import write_status
from pretrain.monitor.summary import Sample, Score, Summary, write_summary

PROMPTS = ("def", "import", "class")
SAMPLE_TOKENS = 64


def finish(run: Run, *, seconds: float) -> Summary:
    """Write what a run leaves behind whose last update is trained and saved; `finished` once results stand.

    `seconds`: of this process, preparation included. On the first rank only.
    """
    picture, report = run.folder / "curves.png", run.folder / "report.html"
    speed = _speed(read(run.folder / TIMING))
    summary = Summary(
        name=run.config.run.name,
        parameters=count(run.shape),
        tokens=run.position.tokens,
        steps=run.position.step,
        validation=_scores(read(run.folder / METRICS), run.position.step),
        tokens_per_second=speed.tokens_per_second,
        mfu=speed.mfu,
        seconds=seconds,
        peak_memory_bytes=peak_memory_bytes(run.device),
        samples=samples(run),
        picture=str(picture),
        report=str(report),
    )
    write_summary(run.folder, summary)
    draw(run.folder, picture)
    write_status(run.folder, "finished", run.position.step)
    write_report(run.folder)
    return summary


def _scores(metrics: Sequence[Mapping[str, Any]], step: int) -> dict[str, Score]:
    """The last validation, by source."""
    return {
        line["source"]: Score(loss=line["loss"], bits_per_byte=line["bits_per_byte"])
        for line in metrics
        if line["kind"] == "validation" and line["step"] == step
    }


def _speed(timing: Sequence[Mapping[str, Any]]) -> Speed:
    """Over all updates of the run, restarts included, without what lies between updates."""
    seconds = sum(line["seconds"] for line in timing)
    known = [line for line in timing if line["mfu"] is not None]
    return Speed(
        tokens_per_second=sum(line["tokens_per_second"] * line["seconds"] for line in timing) / seconds,
        mfu=sum(line["mfu"] * line["seconds"] for line in known) / seconds if known else None,
    )


def samples(run: Run) -> tuple[Sample, ...]:
    """Three continuations by the weights of the newest checkpoint: the engine's may be in shards."""
    checkpoint = newest(run.checkpoints)
    assert checkpoint is not None, "a run is saved before it is finished"
    model = build_model(run.shape, run.config.run.precision, run.device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(checkpoint.tensor("weight", name))
    texts = generate(
        model,
        run.corpus.tokenizer,
        list(PROMPTS),
        max_tokens=SAMPLE_TOKENS,
        temperature=0.8,
        top_p=0.95,
        seed=run.config.run.seed,
    )
    return tuple(Sample(prompt=prompt, text=text) for prompt, text in zip(PROMPTS, texts, strict=True))
