"""Every command in README and docs/ is one: its options exist, its configs load, its files are there."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from pretrain.cli import app
from pretrain.config.load import load
from pretrain.main import parse
from pretrain.sweep.load import names as sweep_names

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MISUSED: Any = typer.BadParameter.__base__  # the error of the parser below typer, wherever it comes from
PROGRAMS = "deepspeed|torchrun|srun|sbatch|python|pretrain|bash|docker"
PLACEHOLDER = re.compile(r"(?<![\w=])[A-Z][A-Z_]*\b|\.\.\.|…")  # FOLDER, RUN, N: the reader's own
OWN = re.compile(r"\bmy_|\bimported/|\bout/|^runs/|^sweeps/")  # what only the reader's machine has


def in_blocks(text: str) -> Iterator[str]:
    """Each command of an indented or fenced block; continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", text)
    yield from re.findall(rf"^(?: {{4}}|\$ )?((?:{PROGRAMS}) [^\n]*)$", text, re.M)


def in_sentences(text: str) -> Iterator[str]:
    """Each command in backticks, which may name a part of one."""
    for quoted in re.findall(rf"`((?:{PROGRAMS}) [^`]+)`", text):
        yield re.sub(r"\s+", " ", quoted)


def found(kind: Any) -> list[tuple[str, str]]:
    """Pairs of a document's name and a command in it."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in DOCUMENTS if path.exists()}
    return [(name, command) for name, text in texts.items() for command in dict.fromkeys(kind(text))]


@pytest.mark.parametrize(("document", "command"), found(in_blocks))
def test_a_command_of_a_block_can_be_typed(document: str, command: str) -> None:
    words = shlex.split(command, comments=True)
    if any(PLACEHOLDER.search(word) for word in words):
        check_parts(words)
    elif "launch/pretrain.py" in words:
        check_run(words[words.index("launch/pretrain.py") + 1 :])
    elif "pretrain.cli" in words:
        check_command(words[words.index("pretrain.cli") + 1 :])
    elif words[0] == "pretrain":
        check_command(words[1:])
    else:
        check_parts(words)


@pytest.mark.parametrize(("document", "command"), found(in_sentences))
def test_a_command_in_a_sentence_names_what_exists(document: str, command: str) -> None:
    check_parts(shlex.split(command))


def test_enough_commands_were_found() -> None:
    assert len(found(in_blocks)) > 100
    assert len(found(in_sentences)) > 50


@pytest.mark.parametrize("words", [["plan", "--confg", "tiny_moe"], ["plan"], ["laws", "fit"], ["pla"]])
def test_what_is_no_command_is_noticed(words: list[str]) -> None:
    with pytest.raises((MISUSED, AssertionError)):
        check_command(words)


@pytest.mark.parametrize(
    "words", [["pretrain", "plam"], ["pretrain", "plan", "--rank", "2"], ["python", "launch/train.py"]]
)
def test_what_does_not_exist_is_noticed(words: list[str]) -> None:
    with pytest.raises(AssertionError):
        check_parts(words)


def check_run(words: list[str]) -> None:
    """The config loads under its overrides, where neither is the reader's own."""
    parsed = parse([word for word in words if not word.startswith(">")])
    if not OWN.search(parsed.config):
        load(parsed.config, [word for word in parsed.overrides if not OWN.search(word)])


def check_command(words: list[str]) -> None:
    """The command's own parser takes the words; what they name need not be there."""
    command, names, words = resolve(words)
    if "--help" in words:
        return
    with command.make_context(" ".join(names), words) as context:
        config, overrides = context.params.get("config"), context.params.get("overrides") or []
        if isinstance(config, str) and not OWN.search(config) and config not in sweep_names():
            load(config, [word for word in overrides if not OWN.search(word)])


def check_parts(words: list[str]) -> None:
    """Modules, scripts, commands and options that are named exist; whether they make a whole is not asked."""
    if words[:2] == ["python", "-m"] and not words[2].startswith("pretrain.launch"):  # as installed
        assert importlib.util.find_spec(words[2]) is not None, words[2]
    for word in words:
        if word.startswith(("launch/", "benchmarks/", "tests/", "docker/")):
            assert (ROOT / word.partition(":")[0]).exists(), word
    if words[0] == "pretrain":
        command, _, rest = resolve(words[1:])
        known = {option for parameter in command.params for option in (*parameter.opts, "--help")}
        for word in rest:
            assert not word.startswith("--") or word.partition("=")[0] in known, word


def resolve(words: list[str]) -> tuple[Any, list[str], list[str]]:
    """The command that words begin with, its names, and the words behind them."""
    command: Any = typer.main.get_command(app)
    names = ["pretrain"]
    while hasattr(command, "commands") and words and words[0] != "--help":
        name, *words = words
        assert name in command.commands, f"no such command: {' '.join([*names, name])}"
        command, names = command.commands[name], [*names, name]
    return command, names, words
