"""Which rank holds the others up, from what the ranks have said of themselves; in one sentence for people."""

from __future__ import annotations

import time

from pretrain.guard.notes import Board, Note, process_state

SILENT_BEATS = 4  # missed, after which a rank is taken for silent
SHOWN = 8  # ranks that are described where none stands out


def blame(board: Board, own: Note, beat_seconds: float) -> str:
    """Ranks that are gone, stopped or silent; else those behind the others; else where everyone is."""
    silent_seconds, now = SILENT_BEATS * beat_seconds, time.monotonic()
    unheard = {
        rank: trouble
        for rank, heard in sorted(board.heard.items())
        if (trouble := _trouble(heard.note, now - heard.at, silent_seconds, now - board.answered))
    }
    if unheard:
        found = [f"{_who(rank, board.heard[rank].note)} {trouble}" for rank, trouble in unheard.items()]
    elif now - board.answered > silent_seconds:
        return f"{_store(board)} has not answered for {now - board.answered:.0f} s"
    elif never := [rank for rank in range(board.ranks.size) if not _known(board, rank)]:
        found = [f"rank {rank} has never been heard of" for rank in never[:SHOWN]]
    else:
        found = _behind({rank: heard.note for rank, heard in board.heard.items()} | {board.ranks.rank: own})
    return "; ".join(found)


def _store(board: Board) -> str:
    """Where ranks leave notes: the launcher's, or the first rank's own."""
    return f"{'the' if board.ranks.served else 'rank 0 or the'} store where ranks leave notes"


def silent(board: Board, seconds: float, *, gone_seconds: float, since: float) -> str | None:
    """Who has left no sign of life for so long, whatever it does; None: nobody.

    The first rank hears all, the others hear the first. `since`: when this process itself began or woke.
    """
    now, ranks = time.monotonic(), board.ranks
    if now - max(board.answered, since) > seconds:
        return f"{_store(board)} has not answered for {now - board.answered:.0f} s"
    found = []
    for rank in range(1, ranks.size) if ranks.first else [0]:
        heard = board.heard.get(rank)
        if heard is None and now - since > seconds:
            found.append(f"rank {rank} has never been heard of")
        elif heard and now - max(heard.at, since) > (gone_seconds if _gone(heard.note) else seconds):
            who, age = _who(rank, heard.note), now - heard.at
            found.append(f"{who} has not been heard of for {age:.0f} s; its last note: '{heard.note.doing}'")
    return "; ".join(found) or None


def _known(board: Board, rank: int) -> bool:
    return rank == board.ranks.rank or rank in board.heard


def _gone(note: Note) -> bool:
    return process_state(note) == "gone"


def _trouble(note: Note, age: float, silent_seconds: float, unanswered: float) -> str | None:
    """What is wrong with a rank whose last sign of life is `age` seconds old, if anything is."""
    state = process_state(note)
    if state is not None:
        return f"is {state}; its last note: '{note.doing}'"
    if age > silent_seconds >= unanswered:
        return f"has not been heard of for {age:.0f} s; its last note: '{note.doing}'"
    return None


def _behind(notes: dict[int, Note]) -> list[str]:
    moves = {note.moves for note in notes.values()}
    late = {rank: note for rank, note in sorted(notes.items()) if note.moves == min(moves)}
    if len(moves) > 1:
        return [f"{_who(rank, note)} is late: in '{note.doing}', {note.line}" for rank, note in late.items()]
    where = [f"rank {rank} in '{note.doing}', {note.line}" for rank, note in late.items()]
    return ["no rank is behind the others", *where[:SHOWN]] if len(notes) > 1 else where


def _who(rank: int, note: Note) -> str:
    return f"rank {rank} (process {note.pid} on {note.host})"
