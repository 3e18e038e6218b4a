"""What failures of GPUs cost a run: the work since the last checkpoint, as often as machines fail.

Llama 3 lost a job to hardware every 3.1 hours on 16,384 H100 (arXiv 2407.21783, section 3.3.4: 419 unexpected
interruptions in 54 days), 4.7e-4 a GPU and day. Between checkpoints half an interval is lost on average.
"""

from __future__ import annotations

FAILURES_PER_GPU_DAY = 4.7e-4
DAY = 86400.0


def seconds_between_failures(num_ranks: int) -> float:
    """The mean time between failures of a job on so many GPUs."""
    return DAY / (FAILURES_PER_GPU_DAY * num_ranks)


def lost_share(seconds_between_checkpoints: float, num_ranks: int) -> float:
    """The share of a run's time that is trained twice because of failures."""
    return seconds_between_checkpoints / 2 / seconds_between_failures(num_ranks)
