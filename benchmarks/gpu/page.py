"""The page of the proof: what was measured, beside the command, and plainly what failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

TEXT = """# On a GPU

Made by `make gpu-proof`, that is:

    {command}

{verdict}

| | |
|---|---|
{facts}

## Parity

{parity}

## Bit for bit

{repeatable}

## Training

Updates of the run's own kind (engine, kernels, step) on made-up documents of 1000 tokens on average and
weights drawn on the device, one GPU, bf16; four micro-steps an update. Tokens a second: of the median of
{updates} updates, after {warm_up} others that set up and compile, whose seconds are shown. MFU is against the
data sheet's dense bf16 peak, "of measured" against the matrix products above. Memory: the peak that torch
allocated, and its ratio to what `pretrain plan` says for one GPU.
A trial alone:

    python -m benchmarks.gpu.trial --config 3b_moe --updates {updates} --warm-up {warm_up} {example}
{tables}
"""
COLUMNS = "sequences | tokens/s | MFU | of measured | peak GB | over plan | warm-up s | loss"
HEAD = f"| | {COLUMNS} |\n" + "|---" * (COLUMNS.count("|") + 2) + "|"
KNOWN = {
    "gpu": "GPU",
    "cuda": "CUDA",
    "memory_bytes": "memory",
    "data_sheet_flops": "bf16 peak, data sheet",
    "measured_flops": "bf16 products of 8192³, measured",
    "measured_copy_bytes_per_second": "copies on the device (read and written), measured",
}


def page(found: dict[str, Any]) -> str:
    """The page as Markdown, of a whole proof or of one that goes on."""
    rows = found.get("trials", [])
    example = next((" ".join(row["overrides"]) for row in rows if row["config"] == "3b_moe"), "")
    return TEXT.format(
        command=found["command"],
        verdict="\n".join(_verdict(found)),
        facts="\n".join(_facts(found["facts"])),
        parity="\n".join(_parity(found.get("parity"))),
        repeatable=_repeatable(found.get("repeatable")),
        updates=found["updates"],
        warm_up=found["warm_up"],
        example=example,
        tables="".join(_table(config, rows) for config in dict.fromkeys(row["config"] for row in rows)),
    )


def _verdict(found: dict[str, Any]) -> Iterator[str]:
    rows = found.get("trials", [])
    ran = sum(row["state"] == "ran" for row in rows)
    left = sum(row["state"] == "not run" for row in rows)
    yield f"{ran} of {len(rows)} trials ran, {left} were not run, {len(rows) - ran - left} failed."
    for step in ("facts", "parity", "repeatable"):
        if found.get(step, {}).get("state") in ("failed", "out of memory", "out of time"):
            yield f"**Failed: {step}.** {_error(found[step])}".rstrip()
    for row in rows:
        if row["state"] not in ("ran", "not run"):
            yield f"\n**Failed: {row['variant']}, {row['config']}** ({row['state']}): `{_error(row)}`"
        elif row.get("losses_finite") is False:
            yield f"\n**Not finite: losses of {row['variant']}, {row['config']}.**"
        elif row.get("losses_fall") is False:
            yield f"\nThe loss did not fall: {row['variant']}, {row['config']}."


def _facts(facts: dict[str, Any]) -> Iterator[str]:
    if facts["state"] != "ran":
        yield f"| not known | `{_error(facts)}` |"
        return
    for name, value in facts["result"].items():
        yield f"| {KNOWN.get(name, name.replace('_', ' '))} | {_with_unit(name, value)} |"


def _with_unit(name: str, value: Any) -> str:
    if value is None:
        return "not known"
    if name.endswith("flops"):
        return f"{value / 1e12:.0f} TFLOP/s"
    if name.endswith("bytes_per_second"):
        return f"{value / 1e9:.0f} GB/s"
    return f"{value / 1e9:.1f} GB" if name.endswith("bytes") else str(value)


def _parity(parity: dict[str, Any] | None) -> Iterator[str]:
    yield "Each fast path against its reference, results and gradients: `pytest -m gpu tests`.\n"
    if parity is None or "passed" not in parity:
        yield "Not run." if parity is None else f"**{parity['state']}**: `{_error(parity)}`"
    else:
        yield f"{parity['error']}."
        yield from (f"- failed: `{name}`" for name in parity["failed"])
        yield from (f"- skipped: {name}" for name in parity["skipped"])


def _repeatable(outcome: dict[str, Any] | None) -> str:
    asked = "Are losses and gradient norms of `tiny_moe` in bf16 the same in two runs, to the last bit? "
    if outcome is None or outcome["state"] != "ran":
        return asked + ("Not run." if outcome is None else f"**{outcome['state']}**: `{_error(outcome)}`")
    if outcome["equal"]:
        return asked + "**Yes.**"
    return asked + f"**No**: they differ by up to {outcome['largest_relative_difference']:.1e} of their size."


def _table(config: str, rows: Sequence[dict[str, Any]]) -> str:
    lines = "\n".join(_row(row) for row in rows if row["config"] == config)
    return f"\n### {config}\n\n{HEAD}\n{lines}\n"


def _row(row: dict[str, Any]) -> str:
    first = f"| {row['variant']} | {row['micro_sequences']} |"
    if row["state"] != "ran":
        return f"{first} {row['state']}: {_error(row)} |" + " |" * 6
    result = row["result"]
    peak = result["memory"].get("peak_allocated_bytes")
    losses = result["losses"]
    cells = (
        f"{result['tokens_per_second']:,.0f}",
        _share(result["mfu"]),
        _share(row["share_of_measured"]),
        "" if peak is None else f"{peak / 1e9:.1f}",
        "" if row["memory_over_plan"] is None else f"{row['memory_over_plan']:.2f}",
        f"{result['warm_up_seconds']:.0f}",
        f"{losses[0]:.2f} to {losses[-1]:.2f}" if row["losses_finite"] else "not finite",
    )
    return first + "".join(f" {cell} |" for cell in cells)


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _error(step: dict[str, Any]) -> str:
    return str(step.get("error", "")).replace("|", "/").replace("`", "'")
