"""Run folders as runs leave them, made by the record's own writers from numbers that look like a run's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megatron_lite.model.parameters import Counts
from pretrain.config.load import dump, load
from pretrain.monitor.record import Record
from pretrain.monitor.status import write_status
from pretrain.monitor.summary import Sample, Score, Summary, write_summary

LAYERS, EXPERTS, BATCH = 6, 8, 4096
MakeRun = Callable[..., Path]


def train_line(step: int, rng: np.random.Generator, *, moe: bool) -> dict[str, Any]:
    loss = 3.2 + 6 * (step + 5) ** -0.45 + 0.06 * rng.normal()
    line = {
        "kind": "train",
        "step": step,
        "tokens": step * BATCH,
        "batch_tokens": BATCH,
        "loss": 24.0 - 3 * step if step < 4 else loss,
        "lr": min(0.02, 0.4 * step**-0.51),
        "grad_norm": float(np.exp(0.2 * rng.normal()) * (0.4 + 5 / step)),
    }
    return line | ({"balance_loss": LAYERS * (1 + 3 / step), "z_loss": 5 + 50 / step} if moe else {})


def statistics(step: int, rng: np.random.Generator) -> dict[str, Any]:
    layers = []
    for layer in range(LAYERS):
        load = np.exp(rng.normal(size=EXPERTS) * (0.15 + 2.5 * (1 + layer) / (10 + step / 8)))
        layers.append(
            {
                "activation_rms": 0.6 * 1.25**layer * (1 + step / 900),
                "weight_rms": 0.1 + step / 20000 + layer / 200,
                "update_rms": None if step == 0 else 0.002 * step**-0.3 * (1 + layer / 9),
                "gradient_rms": 1e-4 * (1 + layer) / (1 + step / 100),
                "router_entropy": np.log(EXPERTS) * (0.95 - 0.1 * layer * min(1, step / 300) ** 0.5),
                "expert_load": (load / load.sum()).tolist(),
            }
        )
    embedding = {"weight_rms": 0.1, "update_rms": 0.004, "gradient_rms": 2e-4}
    return {"step": step, "tokens": step * BATCH, "layers": layers, "embedding": embedding}


def samples(step: int) -> dict[str, Any]:
    texts = [
        {"prompt": prompt, "text": f" after {step} <b> & 'more'\n    pass"} for prompt in ("def", "import")
    ]
    return {"step": step, "tokens": step * BATCH, "samples": texts}


def evaluation(step: int | None, name: str, shift: float = 0.0) -> dict[str, Any]:
    """As `pretrain evaluate` leaves it."""
    scores = {"arc_easy": 0.44, "arc_challenge": 0.3, "boolq": 0.61, "piqa": 0.7}
    tasks: dict[str, Any] = {
        task: {
            "version": 1.0,
            "num_fewshot": 0,
            "samples": 1000,
            "main": "acc_norm" if task.startswith("arc") else "acc",
            "metrics": {
                "acc": {"value": score + shift - 0.01 * task.startswith("arc"), "stderr": 0.0123},
                "acc_norm": {"value": score + shift, "stderr": 0.0142},
            },
        }
        for task, score in scores.items()
    }
    perplexity = {"value": 14.5 - 10 * shift, "stderr": None}
    tasks["wikitext"] = {
        "version": 2,
        "num_fewshot": 0,
        "samples": 62,
        "main": "word_perplexity",
        "metrics": {"word_perplexity": perplexity},
    }
    tokens = None if step is None else step * BATCH
    facts = {"schema_version": 1, "source": name, "name": name, "step": step, "tokens": tokens}
    return facts | {"harness": "lm_eval 0.4.9", "tasks": tasks, "settings": {}}


def fill(
    folder: Path, steps: int, *, moe: bool = True, seed: int = 0, shift: float = 0.0, **overrides: Any
) -> Path:
    """A run of so many updates with everything that a run can have: skips, a rewind, a restart, a branch."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    settings = [f"run.name={folder.name}", f"stages.0.tokens={max(1, steps * 3 // 4) * BATCH}"]
    settings += [f"stages.1.tokens={max(1, steps // 4) * BATCH}", "schedule.warmup_tokens=4096"]
    settings += [f"schedule.decay_tokens={max(1, steps // 4) * BATCH}"]
    config = load(
        "tiny_moe" if moe else "tiny_dense", [*settings, *(f"{k}={v}" for k, v in overrides.items())]
    )
    (folder / "config.yaml").write_text(dump(config))
    with_events(folder, steps)
    record = Record(folder)
    for step in range(1, steps + 1):
        line = train_line(step, rng, moe=moe)
        line["loss"] += shift
        if step in (steps // 3, steps // 3 + 1) and steps > 50:
            line |= {"loss": line["loss"] + 2.0, "grad_norm": 40.0, "skipped": True}
        record.metrics.append(line)
        speed = 1e5 * (1 + 0.05 * rng.normal())
        timing = {"step": step, "seconds": BATCH / speed, "tokens_per_second": speed, "mfu": speed / 3e5}
        record.timing.append(timing | {"memory_bytes": int(7e8 + 1e6 * min(step, 50))})
        if step % max(1, steps // 12) == 0:
            if moe:
                record.statistics.append(statistics(step, rng))
            for source, offset in (("python", 0.1), ("web", 0.25)):
                score = {
                    "loss": 3.2 + 6 * (step + 5) ** -0.45 + shift + offset,
                    "bits_per_byte": 0.4 * line["loss"],
                    "source": source,
                }
                place = {"kind": "validation", "step": step, "tokens": step * BATCH}
                record.metrics.append(place | score)
        if step % max(1, steps // 4) == 0:
            record.samples.append(samples(step))
    record.event("finish", step=steps)
    record.close()
    write_status(folder, "finished", steps)
    with_results(folder, steps, shift)
    return folder


def with_events(folder: Path, steps: int) -> None:
    record = Record(folder)
    versions = {"pretrain": "0.1", "torch": "2.13.0"}
    facts = {"ranks": 8, "commit": "0123abcd", "versions": versions, "device": "a machine"}
    record.event("start", step=0, **facts)
    if steps > 50:
        third = steps // 3
        for step in (third, third + 1):
            record.event("skip", step=step, measure="loss", value=7.5, centre=5.4, spread=0.2, sigmas=10.5)
        record.event(
            "rewind", reason=f"loss is nan at step {third * 2}", from_step=third * 2, to_step=third * 2 - 20,
            step=third * 2 - 20, checkpoint="step_00000100", jumped_sequences=160,
        )  # fmt: skip
        record.event("resume", step=steps // 2, **facts | {"ranks": 4})
    record.event("checkpoint", step=steps, path=f"step_{steps:08d}", seconds=1.5)
    record.close()


def with_results(folder: Path, steps: int, shift: float) -> None:
    summary = Summary(
        name=folder.name,
        parameters=Counts(total=2_299_008, active=1_119_360, active_non_embedding=595_072, embedding=524_288),
        tokens=steps * BATCH,
        steps=steps,
        validation={"python": Score(loss=3.4, bits_per_byte=1.4)},
        tokens_per_second=1e5,
        mfu=0.33,
        seconds=steps * 0.05,
        peak_memory_bytes=750_000_000,
        samples=(Sample(prompt="class", text=" Last:\n    '''x'''"),),
        report="",
        picture="",
    )
    write_summary(folder, summary)
    (folder / "evaluations").mkdir()
    for step in (steps // 2, steps):
        found = evaluation(step, folder.name, -shift / 5 - 0.04 * (step < steps))
        (folder / "evaluations" / f"step_{step:08d}.json").write_text(json.dumps(found))


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Makes a run folder of this name and so many updates below a temporary folder."""

    def make(name: str = "made", steps: int = 300, **options: Any) -> Path:
        return fill(tmp_path / name, steps, **options)

    return make
