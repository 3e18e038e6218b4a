"""A stream that never stops a run: what cannot be written is dropped, what cannot be encoded is replaced."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TextIO, cast

GONE = (OSError, ValueError)  # a broken pipe, a full disk; a closed stream


def unbroken(stream: TextIO) -> TextIO:
    """The stream, without its errors."""
    return cast(TextIO, _Unbroken(stream))


class _Unbroken(io.TextIOBase):
    """Standard output or error as it is, without its errors (a closed terminal, a broken pipe, ASCII)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(*GONE):
            self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        """Flush if that is possible."""
        with suppress(*GONE):
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether a person may be watching."""
        return not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        """The descriptor below."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream below."""
        return self._stream.encoding or "utf-8"
