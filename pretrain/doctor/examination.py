"""All checks in order, each within its time: what is quick first, then what is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pretrain.doctor import disk, folders, gpus, system, together, torch_works, versions
from pretrain.doctor.finding import Finding, problem
from pretrain.doctor.limits import Check, Failed, carry_out
from pretrain.ranks import Ranks

QUICK_SECONDS = 5.0
DISK_SECONDS, RANKS_SECONDS = 90.0, 180.0
LAUNCHED_SECONDS = 480.0  # with ranks that wait until the first of their machine has looked around
CPU_RANKS = 2  # that are started where there is no GPU
NETWORK = (
    "ranks cannot reach each other: NCCL_DEBUG=INFO, NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME, a firewall, "
    "MASTER_ADDR"
)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a config asks of the machine; None: no config was given."""

    checkpoint_bytes: int | None = None
    peak_bytes: int | None = None  # of the run folder
    seconds_between: float | None = None  # checkpoints, as planned
    sent_bytes: int | None = None  # by a rank in an update
    update_seconds: float | None = None  # as planned
    planned_for: str | None = None  # the machine of that plan, in words


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What is looked at."""

    run_root: Path
    data_root: Path | None
    needs: Needs
    variables: Mapping[str, str]  # of the environment
    ranks: Ranks  # this process's place, where a launcher started several
    num_ranks: int | None  # to start; None: one a GPU, or two without
    driver: gpus.Driver
    quick: bool


def examine(patient: Patient, say: Callable[[Finding], None]) -> list[Finding]:
    """All findings; `say` gets each as soon as it is there."""
    found: list[Finding] = []

    def take(findings: Iterable[Finding]) -> None:
        for one in findings:
            say(one)
            found.append(one)

    num_gpus = len(patient.driver.gpus or ())
    if patient.ranks.local_rank == 0:
        for check in _local(patient, num_gpus):
            take(carry_out(check))
    if not patient.quick:
        take(carry_out(_together(patient, num_gpus, found)))
    return found


def _local(patient: Patient, num_gpus: int) -> Iterator[Check]:
    """Of this machine alone."""
    needs, environ = patient.needs, patient.variables
    here = _ranks_here(patient, num_gpus)
    quick = (
        ("versions", versions.versions),
        ("GPUs", partial(gpus.gpus, patient.driver)),
        ("shared memory", partial(system.shared_memory, num_gpus)),
        ("open files", system.open_files),
        ("threads", partial(system.threads, environ, here, num_gpus)),
        ("compiler", partial(system.compiler, environ, num_gpus)),
        ("wandb", partial(system.wandb_key, environ)),
        (
            "run folder",
            partial(folders.folder, "run folder", patient.run_root, needs.checkpoint_bytes, needs.peak_bytes),
        ),
    )
    for name, work in quick:
        yield Check(name=name, work=work, seconds=QUICK_SECONDS)
    if patient.data_root is not None:
        look = partial(folders.folder, "data folder", patient.data_root, None, None)
        yield Check(name="data folder", work=look, seconds=QUICK_SECONDS)
    flash = versions.installed("flash-attn")
    look = partial(torch_works.flash_attention, num_gpus, flash, environ, quick=patient.quick)
    yield Check(name=torch_works.FLASH, work=look, seconds=torch_works.SECONDS + 5.0)
    if not patient.quick:
        yield from _slow(patient, num_gpus)


def _slow(patient: Patient, num_gpus: int) -> Iterator[Check]:
    needs, environ = patient.needs, patient.variables
    look = partial(torch_works.torch_works, num_gpus, environ)
    yield Check(name=torch_works.CHECK, work=look, seconds=torch_works.SECONDS + 5.0)
    look = partial(
        disk.disk,
        "disk",
        patient.run_root,
        needs.checkpoint_bytes,
        needs.seconds_between,
        needs.planned_for,
    )
    yield Check(name="disk", work=look, seconds=DISK_SECONDS)


def _together(patient: Patient, num_gpus: int, own: list[Finding]) -> Check:
    """What ranks measure, and what other machines found of themselves."""

    def work() -> Iterator[Finding]:
        from pretrain.doctor.measure import measure
        from pretrain.doctor.ranks import measured_by_starting

        shared = [folder for folder in (patient.run_root, patient.data_root) if folder is not None]
        if patient.ranks.size > 1:
            found = measure(patient.ranks, shared, [vars(one) for one in own])
            if not patient.ranks.first:
                return
        else:
            number = _ranks_here(patient, num_gpus)
            try:
                found = measured_by_starting(number, shared, patient.variables, RANKS_SECONDS - 10)
            except Failed as error:
                yield problem("ranks", f"{number} rank(s) of this machine: {error}", NETWORK)
                return
        for one in found[1:]:
            yield from (
                replace(Finding(**other), host=one.host) for other in one.findings if not _well(other)
            )
        needs = patient.needs
        yield from together.judge(found, needs.sent_bytes, needs.update_seconds, needs.planned_for)

    seconds = LAUNCHED_SECONDS if patient.ranks.size > 1 else RANKS_SECONDS
    return Check(name="ranks", work=work, seconds=seconds, if_hung=NETWORK)


def _ranks_here(patient: Patient, num_gpus: int) -> int:
    if patient.ranks.size > 1:
        return patient.ranks.local_size
    return patient.num_ranks or num_gpus or CPU_RANKS


def _well(finding: Mapping[str, object]) -> bool:
    return finding["verdict"] == "ok"
