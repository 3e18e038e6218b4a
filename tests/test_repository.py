"""Rules of the whole tree: style, who may import what, and that the README speaks of what is there."""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pretrain.config.load import load, names
from pretrain.sweep.load import names as sweep_names

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
LONGEST_FILE = 350


def tracked() -> list[Path]:
    """The files of the project: those that git knows or would take in, or all but what tools leave behind."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        return [ROOT / name for name in sorted(set(listed.stdout.split("\n"))) if (ROOT / name).is_file()]
    folders = ("launch", "pretrain", "megatron_lite", "tests", "configs", "docs", "benchmarks")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    found += [path for path in ROOT.iterdir() if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts]


FILES = tracked()
PYTHON = [path for path in FILES if path.suffix == ".py"]
DOCUMENTS = [path for path in FILES if path.suffix == ".md"]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> set[str]:
    """Dotted names of every module imported anywhere in the file."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def tool(name: str, *arguments: str) -> None:
    """Run a tool of the development extra; it must be content."""
    ended = subprocess.run([str(BIN / name), *arguments], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-4000:]


def test_the_tree_was_found() -> None:
    assert len(PYTHON) > 150
    assert ROOT / "launch" / "pretrain.py" in FILES
    assert ROOT / "README.md" in DOCUMENTS


def test_ruff_is_content() -> None:
    tool("ruff", "check", "--no-cache", ".")


def test_every_file_is_formatted() -> None:
    tool("ruff", "format", "--check", "--no-cache", ".")


def test_imports_go_one_way() -> None:
    tool("lint-imports", "--no-cache")


@pytest.mark.slow
def test_types_are_sound() -> None:
    tool("mypy")


@pytest.mark.parametrize(
    "path",
    [path for path in PYTHON if path.relative_to(ROOT).parts[0] == "megatron_lite"],
    ids=lambda p: p.stem,
)
def test_the_mathematics_knows_no_cluster_no_environment_and_no_files(path: Path) -> None:
    forbidden = (
        "torch.distributed",
        "deepspeed",
        "os",
        "subprocess",
        "socket",
        "pathlib",
        "pretrain",
        "requests",
    )
    assert not [name for name in imported(path) if name.startswith(tuple(f"{word}." for word in forbidden))]
    assert not imported(path) & set(forbidden)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "open", f"{path}:{node.lineno}"
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("environ", "getenv", "distributed", "read_text"), f"{path}:{node.lineno}"


def uses_of(package: str) -> Iterator[str]:
    for path in PYTHON:
        where = path.relative_to(ROOT)
        if where.parts[0] != "tests" and any(name.split(".")[0] == package for name in imported(path)):
            yield str(where)


@pytest.mark.parametrize(
    ("package", "folder"),
    [
        ("deepspeed", "pretrain/engine/"),
        ("wandb", "pretrain/monitor/wandb_tracker.py"),
        (
            "matplotlib",
            (
                "pretrain/monitor/curves.py",
                "pretrain/coord_check/plot.py",
                "pretrain/rates/plot.py",
                "pretrain/laws/figures/",
                "benchmarks/",
            ),
        ),
        ("transformers", ("pretrain/exchange/", "benchmarks/")),
        ("sentencepiece", ("pretrain/data/", "benchmarks/")),
        ("flash_attn", "megatron_lite/kernels/"),
        ("lm_eval", "pretrain/evaluate/harness/"),
    ],
)
def test_a_heavy_library_has_one_place(package: str, folder: str | tuple[str, ...]) -> None:
    users = list(uses_of(package))
    assert users
    assert all(user.startswith(folder) for user in users), users


def test_the_environment_is_read_at_the_door_alone() -> None:
    for path in PYTHON:
        where = path.relative_to(ROOT).as_posix()
        if where.startswith(("launch/", "tests/", "benchmarks/")) or where in ENVIRONMENT:
            continue
        reads = [
            node.lineno
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
        ]
        assert not reads, f"{where}: {reads}"


ENVIRONMENT = {
    "pretrain/engine/deepspeed_engine.py",  # DeepSpeed insists on finding LOCAL_RANK there
    "pretrain/guard/processes.py",  # another process's, to tell ranks from others
    "pretrain/sweep/nursery.py",  # the door of a sweep's runs
    "pretrain/commands/evaluate.py",  # the door of an evaluation, which torchrun and srun may start
    "pretrain/commands/doctor.py",  # what the doctor looks at; its parts are handed it
    "pretrain/machine.py",  # cuBLAS learns in no other way that it is to add up in a fixed order
    "pretrain/monitor/wandb_tracker.py",  # where wandb's own key is
}


