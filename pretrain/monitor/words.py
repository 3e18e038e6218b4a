"""Numbers as people read them: durations, sizes, rates, and text without control characters."""

from __future__ import annotations

from megatron_lite.options import format_count

UNITS = ("B", "kB", "MB", "GB", "TB")


def duration(seconds: float) -> str:
    """`41 s`, `3 min 05 s`, `2 h 07 min`, `3 d 04 h`."""
    whole = round(seconds)
    for larger, smaller, big, small in (("d", "h", 86400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= big:
            return f"{whole // big} {larger} {whole % big // small:02d} {smaller}"
    return f"{whole} s"


def size(num_bytes: float) -> str:
    """`512 B`, `1.5 GB` (powers of 1000, three digits)."""
    power = 0
    while num_bytes >= 999.5 and power < len(UNITS) - 1:
        num_bytes, power = num_bytes / 1000, power + 1
    return f"{_three_digits(num_bytes)} {UNITS[power]}"


def amount(number: float, unit: str) -> str:
    """So many of a unit; bytes (`B`) as a size."""
    return size(number) if unit in ("B", "bytes") else f"{short(number)} {unit}"


def short(number: float) -> str:
    """A number in three digits and a letter: `1.23M`."""
    whole = round(number)
    if abs(whole) < 1000:
        return _three_digits(number)
    return format_count(int(float(f"{whole:.3g}")))


def printable(text: str) -> str:
    """The text with control characters made visible, so that none of them reaches a terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else _visible(char) for char in text)


def _visible(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _three_digits(number: float) -> str:
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"
