"""Installed packages against the ranges that the package asks for."""

from __future__ import annotations

import ast
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pretrain.doctor.finding import Finding, note, ok, problem

CHECK = "versions"
OURS = "pretrain-power"
SHOWN = ("torch", "deepspeed", "transformers", "datasets", "flash-attn", "lm-eval")
OPTIONAL = ("gpu", "eval")
MISSED = {
    "lm-eval": "without it `pretrain evaluate` has no tasks"
}  # what flash-attn is for, its own line says


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A package and the versions that will do."""

    name: str
    versions: str  # such as ==2.13.*; empty: any
    extra: str | None = None  # of our package; None: always needed


def versions() -> Iterator[Finding]:
    """Every package that is missing or out of range, and a line of the important ones."""
    wanted = wanted_packages()
    yield from judge(wanted, {one.name: installed(one.name) for one in wanted})


def judge(wanted: tuple[Wanted, ...], found: Mapping[str, str | None]) -> Iterator[Finding]:
    """`found`: versions by name; None: not installed."""
    from packaging.specifiers import SpecifierSet

    for one in wanted:
        version, asked = found.get(one.name), f"{one.name}{one.versions}"
        if version is None and one.extra:
            if one.name in MISSED:
                yield note(
                    CHECK, f"{one.name} is not installed: {MISSED[one.name]}", f"pip install '{asked}'"
                )
        elif version is None:
            yield problem(CHECK, f"{one.name} is not installed", f"pip install '{asked}'")
        elif not SpecifierSet(one.versions).contains(version, prereleases=True):
            yield problem(
                CHECK, f"{one.name} {version}, and {one.versions} is needed", f"pip install '{asked}'"
            )
    shown = ", ".join(f"{name} {found[name]}" for name in SHOWN if found.get(name))
    yield ok(CHECK, f"python {platform.python_version()}, {shown}" if shown else "no package is here")


def installed(name: str) -> str | None:
    """The version of a package, which is not imported for that."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def wanted_packages() -> tuple[Wanted, ...]:
    """What setup.py asks for, also where the package is used from a checkout without being installed."""
    setup = Path(__file__).resolve().parents[2] / "setup.py"
    if setup.is_file():
        return tuple(_of_setup(setup.read_text(encoding="utf-8")))
    return tuple(_of_metadata())


def _of_setup(text: str) -> Iterator[Wanted]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.keyword) and node.arg == "install_requires":
            yield from map(_parsed, ast.literal_eval(node.value))
        if isinstance(node, ast.keyword) and node.arg == "extras_require":
            for extra, lines in ast.literal_eval(node.value).items():
                if extra in OPTIONAL:
                    yield from (_parsed(line, extra) for line in lines)


def _of_metadata() -> Iterator[Wanted]:
    for line in metadata.requires(OURS) or ():
        text, _, marker = line.partition(";")
        extra = next((name for name in OPTIONAL if "extra" in marker and name in marker), None)
        if not marker or extra:
            yield _parsed(text.strip(), extra)


def _parsed(line: str, extra: str | None = None) -> Wanted:
    from packaging.requirements import Requirement

    found = Requirement(line)
    return Wanted(name=found.name, versions=str(found.specifier), extra=extra)
