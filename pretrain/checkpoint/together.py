"""One checkpoint written by all ranks, who tell each other through the store how far they are.

begun      the first rank: the folder is there, or why it is not
report R   rank R: its files and their hashes, or why not
verdict    the first rank: nothing, or why there is no checkpoint and nothing is left of it
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pretrain.checkpoint.aside import Aside, point_latest
from pretrain.checkpoint.keep import prune
from pretrain.checkpoint.load import step_of
from pretrain.checkpoint.notes import Notes
from pretrain.checkpoint.options import CheckpointOptions
from pretrain.checkpoint.share_files import Files, await_files, await_folder, remove_share, write_share
from pretrain.checkpoint.space import explain, needed_bytes
from pretrain.checkpoint.staging import Share


class Failed(Exception):
    """A save went wrong on some rank, as the message says."""


def write_alone(
    aside: Aside, share: Share, content: Mapping[str, Any], options: CheckpointOptions
) -> str | None:
    """The whole checkpoint by the only rank; a note where older ones were not tidied up after it."""
    try:
        aside.begin(needed_bytes(share.bytes))
        aside.commit(content, write_share(aside.folder, share))
    except BaseException:
        aside.abandon()
        raise
    return _tidy(aside, options)


@dataclass(frozen=True, kw_only=True)
class Together:
    """One save of several ranks; each calls `first` or `other` once. Raises where there is no checkpoint."""

    notes: Notes
    before: Notes  # of the save before
    num_ranks: int

    def first(
        self, aside: Aside, share: Share, content: Mapping[str, Any], options: CheckpointOptions
    ) -> str | None:
        """The part of the first rank: it begins, and commits when all have reported."""
        begun = False
        try:
            aside.begin(needed_bytes(share.bytes))
            self.notes.leave("begun", "")
            begun = True
            files = self._gather(aside, share)
            await_files(aside.folder, files)
            aside.commit(content, files)
        except BaseException as error:
            aside.abandon()
            why = _why(error, aside, share)
            self.notes.leave("verdict" if begun else "begun", why)
            raise Failed(why) from error
        note = _tidy(aside, options)
        self.notes.leave("verdict", "")
        return note

    def other(self, aside: Aside, share: Share, rank: int) -> None:
        """The part of any other rank; it ends when the first one has spoken."""
        self._hear("begun")
        report: dict[str, Any] = {"files": {}, "error": None}
        try:
            await_folder(aside.folder)
            report["files"] = write_share(aside.folder, share)
        except Exception as error:
            report["error"] = _why(error, aside, share)
            remove_share(aside.folder, share)
        self.notes.leave(f"report {rank}", json.dumps(report))
        self._hear("verdict")

    def _hear(self, name: str) -> None:
        if why := self.notes.read(name):
            raise Failed(why)

    def _gather(self, aside: Aside, share: Share) -> Files:
        """All ranks' files; Failed when all are done writing and one of them could not."""
        files: Files = {}
        problems = []
        try:
            files |= write_share(aside.folder, share)
        except Exception as error:
            problems.append(_why(error, aside, share))
        for rank in range(1, self.num_ranks):
            report = json.loads(self.notes.read(f"report {rank}"))
            self.notes.remove(f"report {rank}")
            files |= report["files"]
            if report["error"]:
                problems.append(f"rank {rank}: {report['error']}")
        for name in ("begun", "verdict"):  # all have reported in this save: all have read the one before
            self.before.remove(name)
        if problems:
            raise Failed("; ".join(problems))
        return dict(sorted(files.items()))


def _tidy(aside: Aside, options: CheckpointOptions) -> str | None:
    """What follows once there is a checkpoint; trouble here does not undo it."""
    try:
        point_latest(aside.root, aside.target.name)
        prune(aside.root, options, step_of(aside.target))
    except Exception as error:
        return f"{aside.target.name} is saved, but older ones were not tidied up: {error}"
    return None


def _why(error: BaseException, aside: Aside, share: Share) -> str:
    if isinstance(error, Failed):
        return str(error)
    return explain(error, aside.root, needed_bytes(share.bytes))
