"""How far the axes of a picture reach, and which stretches of a run stand out in it."""

from __future__ import annotations

from collections.abc import Sequence

from pretrain.rates.rates import Rates

LOG_DECADES = 4  # that a log axis shows of a run that begins at 0


def log_from(rates: Rates) -> int:
    """Where a log axis begins: with room before the end of warm-up, or as far back as it is worth."""
    warm = rates.config.schedule.warmup_tokens
    usual = max(1, rates.last // 10**LOG_DECADES)
    return max(rates.first, min(usual, warm // 10) if warm else usual, 1)


def log_limits(rates: Rates, places: Sequence[int]) -> tuple[float, float]:
    """From below where the curves are when the last of them begin to fall to zero, to above the highest."""
    lines = rates.lines()
    late = rates.last - (rates.config.schedule.decay_tokens or (rates.last - rates.first) // 10)
    high = max(line.value(tokens) for line in lines for tokens in places) or 1.0
    low = min(line.value(late) for line in lines)
    return min(high / 30, max(0.3 * low, high * 1e-4)), 1.5 * high


def shaded(rates: Rates) -> dict[str, tuple[int, int]]:
    """Where a run warms up and where it decays."""
    schedule = rates.config.schedule
    spans = {
        "warm-up": (rates.first, schedule.warmup_tokens),
        "decay": (max(rates.first, rates.last - schedule.decay_tokens), rates.last),
    }
    return {name: (start, end) for name, (start, end) in spans.items() if end > start}
