"""Whether a failure means that another rank is lost: a connection closed under a collective."""

from __future__ import annotations

import re

# gloo raises a plain RuntimeError; these are its words, and the system's for a connection that is no more
WORDS = re.compile(
    r"connection (was )?(closed|reset|refused)|broken pipe|timed out waiting|pair closure|socket timeout",
    re.IGNORECASE,
)


def is_lost_peer(failure: BaseException) -> bool:
    """Whether `failure`, or what it came of, is one of communication between ranks."""
    import torch.distributed as dist

    link: BaseException | None = failure
    while link is not None:
        if isinstance(link, dist.DistError):
            return True
        if isinstance(link, RuntimeError) and WORDS.search(str(link)):
            return True
        link = link.__cause__ or link.__context__
    return False
