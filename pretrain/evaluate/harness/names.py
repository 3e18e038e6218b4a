"""Which tasks are meant when none are named, and which of a task's metrics is the one that tables show.

Those of the power scheduler's paper (arXiv 2408.13359, tables 5 to 7): normalised by length for ARC,
HellaSwag, OpenBookQA and PIQA, plain for BoolQ and WinoGrande.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

DEFAULT = ("arc_easy", "arc_challenge", "boolq", "hellaswag", "openbookqa", "piqa", "winogrande")

MAIN: Mapping[str, str] = {
    "arc_easy": "acc_norm",
    "arc_challenge": "acc_norm",
    "boolq": "acc",
    "hellaswag": "acc_norm",
    "openbookqa": "acc_norm",
    "piqa": "acc_norm",
    "winogrande": "acc",
    "mmlu": "acc",
    "gsm8k": "exact_match,strict-match",
    "humaneval": "pass@1",
    "mbpp": "pass_at_1",
    "wikitext": "word_perplexity",
}


def main_metric(task: str, metrics: Collection[str]) -> str:
    """The one that stands for the task: the paper's, else the first of acc_norm, acc and all others."""
    wanted = (MAIN.get(task, ""), "acc_norm", "acc", *metrics)
    return next(metric for metric in wanted if metric in metrics)