def test_the_learning_rate_command_loads_nothing_heavy() -> None:
    code = (
        "import sys, json\nfrom pretrain.cli import main\n"
        "try: main(['lr', '--config', '3b_moe', '--at', '100B', '--json'])\nexcept SystemExit: pass\n"
        "print(json.dumps(sorted(name.split('.')[0] for name in sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    answer, modules = map(json.loads, ended.stdout.splitlines())
    assert answer[0]["tokens"] == 100_000_000_000
    assert not {"torch", "numpy", "deepspeed", "transformers", "datasets", "matplotlib"} & set(modules)


def test_no_file_is_too_long_to_read() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PYTHON}
    assert {str(path): length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_every_file_says_its_one_idea_first() -> None:
    for path in PYTHON:
        if path.name.startswith("test_"):
            continue  # its name says it
        words = ast.get_docstring(tree(path))
        assert words, path
        assert words.split("\n\n")[0].endswith((".", ":", "?")), path


def test_names_of_tests_are_unique() -> None:
    """pytest imports them by name, and people look for them by name."""
    tests = [path.name for path in PYTHON if path.name.startswith("test_")]
    assert len(tests) == len(set(tests))


def test_no_path_of_any_machine_is_in_the_tree() -> None:
    home = re.compile(r"(?<![\w./:-])/(?:home|root|Users|work|scratch|mnt)/[\w.-]+")
    for path in FILES:
        if path.suffix in (".png", ".jpg"):
            continue
        found = home.findall(path.read_text(encoding="utf-8"))
        assert not found, f"{path}: {found}"


def commands(text: str) -> Iterator[list[str]]:
    """The command lines of a document's indented and fenced blocks."""
    for line in re.findall(
        r"^(?: {4}|\$ )?((?:deepspeed|torchrun|srun|python|pretrain|make) .*)$", text, re.M
    ):
        yield line.split("#")[0].split()


def test_every_config_that_is_named_exists() -> None:
    known = {*names(), *sweep_names()}
    assert {"tiny_moe", "3b_moe", "tiny_wsd"} <= known
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        asked = {word for words in commands(text) for flag, word in pairwise(words) if flag == "--config"}
        listed = re.findall(r"`((?:tiny|proxy|\d+b)_\w+)`", text)
        for name in {*asked, *listed, *re.findall(r"configs/(\w+)\.yaml", text)}:
            name = name.removesuffix(".yaml")
            assert name in known or name.startswith("my_") or name == "NAME", f"{path}: {name}"


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    for path in DOCUMENTS:
        named = set(re.findall(r"`make ([\w-]+)", path.read_text(encoding="utf-8")))
        named |= {words[1] for words in commands(path.read_text(encoding="utf-8")) if words[0] == "make"}
        assert named <= targets, path


def test_every_command_of_the_readme_parses() -> None:
    from pretrain.main import parse

    seen = 0
    for words in commands((ROOT / "README.md").read_text(encoding="utf-8")):
        if "launch/pretrain.py" in words:
            parsed = parse(words[words.index("launch/pretrain.py") + 1 :])
            assert isinstance(parsed, argparse.Namespace)
            if not parsed.config.startswith("my_"):
                load(parsed.config, parsed.overrides)
        elif words[0] == "pretrain":
            ended = subprocess.run(
                [sys.executable, "-m", "pretrain.cli", *words[1:]], cwd=ROOT, capture_output=True, text=True
            )
            if any("my_" in word for word in words):  # names what only the reader's own run would have made
                assert ended.returncode == 2, ended.stderr
                assert "no such folder" in ended.stderr
            else:
                assert ended.returncode == 0, ended.stderr
        else:
            continue
        seen += 1
    assert seen >= 5


def test_every_key_of_the_readme_is_one() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    sections = load("tiny_moe").model_dump()
    for section, key in re.findall(r"`(\w+)\.(\w+)(?:=[^`]*)?`", text):
        if section in sections:
            assert key in sections[section], f"{section}.{key}"


def test_every_file_that_the_documents_name_exists() -> None:
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
        for link in links:
            assert (path.parent / link).exists(), f"{path}: {link}"
        for name in re.findall(r"`((?:pretrain|megatron_lite|launch|tests|configs|docs)/[\w/.]*)`", text):
            assert (ROOT / name).exists(), f"{path}: {name}"
