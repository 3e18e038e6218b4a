"""Long texts in stretches that are encoded one by one, cut where no token can lie across.

A splitting regular expression looks for the next piece from the end of the last and not behind it, and no
piece of the patterns in use goes from a letter on into white space or a clause mark. So a cut there changes
no id, and memory no longer grows with the document. That is checked of each tokenizer, which says whether it
may be cut at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LENGTH = 1 << 16  # characters, and then on to the next place to cut
LONGEST = 1 << 20  # without any such place, as in a text of nothing but digits, it is cut all the same
CUT = re.compile(r"[^\W\d_](?=[ \n\t\r，。、；：])")


def stretches(text: str, length: int = LENGTH, longest: int = LONGEST) -> Iterator[str]:
    """The text in pieces of about `length` characters; a short one as it is."""
    start = 0
    while len(text) - start > length:
        found = CUT.search(text, start + length, start + longest)
        # the look-ahead must see the next character, which a search that ends there does not
        end = found.end() if found else min(start + longest, len(text))
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]
