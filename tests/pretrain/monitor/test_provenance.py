from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

import pretrain.monitor.provenance as provenance_module
from pretrain.monitor.provenance import commit, provenance, versions


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_checkout_is_known_by_its_commit_and_by_what_changed_since(tmp_path: Path) -> None:
    assert commit(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert commit(tmp_path) is None  # there is none yet
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit(tmp_path) == head
    (tmp_path / "not tracked").write_text("1")
    assert commit(tmp_path) == head
    (tmp_path / "a").write_text("2")
    assert commit(tmp_path) == head + "+"


def test_a_checkout_that_git_does_not_compare_is_not_called_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    answers = {"rev-parse": "abc", "status": None}
    monkeypatch.setattr(provenance_module, "_git", lambda folder, verb, *rest: answers[verb])
    assert commit(tmp_path) == "abc?"


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit(tmp_path) is None


def test_versions_are_those_that_are_imported() -> None:
    assert versions()["torch"] == torch.__version__


def test_facts_are_json_and_name_the_device() -> None:
    facts = provenance("a GPU")
    assert json.loads(json.dumps(facts)) == facts
    assert facts["device"] == "a GPU"
