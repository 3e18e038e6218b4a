"""What ranks tell each other about one save, through the store: a background thread makes no collectives."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch.distributed as dist

FIRST_POLL_SECONDS = 0.005
POLL_SECONDS = 0.2


class Notes:
    """Named notes of one save."""

    def __init__(self, store: dist.Store, save: str) -> None:
        self._store = store
        self._save = save

    def leave(self, name: str, text: str) -> None:
        """Leave a note for whoever reads it."""
        self._store.set(self._key(name), text)

    def read(self, name: str) -> str:
        """Wait for a note, without holding the store, which others use meanwhile."""
        wait = FIRST_POLL_SECONDS
        while not self._store.check([self._key(name)]):
            time.sleep(wait)
            wait = min(2 * wait, POLL_SECONDS)
        return self._store.get(self._key(name)).decode()

    def remove(self, name: str) -> None:
        """Forget a note that nobody will read again."""
        self._store.delete_key(self._key(name))

    def _key(self, name: str) -> str:
        return f"checkpoint {self._save} {name}"
