"""Run the experiment, stage by stage; a stage that was killed goes on where it was.

    python -m benchmarks.power_law find --work power_law --jobs 2
    python -m benchmarks.power_law versus --work power_law --jobs 2
    python -m benchmarks.power_law page --work power_law

find writes docs/power_law_find.csv (the budgets that the law is fitted to) and docs/power_law_all.csv, each
with what `fit-lr` says as JSON, versus docs/power_law_versus.csv, page docs/power_law.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks.power_law import sweeps
from benchmarks.power_law.design import (
    BASE,
    CORPUS,
    FITTED_FROM,
    SEQUENCE_LENGTH,
    TOKENIZER,
    UNSEEN_BATCH,
    UNSEEN_BUDGET,
)
from benchmarks.power_law.page import page
from pretrain.files import replace

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
Row = dict[str, str]


def find(work: Path, jobs: int) -> None:
    """The sweep that the law is fitted to."""
    rows = read(swept(work, sweeps.find(), jobs))
    for file, kept in (
        ("power_law_find", [row for row in rows if int(row["budget"]) >= FITTED_FROM]),
        ("power_law_all", rows),
    ):
        write(DOCS / f"{file}.csv", kept)
        replace(DOCS / f"{file}.json", json.dumps(fitted(DOCS / f"{file}.csv"), indent=1) + "\n")


def versus(work: Path, jobs: int) -> None:
    """Search and repeat every schedule at the unseen budget."""
    fit = json.loads((DOCS / "power_law_find.json").read_text())
    rows: list[Row] = []
    found = sweeps.searches(law_of(fit), expected_rate(fit))
    for name, sweep in found.items():
        trials = read(swept(work, sweep, jobs))
        best = sweep["list"][lowest(sweep["list"], trials)]
        repeats = read(swept(work, sweeps.repeated(sweep, best), jobs))
        rows += [{"method": name, "stage": "search", **row} for row in trials]
        rows += [{"method": name, "stage": "repeat", **row} for row in repeats]
    write(DOCS / "power_law_versus.csv", rows)


def law_of(fit: dict[str, Any]) -> tuple[float, float]:
    """Amplitude and exponent through all optima."""
    return fit["together"]["amplitude"], fit["together"]["exponent"]


def expected_rate(fit: dict[str, Any]) -> float:
    """What the general law says of the unseen budget and its batch."""
    general, batch_tokens = fit["general"], UNSEEN_BATCH * SEQUENCE_LENGTH
    exponents = ((general["tokens"], UNSEEN_BUDGET), (general["batch"], batch_tokens))
    return math.exp(general["constant"] + sum(e["value"] * math.log(x) for e, x in exponents))


def fitted(results: Path) -> dict[str, Any]:
    """What `pretrain laws fit-lr` says."""
    return json.loads(pretrain("laws", "fit-lr", str(results), "--json"))


def swept(work: Path, sweep: dict[str, Any], jobs: int) -> Path:
    """Run a sweep to its end; where its results are."""
    replace(work / "base.yaml", yaml.safe_dump(dict(BASE) | {"data": corpus(work)}, sort_keys=False))
    file = work / f"{sweep['name']}.yaml"
    replace(file, yaml.safe_dump(sweep | {"root": str(work.absolute())}, sort_keys=False))
    pretrain("sweep", str(file), "--jobs", str(jobs))
    return work / sweep["name"] / "results.csv"


def corpus(work: Path) -> dict[str, Any]:
    """The section `data` of all runs: tokenizer and shards of this folder, made where they are missing."""
    work.mkdir(parents=True, exist_ok=True)
    root = work.absolute()
    tokenizer, shards = root / "tokenizer", root / "corpus"
    if not tokenizer.exists():
        pretrain("tokenizer", "train", *TOKENIZER, "--out", str(tokenizer))
    if not shards.exists():
        pretrain("data", "build", *CORPUS, "--tokenizer", str(tokenizer), "--out", str(shards), "--resume")
    return {
        "root": str(root / "data"),
        "sources": {"python": {"kind": "shards", "path": str(shards)}},
        "tokenizer": {"kind": "trained", "path": str(tokenizer)},
    }


def pretrain(*arguments: str) -> str:
    """Run a command of ours; its standard output."""
    command = [sys.executable, "-m", "pretrain.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def read(path: Path) -> list[Row]:
    """The rows of a results file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[Row]) -> None:
    """Rows with all columns that any of them has."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def lowest(settings: list[dict[str, Any]], rows: list[Row]) -> int:
    """The setting whose run has the lowest loss; runs that gave none cannot win."""

    def loss(setting: dict[str, Any]) -> float:
        for row in rows:
            if all(same(row.get(key), value) for key, value in setting.items()):
                return float(row["loss"] or "inf") if row["status"] == "finished" else float("inf")
        return float("inf")

    return min(range(len(settings)), key=lambda index: loss(settings[index]))


def same(text: str | None, value: Any) -> bool:
    """Whether a cell holds a value of a setting."""
    if isinstance(value, (int, float)) and text:
        return float(text) == float(value)
    return text == str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("stage", choices=["find", "versus", "page"])
    parser.add_argument("--work", type=Path, default=Path("power_law"), help="folder of runs and sweeps")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    asked = parser.parse_args()
    if asked.stage == "page":
        replace(DOCS / "power_law.md", page(DOCS))
    else:
        {"find": find, "versus": versus}[asked.stage](asked.work, asked.jobs)


if __name__ == "__main__":
    main()
