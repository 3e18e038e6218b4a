"""The processes of a run, as a value, and the few things that they agree on together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

from pretrain.errors import UserError
from pretrain.guard.signals import Stopped, StopRequests

if TYPE_CHECKING:
    import torch
    import torch.distributed as dist

COLLECTIVE_TIMEOUT = timedelta(minutes=30)
POLL_SECONDS = 0.2
HEARD_SECONDS = 5.0  # that a failed first rank stays for the others to read why
DONE, MISTAKE, FAILURE, STOPPED = "done", "mistake", "failure", "stopped"
STOP_ASKED = "stop asked"  # the key under which another rank asks the first, which works alone, to stop
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process's place among all processes of the run, and where they meet."""

    rank: int
    size: int
    local_rank: int  # on this machine
    local_size: int
    address: str
    port: int
    served: bool = False  # the launcher already serves a store there
    attempt: int = 0  # how often the launcher has started this run again

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0


def device_of(ranks: Ranks) -> torch.device:
    """The device that this rank computes on, made current."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(ranks.local_rank)
        return torch.device("cuda", ranks.local_rank)
    return torch.device("cpu")


def join(ranks: Ranks, device: torch.device) -> dist.Store:
    """Form the process group: nccl on GPUs, gloo on CPUs; the store where ranks leave each other notes.

    One process alone needs no network.
    """
    import torch.distributed as dist

    backend = "nccl" if device.type == "cuda" else "gloo"
    store: dist.Store
    if ranks.size == 1:
        store = dist.HashStore()
    else:
        is_master = ranks.first and not ranks.served
        served = dist.TCPStore(
            ranks.address, ranks.port, ranks.size, is_master=is_master, timeout=COLLECTIVE_TIMEOUT
        )
        store = dist.PrefixStore(f"attempt {ranks.attempt}", served)  # no notes of an earlier attempt
    dist.init_process_group(
        backend, store=store, rank=ranks.rank, world_size=ranks.size, timeout=COLLECTIVE_TIMEOUT
    )
    return store


def total(values: torch.Tensor) -> torch.Tensor:
    """The sum over ranks, in place."""
    import torch.distributed as dist

    if dist.get_world_size() > 1:
        dist.all_reduce(values)
    return values


def first_does(
    work: Callable[[], None],
    name: str,
    ranks: Ranks,
    store: dist.Store,
    requests: StopRequests | None = None,
) -> None:
    """Do `work` on the first rank while the others wait, however long; a mistake is one on every rank.

    A request to stop, of any rank, ends it at once with Stopped on every rank.
    """
    if not ranks.first:
        _hear(name, store, requests)
        return
    try:
        _interrupted(work, store, requests)
        store.set(name, DONE)
    except BaseException as error:
        how = {UserError: MISTAKE, Stopped: STOPPED}.get(type(error), FAILURE)
        store.set(name, f"{how} {error or type(error).__name__}")
        stays = HEARD_SECONDS if isinstance(error, (Exception, Stopped)) else 0.0
        until = time.monotonic() + stays
        while store.add(f"{name}, heard", 0) < ranks.size - 1 and time.monotonic() < until:
            time.sleep(POLL_SECONDS)  # the store may go with this process
        raise


def _interrupted(work: Callable[[], None], store: dist.Store, requests: StopRequests | None) -> None:
    if requests is None:
        work()
        return
    if store.check([STOP_ASKED]):
        requests.ask(store.get(STOP_ASKED).decode())
    try:
        with requests.interrupting():
            work()
    except Exception:
        requests.check()  # a signal that ended helpers of this work, too, is no failure of theirs
        raise


def _hear(name: str, store: dist.Store, requests: StopRequests | None) -> None:
    asked = False
    while not store.check([name]):
        if requests and requests.reason and not asked:
            store.set(STOP_ASKED, requests.reason)
            asked = True
        time.sleep(POLL_SECONDS)
    how, _, text = store.get(name).decode().partition(" ")
    store.add(f"{name}, heard", 1)
    if how == STOPPED:
        raise Stopped(text)
    if how != DONE:
        raise UserError(text) if how == MISTAKE else RuntimeError(f"the first rank failed: {text}")


def agree_to_stop(requests: StopRequests, ranks: Ranks) -> None:
    """Raise Stopped on every rank where any was asked to stop. Collective."""
    import torch.distributed as dist

    reasons = [requests.reason] * ranks.size
    if ranks.size > 1:
        dist.all_gather_object(reasons, requests.reason)
    for reason in reasons:
        if reason:
            raise Stopped(reason)


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether `flag` holds on some rank. Collective."""
    import torch

    return bool(total(torch.tensor(int(flag), device=device)) > 0)


def all_do(work: Callable[[], T], ranks: Ranks) -> T:
    """Do on every rank what can go wrong on any one of them; a mistake is one on every rank. Collective."""
    import torch.distributed as dist

    result, mistake = None, None
    try:
        result = work()
    except UserError as error:
        mistake = str(error)
    mistakes = [mistake] * ranks.size
    if ranks.size > 1:
        dist.all_gather_object(mistakes, mistake)
    for text in mistakes:
        if text is not None:
            raise UserError(text)
    return cast(T, result)
