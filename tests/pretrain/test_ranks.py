"""What the ranks agree on: what the first one does for all, and what may go wrong on any."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pytest
import torch.distributed as dist

from pretrain.errors import UserError
from pretrain.guard.signals import Stopped, StopRequests
from pretrain.ranks import HEARD_SECONDS, STOP_ASKED, Ranks, agree_to_stop, all_do, first_does

FIRST = Ranks(rank=0, size=2, local_rank=0, local_size=2, address="", port=0)
SECOND = replace(FIRST, rank=1, local_rank=1)


def fail(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def outcome(work: Callable[[], None], ranks: Ranks, store: dist.Store) -> BaseException | None:
    try:
        first_does(work, "work", ranks, store)
    except BaseException as error:
        return error
    return None


def both(work: Callable[[], None]) -> tuple[BaseException | None, BaseException | None, bool]:
    """What each rank ends with, and whether the second knew why before the first was gone."""
    store = dist.HashStore()
    with ThreadPoolExecutor() as pool:
        second = pool.submit(outcome, fail(AssertionError("the second rank's")), SECOND, store)
        first = outcome(work, FIRST, store)
        heard = store.add("work, heard", 0) == 1
        return first, second.result(), heard


def test_the_first_rank_works_and_the_others_wait() -> None:
    done = []
    assert both(lambda: done.append(1))[:2] == (None, None)
    assert done == [1]


def test_a_mistake_is_one_on_every_rank_before_the_first_leaves() -> None:
    first, second, heard = both(fail(UserError("there is no text")))
    assert [type(first), type(second)] == [UserError, UserError]
    assert str(first) == str(second) == "there is no text"
    assert heard


def test_a_failure_is_no_mistake_elsewhere() -> None:
    first, second, heard = both(fail(OSError("the disk is full")))
    assert isinstance(first, OSError)
    assert isinstance(second, RuntimeError)
    assert "the disk is full" in str(second)
    assert heard


def test_a_rank_that_is_gone_does_not_keep_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.ranks.HEARD_SECONDS", 0.1)
    with pytest.raises(UserError, match="no text"):
        first_does(fail(UserError("no text")), "work", FIRST, dist.HashStore())


def test_what_every_rank_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(into: list[str | None], own: str | None) -> None:
        into[:] = [None, "no folder on this machine"]

    assert all_do(lambda: 3, replace(FIRST, size=1)) == 3
    with pytest.raises(UserError, match="mine"):
        all_do(fail(UserError("mine")), replace(FIRST, size=1))
    monkeypatch.setattr(dist, "all_gather_object", gather)
    with pytest.raises(UserError, match="on this machine"):  # another rank's
        all_do(lambda: 3, FIRST)


def test_an_interrupt_waits_for_nobody() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        first_does(fail(KeyboardInterrupt()), "work", FIRST, dist.HashStore())
    assert time.monotonic() - began < HEARD_SECONDS


class Requests(StopRequests):
    """Requests of a process that nobody signals."""

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason
        self._interrupting = False


def test_a_request_of_any_rank_stops_what_the_first_one_does() -> None:
    for reasons in (("received SIGTERM", None), (None, "received SIGUSR1")):
        store, begun, done = dist.HashStore(), Event(), []
        first, second = (Requests(reason) for reason in reasons)

        def work(
            begun: Event = begun, store: dist.Store = store, first: Requests = first, done: list[int] = done
        ) -> None:
            begun.set()
            while not store.check([STOP_ASKED]):  # as the watchdog's thread does
                time.sleep(0.01)
            first.ask(store.get(STOP_ASKED).decode())
            first.check()
            done.append(1)

        with ThreadPoolExecutor() as pool:
            hears = pool.submit(first_does, work, "work", SECOND, store, second)
            with pytest.raises(Stopped, match=reasons[0] or reasons[1]):
                first_does(work, "work", FIRST, store, first)
            with pytest.raises(Stopped, match=reasons[0] or reasons[1]):
                hears.result(10)
        assert not (reasons[0] and begun.is_set())  # what was asked before is not begun
        assert done == []


def test_what_a_signal_did_to_helpers_is_no_failure() -> None:
    requests = Requests()

    def work() -> None:
        requests.reason = "received SIGTERM"  # it came to the workers, too
        raise UserError("a worker of this build was killed")

    with pytest.raises(Stopped, match="SIGTERM"):
        first_does(work, "work", replace(FIRST, size=1), dist.HashStore(), requests)


def test_all_stop_where_one_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(into: list[str | None], own: str | None) -> None:
        into[:] = [own, "received SIGUSR2"]

    alone = replace(FIRST, size=1)
    agree_to_stop(Requests(), alone)
    with pytest.raises(Stopped, match="SIGINT"):
        agree_to_stop(Requests("received SIGINT"), alone)
    monkeypatch.setattr(dist, "all_gather_object", gather)
    with pytest.raises(Stopped, match="SIGUSR2"):
        agree_to_stop(Requests(), FIRST)
