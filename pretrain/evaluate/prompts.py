"""Prompts as a person gives them: on the command line, or one a line from a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pretrain.errors import UserError


def given(prompts: Sequence[str]) -> Iterator[str]:
    """Those of the command line; UserError for one that is empty or no text."""
    for prompt in prompts:
        if not prompt:
            raise UserError("--prompt: is empty; a text begins with something, if only a newline.")
        try:
            prompt.encode()
        except UnicodeEncodeError:
            raise UserError(f"--prompt: {prompt!a} is not UTF-8.") from None
        yield prompt


def lines(stream: Iterable[bytes]) -> Iterator[str]:
    """Lines of standard input that hold something, without their ends; UserError for one that is no text."""
    for number, line in enumerate(stream, start=1):
        try:
            text = line.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise UserError(f"--stdin: line {number} is not UTF-8.") from None
        if text.strip():
            yield text


def check(prompts: Sequence[str], *, stdin: bool, stream: bool, as_json: bool) -> None:
    """UserError where there is nothing to write after, or more than can be shown as asked."""
    if not prompts:
        what = "there is no line with text on standard input" if stdin else "there is no prompt"
        raise UserError(f"{what}; give --prompt TEXT, or --stdin and one prompt a line.")
    if stream and as_json:
        raise UserError("--stream: is for people to read, and --json for programs; give one of them.")
    if stream and len(prompts) > 1:
        raise UserError(f"--stream: shows the text of one prompt, and there are {len(prompts)}.")
