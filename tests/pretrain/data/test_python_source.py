from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from pretrain.data.options import PythonSource
from pretrain.data.sources.base import Document, Reason, Skipped
from pretrain.data.sources.python import (
    PythonReader,
    library_folders,
    machine_generated,
    package,
    python_files,
)

FILES = {
    "json/decoder.py": b"import re\n",
    "torch/nn.py": "π = 3\n".encode(),
    "torch/notes.txt": b"no Python",
    "torch/__pycache__/nn.py": b"never",
    "site-packages/x.py": b"a folder of its own",
    "pretrain/run.py": b"ourselves",
    "legacy/latin.py": b"# \xe9\n",
    "tables/long.py": b"x = [" + b"1, " * 1000 + b"]\n",
    "tables/huge.py": b"x = 1\n" * 200_000,
}
ORDER = ["legacy/latin.py", "tables/huge.py", "tables/long.py", "json/decoder.py", "torch/nn.py"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def read(root: Path, max_bytes: int = 10**6) -> list[Document | Skipped]:
    return list(PythonReader(PythonSource(max_bytes=max_bytes), roots=[root]).documents())


def test_python_files_are_documents_and_the_rest_is_counted(root: Path) -> None:
    found = read(root)
    documents = {(one.group, one.text) for one in found if isinstance(one, Document)}
    assert documents == {("json", "import re\n"), ("torch", "π = 3\n")}
    reasons = sorted(one.reason for one in found if isinstance(one, Skipped))
    assert reasons == [Reason.GENERATED, Reason.INVALID, Reason.LARGE]


def test_a_file_that_cannot_be_read_is_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", _refuse)
    assert {one.reason for one in read(root) if isinstance(one, Skipped)} == {Reason.UNREADABLE, Reason.LARGE}


def _refuse(*_: object) -> None:
    raise PermissionError


def test_the_cap_leaves_out_the_end_of_an_order_that_does_not_change(root: Path) -> None:
    names = [str(name) for name, _ in python_files([root])]
    assert names == ORDER
    capped = read(root, max_bytes=1)
    assert capped[-1] == Skipped(reason=Reason.BEYOND, count=len(names) - len(capped) + 1)
    assert capped[:-1] == read(root)[: len(capped) - 1]


@pytest.mark.parametrize(("max_bytes", "documents"), [(len(FILES["json/decoder.py"]), 1), (11, 2)])
def test_the_cap_counts_bytes_and_the_file_that_crosses_it_is_the_last(
    root: Path, max_bytes: int, documents: int
) -> None:
    assert sum(isinstance(one, Document) for one in read(root, max_bytes)) == documents


def test_the_order_is_that_of_names_alone(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "copy" / "deep"
    elsewhere.mkdir(parents=True)
    for name in reversed(ORDER):
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).write_bytes(FILES[name])
    assert [str(name) for name, _ in python_files([elsewhere])] == ORDER


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("json/decoder.py", "json"),
        ("six.py", "six"),
        ("_pytest/nodes.py", "pytest"),
        ("pip/_vendor/rich/_log_render.py", "rich"),
        ("pip/_vendor/typing_extensions.py", "typing_extensions"),
        ("setuptools/_vendor/wheel/vendored/packaging/tags.py", "packaging"),
        ("setuptools/_distutils/command/build.py", "distutils"),
        ("distutils/command/build.py", "distutils"),
        ("vendored.py", "vendored"),
        ("_vendor/six.py", "six"),
    ],
)
def test_vendored_copies_count_as_the_package(name: str, group: str) -> None:
    assert package(PurePosixPath(name)) == group


def test_programs_are_not_taken_for_tables() -> None:
    assert not machine_generated("x = 1\n" * 100)
    assert machine_generated("x" * 1001)
    assert machine_generated(("y" * 150 + "\n") * 50)


def test_the_library_of_this_interpreter_is_found() -> None:
    folders = library_folders()
    assert any((folder / "json" / "decoder.py").is_file() for folder in folders)
    assert any((folder / "pydantic" / "main.py").is_file() for folder in folders)


def test_the_identity_names_what_is_installed() -> None:
    identity = PythonReader(PythonSource()).identity()
    assert any(name.startswith("pydantic==") for name in identity["distributions"])
    assert identity == PythonReader(PythonSource()).identity()
