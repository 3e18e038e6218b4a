"""Judgements of what ranks measured together: products, all-reduce, clocks, versions, shared folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pretrain.doctor.finding import Finding, note, ok, planned, problem
from pretrain.doctor.measure import Measured
from pretrain.monitor.peak import gpu_flops
from pretrain.monitor.words import size

PRODUCTS, REDUCE, CLOCKS = "products", "all-reduce", "clocks"
WEAK_SHARE, BROKEN_SHARE = 0.55, 0.35  # of the data sheet; 0.72 was measured on an H200 (docs/gpu.md)
EVEN = 0.9  # of the fastest GPU
SLOW_LINK, SLOW_NETWORK = 5e9, 1e9  # bytes a second, of GPUs in a machine and between machines
FAIR_NETWORK = 10e9
SKEWED, FAR_OFF = 0.1, 5.0  # seconds
LONG_SHARE = 0.25  # of an update's time


def judge(
    found: Sequence[Measured],
    sent_bytes: int | None = None,
    update_seconds: float | None = None,
    planned_for: str | None = None,
) -> Iterator[Finding]:
    """`sent_bytes`: by a rank in an update of `update_seconds`, as planned for that machine."""
    yield from products(found)
    yield from all_reduce(found, sent_bytes, update_seconds, planned_for)
    if len(found) > 1:
        yield from clocks(found)
    yield from versions(found)
    yield from shared(found)


def products(found: Sequence[Measured]) -> Iterator[Finding]:
    """Against the data sheet, and against each other."""
    slowest, first = min(found, key=lambda one: one.flops["bf16"]), found[0]
    fastest = max(one.flops["bf16"] for one in found)
    text = f"{len(found)} x {first.device}: " + ", ".join(
        f"{name} {_flops(flops)}" for name, flops in slowest.flops.items()
    )
    if first.device == "cpu":
        if first.flops["bf16"] < first.flops["fp32"]:
            yield note(PRODUCTS, f"{text}: this CPU is slower in bf16", "run.precision=fp32 for runs on it")
        else:
            yield ok(PRODUCTS, text)
        return
    peak = gpu_flops(slowest.device)
    share = None if peak is None else slowest.flops["bf16"] / peak
    text += "" if share is None else f", {share:.0%} of the data sheet in bf16"
    throttled = "another process, heat or a power limit: `nvidia-smi -q -d PERFORMANCE,POWER`"
    if slowest.flops["bf16"] < EVEN * fastest:
        part = f"{slowest.flops['bf16'] / fastest:.0%} of the fastest"
        where = f"rank {found.index(slowest)} on {slowest.host} has {part}"
        yield problem(PRODUCTS, f"{text}; {where}", f"every rank waits for it; {throttled}")
    elif share is not None and share < WEAK_SHARE:
        yield (problem if share < BROKEN_SHARE else note)(PRODUCTS, text, throttled)
    else:
        yield ok(PRODUCTS, text)


def all_reduce(
    found: Sequence[Measured],
    sent_bytes: int | None,
    update_seconds: float | None,
    planned_for: str | None = None,
) -> Iterator[Finding]:
    """The bandwidth of a ring: what each rank sends, over the time."""
    first, number = found[0], len(found)
    if first.seconds is None:
        yield ok(REDUCE, "one rank: nothing is sent")
        return
    slowest = max(one.seconds or 0.0 for one in found)
    rate = 2 * (number - 1) / number * first.reduced_bytes / slowest
    machines, on_gpu = len({one.host for one in found}), first.device != "cpu"
    text = (
        f"{number} ranks on {machines} machine(s), {'NCCL' if on_gpu else 'gloo'}: {size(rate)}/s a rank "
        f"({size(first.reduced_bytes)} in {slowest * 1000:.3g} ms)"
    )
    if sent_bytes and update_seconds:
        share = sent_bytes / rate / update_seconds
        text += f"; an update sends {size(sent_bytes)}, {share:.0%} of its planned time"
        text += planned(planned_for)
        if share > LONG_SHARE and on_gpu:
            yield note(REDUCE, text, "what is not hidden makes updates longer: a larger batch or fewer ranks")
            return
    if not on_gpu:
        yield ok(REDUCE, text)
    elif machines == 1 and rate < SLOW_LINK:
        yield problem(
            REDUCE, text, "GPUs talk through the host: `nvidia-smi topo -m`, NCCL_DEBUG=INFO, ACS off"
        )
    elif machines > 1 and rate < SLOW_NETWORK:
        advice = "NCCL is on the slow network: NCCL_DEBUG=INFO, NCCL_SOCKET_IFNAME, NCCL_IB_HCA"
        yield problem(REDUCE, text, advice)
    elif machines > 1 and rate < FAIR_NETWORK:
        yield note(REDUCE, text, "no fast network, or one adapter for many GPUs: keep to ZeRO 1")
    else:
        yield ok(REDUCE, text)


def clocks(found: Sequence[Measured]) -> Iterator[Finding]:
    """Of every rank against the first one's."""
    worst = max(found, key=lambda one: abs(one.clock_offset))
    skew, error = abs(worst.clock_offset), max(one.clock_error for one in found)
    text = f"{skew * 1000:.3g} ms apart at most (measured to {error * 1000:.2g} ms)"
    if skew < SKEWED:
        yield ok(CLOCKS, text)
        return
    told = f"{text}: {worst.host} against {found[0].host}"
    advice = "start chrony or ntpd: times in logs, and files' ages between machines, are wrong until then"
    yield (problem if skew > FAR_OFF else note)(CLOCKS, told, advice)


def _flops(number: float) -> str:
    return f"{number / 1e12:.3g} TFLOP/s" if number >= 1e12 else f"{number / 1e9:.3g} GFLOP/s"


def versions(found: Sequence[Measured]) -> Iterator[Finding]:
    """Different ones on different machines."""
    for name in found[0].versions:
        by_version: dict[str, set[str]] = {}
        for one in found:
            by_version.setdefault(one.versions.get(name, "none"), set()).add(one.host)
        if len(by_version) > 1:
            told = "; ".join(
                f"{version} on {', '.join(sorted(hosts))}" for version, hosts in by_version.items()
            )
            yield problem("versions", f"{name} {told}", "one environment for all machines, or one image")


def shared(found: Sequence[Measured]) -> Iterator[Finding]:
    """Folders that some machine does not share with the first."""
    hosts = {one.host for one in found}
    for folder, is_seen in found[0].shares.items():
        if not is_seen:
            continue  # not even the first rank could write there, which is said elsewhere
        lacking = sorted({one.host for one in found if not one.shares.get(folder, True)})
        if lacking:
            text = f"{folder} is not the same folder on {', '.join(lacking)} as on {found[0].host}"
            yield problem("shared", text, "data.root and run.root must be one folder that all machines see")
        elif len(hosts) > 1:
            yield ok("shared", f"{folder} is one folder on {len(hosts)} machines")
