"""Files of other people's runs: sizes, tokens, batches and losses under the usual names of columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pretrain.errors import UserError, nearest
from pretrain.laws.table import Array, Table

SIZE = ("N", "params_no_embed", "params", "n_params", "parameters")
TOKENS = ("D", "tokens")
COMPUTE = ("flops", "C", "compute")
STEPS = ("steps", "updates")
BATCH = ("batch_tokens",)
SEQUENCES = ("batch_sequences",)
CRITICAL = ("critical_batch_tokens", "critical_batch")
MILLIONS = ("model_M", "N_M", "params_M")


def groups(table: Table, by: Sequence[str]) -> dict[str, Array]:
    """Which rows belong together: those with the same text in all of these columns."""
    for name in by:
        if name not in table.columns:
            raise UserError(
                f"{table.path}: no column '{name}' to group by; it has {', '.join(table.columns)}."
                f"{nearest(name, table.columns)}"
            )
    labels = [" ".join(cells) for cells in zip(*(table.texts(name) for name in by), strict=True)]
    labels = labels or [""] * len(table.lines)
    return {label: np.array([one == label for one in labels]) for label in dict.fromkeys(labels)}


def batch_tokens(table: Table, sequence: int | None) -> Array:
    """The batch in tokens, also from a column of sequences if their length is known."""
    if column := table.find(*BATCH):
        return table.positive(column)
    if (column := table.find(*SEQUENCES)) is None:
        return table.positive(table.need(*BATCH, *SEQUENCES))
    if sequence is None:
        raise UserError(
            f"{table.path}: '{column}' counts sequences; say how long they are with --sequence-length"
        )
    return table.positive(column) * sequence


def sizes(table: Table) -> Array | None:
    """Parameters, from a column of them or of millions of them; None without either."""
    if column := table.find(*SIZE):
        return table.positive(column)
    return table.positive(column) * 1e6 if (column := table.find(*MILLIONS)) else None


def losses(table: Table, column: str) -> Array:
    """A column of losses, of which perplexities and runs of another unit are no part."""
    found = table.reals(table.need(column, why="the loss; another one is named with --loss-column"))
    known = found[np.isfinite(found)]
    if known.size and np.median(known) > 25:
        raise UserError(
            f"{table.path}: {column} is {np.median(known):g} in the middle: loss in nats, not perplexity"
        )
    return found
