"""What was run, in words: the model, the recipe, the data by its hashes, the code and the machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from megatron_lite.options import format_count
from pretrain.monitor.words import duration, short, size
from pretrain.page import facts_table, text
from pretrain.report.columns import Line
from pretrain.report.run import RunRecord
from pretrain.report.stages import stage_ends
from pretrain.report.words import exact, figure, moment, plain, tokens

HASH_LETTERS = 16


def header(run: RunRecord) -> str:
    """Name, state and how far it has come."""
    status = run.status
    state = status.state if status else "not started"
    at = f" at step {status.step:,}" if status else ""
    reason = f": {status.reason}" if status and status.reason else ""
    words = {"continue": "stopped, to be continued"}.get(state, state)
    return (
        f"<header><h1>{text(run.name)}</h1>\n"
        f'<p class="state {state.split()[0]}">{text(words + at + reason)}</p>\n'
        f"<p>{text(_when(run))}</p></header>{_progress(run)}"
    )


def tiles(run: RunRecord, goodput_share: float | None) -> str:
    """The few numbers that are asked for first."""
    shown = [*_result_tiles(run), *_speed_tiles(run)]
    if goodput_share is not None:
        shown.append(("goodput", f"{goodput_share:.1%}", "of all time trained what is kept"))
    return f'<dl class="tiles">{"".join(_tile(*one) for one in shown)}</dl>' if shown else ""


def _tile(name: str, value: str, more: str) -> str:
    small = f"<small>{text(more)}</small>" if more else ""
    return f"<div><dt>{text(name)}</dt><dd>{text(value)}{small}</dd></div>"


def what_was_run(run: RunRecord) -> str:
    """A table; the whole config stands further below."""
    return facts_table([(name, value) for name, value in _facts(run) if value])


def planned_tokens(run: RunRecord) -> int | None:
    """Where the run is to end, but for the rounding of its stages; None where that is not known."""
    ends = stage_ends(run)
    return None if ends is None else int(ends[-1])


def _when(run: RunRecord) -> str:
    times = [moment(event) for event in run.events]
    return f"{times[0]} to {times[-1]} UTC" if times else ""


def _progress(run: RunRecord) -> str:
    if not len(run.train) or (run.status and run.status.state == "finished"):
        return ""
    planned = planned_tokens(run)
    if not planned:
        return ""
    share = min(1.0, float(run.train["tokens"][-1]) / planned)
    told = f"{share:.1%} of {exact(planned)} tokens"
    return (
        f'<div class="progress" role="img" aria-label="{told}"><span style="width:{share:.2%}"></span></div>'
        f'<p class="note">{told}</p>'
    )


def _result_tiles(run: RunRecord) -> Iterator[tuple[str, str, str]]:
    if not len(run.train):
        return
    yield "tokens", tokens(run.train["tokens"][-1]), f"{int(run.train['step'][-1]):,} updates"
    yield "training loss", figure(float(run.train["loss"][-1])), "of the last update"
    last = {str(line.get("source")): line for line in run.validation}
    for source, line in last.items():
        bits = line.get("bits_per_byte")
        more = f"{figure(bits)} bits per byte" if bits is not None else ""
        yield f"validation, {source}", figure(line.get("loss")), more


def _speed_tiles(run: RunRecord) -> Iterator[tuple[str, str, str]]:
    if not len(run.timing):
        return
    seconds = run.timing["seconds"]
    rate, mfu = _weighted(run, "tokens_per_second"), _weighted(run, "mfu")
    yield "tokens/s", short(rate) if rate else "?", "while updating"
    if mfu:
        yield "MFU", f"{mfu:.1%}", "of the peak"
    yield "time in updates", duration(float(seconds[seconds > 0].sum())), ""
    if run.timing.has("memory_bytes"):
        memory = run.timing["memory_bytes"]
        yield "peak memory", size(float(memory[memory > 0].max())), "of the first rank"


def _weighted(run: RunRecord, key: str) -> float | None:
    """The mean over the seconds for which it is known."""
    values, seconds = run.timing[key], run.timing["seconds"]
    known = (values > 0) & (seconds > 0)
    return float((values * seconds)[known].sum() / seconds[known].sum()) if known.any() else None


def _facts(run: RunRecord) -> Iterator[tuple[str, str]]:
    config = run.config
    if run.summary:
        counts = run.summary.parameters
        active = f", {format_count(counts.active)} active" if counts.active != counts.total else ""
        yield "parameters", f"{format_count(counts.total)} ({counts.total:,}){active}"
    yield "model", _model(_part(config, "model"))
    yield "µP", _chosen(_part(config, "mup"), ("enabled", "base_width", "init_std", "router"))
    schedule = _part(config, "schedule")
    yield "schedule", _chosen(schedule, [key for key in schedule if key != "points"])
    yield "batch", _batch(run)
    yield "stages", _stages(config.get("stages"))
    optimizer = _part(config, "optimizer")
    yield "optimizer", _chosen(optimizer, list(optimizer))
    yield (
        "precision, engine, seed",
        ", ".join(
            plain(_part(config, "run")[key])
            for key in ("precision", "engine", "seed")
            if key in _part(config, "run")
        ),
    )
    yield from _beginning(run)
    yield from _hashes(run)


def _part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def _chosen(section: Mapping[str, Any], keys: Sequence[str]) -> str:
    told = [key for key in keys if section.get(key) is not None]
    return ", ".join(
        str(section[key]) if key == "name" else f"{key.replace('_', ' ')} {plain(section[key])}"
        for key in told
    )


def _model(model: Mapping[str, Any]) -> str:
    if not model:
        return ""
    keys = (
        ("hidden_size", "hidden"), ("num_hidden_layers", "layers"), ("num_attention_heads", "heads"),
        ("num_key_value_heads", "key-value heads"), ("intermediate_size", "intermediate"),
        ("num_local_experts", "experts"), ("num_experts_per_tok", "of them a token"),
    )  # fmt: skip
    told = [f"{plain(model[key])} {word}" for key, word in keys if model.get(key)]
    return ", ".join([str(model.get("architecture", "")), *told])


def _batch(run: RunRecord) -> str:
    batch = _part(run.config, "batch")
    if not batch:
        return ""
    told = f"{plain(batch.get('sequences'))} sequences of {plain(batch.get('sequence_length'))} tokens"
    name = _part(batch, "schedule").get("name", "constant")
    return told if name == "constant" else f"{told} at first, schedule {name}"


def _stages(stages: Any) -> str:
    if not isinstance(stages, list):
        return ""
    return "; ".join(
        f"{stage.get('name')}: {plain(stage.get('tokens'))} tokens of {plain(stage.get('mix', {}))}"
        for stage in stages
        if isinstance(stage, Mapping)
    )


def _beginning(run: RunRecord) -> Iterator[tuple[str, str]]:
    """Of the last start what may change between starts, and where the weights come from."""
    starts = [event for event in run.events if event.get("event") in ("start", "resume", "branch")]
    for event in starts[:1]:
        if isinstance(event.get("parent"), Mapping):
            yield "branched from", plain(event["parent"].get("checkpoint"))
        if event.get("init_from"):
            yield "weights from", plain(event["init_from"])
    if starts:
        again = f" (the last of {len(starts)} starts)" if len(starts) > 1 else ""
        yield "ranks", f"{plain(starts[-1].get('ranks'))}{again}"
    for key, name in (
        ("device", "device"),
        ("commit", "git commit"),
        ("versions", "versions"),
        ("command", "command"),
    ):
        yield name, _said_last(starts, key)


def _said_last(starts: Sequence[Line], key: str) -> str:
    said = [event[key] for event in starts if event.get(key)]
    if not said:
        return ""
    words = " ".join(map(str, said[-1])) if isinstance(said[-1], list) else plain(said[-1])
    others = len({str(value) for value in said}) - 1
    return words + (f" ({others} other{'s' if others > 1 else ''} at earlier starts)" if others else "")


def _hashes(run: RunRecord) -> Iterator[tuple[str, str]]:
    for name, sha256 in sorted(run.fingerprint.items()):
        yield f"sha256, {name}", f"{str(sha256)[:HASH_LETTERS]}…"
