"""`pretrain data build` as a user meets it: exit codes, a kill, an array of jobs, a source that is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from glob import glob
from pathlib import Path

import pytest
import zstandard

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "slurm" / "data_build.sbatch"
FILES = ("train.bin", "train.idx", "validation.bin", "validation.idx")

pytestmark = pytest.mark.dist


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text of several kinds, a tokenizer, and `pretrain` on its path."""
    from pretrain.data.options import TokenizerOptions
    from pretrain.data.tokenizer_training import train_tokenizer

    folder = tmp_path_factory.mktemp("data build")
    texts = [path.read_text() for path in sorted((ROOT / "pretrain" / "data").glob("*.py"))]
    lines = "".join(json.dumps({"text": text, "n": number}) + "\n" for number, text in enumerate(texts))
    (folder / "text").mkdir()
    (folder / "text" / "a.jsonl").write_text(lines)
    (folder / "text" / "b.jsonl.zst").write_bytes(
        zstandard.compress(lines.replace('"text": "', '"text": "b ').encode())
    )
    (folder / "text" / "c.jsonl").write_text('{"text": "道可道，非常道。"}\nnot JSON\n' * 40)
    (folder / "tokenizer").mkdir()
    train_tokenizer(texts, TokenizerOptions(vocab_size=700), folder / "tokenizer")
    (folder / "bin").mkdir()
    for name, words in (("pretrain", "-m pretrain.cli"), ("python", "")):
        command = folder / "bin" / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        command.chmod(0o755)
    return folder


def environment(place: Path, **more: str) -> dict[str, str]:
    path = f"{place / 'bin'}:{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "VENV": str(place)} | more


def run(place: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, cwd=place, env=environment(place, **more), capture_output=True, text=True, timeout=300
    )


def build(place: Path, out: str, *more: str, source: str = "text") -> list[str]:
    return ["pretrain", "data", "build", "--source", source, "--tokenizer", "tokenizer", "--out", out, *more]


def content(place: Path, out: str) -> dict[str, bytes]:
    return {name: (place / out / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def whole(place: Path) -> dict[str, bytes]:
    """What one process gives."""
    done = run(place, *build(place, "whole", "--json"))
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["skipped"]["malformed or no text"] == 40
    assert manifest["skipped_places"]["malformed or no text"][0].endswith("c.jsonl, line 2")
    assert manifest["skipped"]["exact duplicate"] == 39
    return content(place, "whole")


def test_a_folder_that_is_there_is_said_to_be(place: Path, whole: dict[str, bytes]) -> None:
    again = run(place, *build(place, "whole"))
    assert again.returncode == 0
    assert "is there already, and whole" in again.stderr
    assert "documents to train on" in again.stdout
    other = run(place, *build(place, "whole", "--validation-share", "0.3"))
    assert other.returncode == 2
    assert "was built from other files, options or another tokenizer" in other.stderr


def test_a_killed_build_says_how_to_go_on_and_does(place: Path, whole: dict[str, bytes]) -> None:
    command = build(place, "killed", "--workers", "1")
    process = subprocess.Popen(command, cwd=place, env=environment(place), stderr=subprocess.DEVNULL)
    while process.poll() is None and not glob(f"{place}/killed.building/text/*/*.json"):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (place / "killed").exists()
    refused = run(place, *command)
    assert refused.returncode == 2
    assert "Add --resume to go on" in refused.stderr
    done = run(place, *command, "--resume")
    assert done.returncode == 0, done.stderr
    assert content(place, "killed") == whole
    assert not (place / "killed.building").exists()


def test_the_array_script_gives_the_same_bytes_on_one_machine(place: Path, whole: dict[str, bytes]) -> None:
    done = run(place, "bash", str(SCRIPT), *build(place, "parts")[3:], PARTS="2")
    assert done.returncode == 0, done.stderr
    assert content(place, "parts") == whole


def test_the_array_script_is_one_task_under_slurm(place: Path, whole: dict[str, bytes]) -> None:
    arguments = build(place, "array")[3:]
    slurm = {"SLURM_ARRAY_TASK_MAX": "2", "SLURM_CPUS_PER_TASK": "1"}
    early = run(place, "bash", str(SCRIPT), *arguments, SLURM_ARRAY_TASK_ID="2", **slurm)
    assert early.returncode == 0, early.stderr
    refused = run(place, "bash", str(SCRIPT), *arguments, "--merge")
    assert refused.returncode == 2
    assert "Run --part 1/2, then --merge again" in refused.stderr
    run(place, "bash", str(SCRIPT), *arguments, SLURM_ARRAY_TASK_ID="1", **slurm)
    done = run(place, "bash", str(SCRIPT), *arguments, "--merge")
    assert done.returncode == 0, done.stderr
    assert content(place, "array") == whole


def shown(*starts: str) -> str:
    """Lines of the script's own comment that begin so, as they stand there."""
    lines = [line.removeprefix("#").strip() for line in SCRIPT.read_text().splitlines()]
    found = [line for start in starts for line in lines if line.startswith(start)]
    assert len(found) == len(starts)
    return "\n".join(found)


@pytest.fixture(scope="module")
def corpus(place: Path) -> Path:
    """Where the commands of the script's comment can be typed: the glob that they name matches two files."""
    folder = place / "typed"
    (folder / "corpus").mkdir(parents=True)
    for name, start in (("a", 0), ("b", 50)):
        text = "".join(json.dumps({"text": f"words of {n}"}) + "\n" for n in range(start, start + 50))
        (folder / "corpus" / f"{name}.jsonl.zst").write_bytes(zstandard.compress(text.encode()))
    (folder / "tokenizer").symlink_to(place / "tokenizer")
    (folder / "launch").symlink_to(ROOT / "launch")
    return folder


def typed(place: Path, corpus: Path, text: str, **more: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of it that knows of the package only by VENV."""
    kept = {"PATH": os.environ["PATH"], "VENV": str(place)} | more
    return subprocess.run(
        ["bash", "-c", text], cwd=corpus, env=kept, capture_output=True, text=True, timeout=300
    )


def test_what_the_array_script_shows_reads_every_file_of_a_glob(place: Path, corpus: Path) -> None:
    done = typed(place, corpus, shown("build=(", "PARTS=4 bash").replace("PARTS=4", "PARTS=1"))
    assert done.returncode == 0, done.stderr
    manifest = json.loads((corpus / "shards" / "web" / "manifest.json").read_text())
    assert manifest["train"]["documents"] + manifest["validation"]["documents"] == 100


def test_the_array_script_answers_and_starts_what_its_environment_is(place: Path, corpus: Path) -> None:
    lines = shown("build=(", 'PARTS=4 bash "${build[@]}"')
    alone = typed(place, corpus, f"{lines} --dry-run")
    assert "# --part 1/4 to 4/4 one after another, then --merge" in alone.stdout
    command = f"'{place}/bin/python' -m pretrain.cli data build --source 'corpus/*.jsonl.zst'"
    assert command in alone.stdout, alone.stderr
    task = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MAX": "9", "SLURM_CPUS_PER_TASK": "3"}
    one = typed(place, corpus, f"{lines.replace('PARTS=4', '')} --dry-run", **task)
    assert one.stdout.endswith("--workers 3 --part 7/9\n")
    merge = typed(place, corpus, f"{lines} --merge --dry-run", **task)
    assert merge.stdout.endswith("--merge\n")
    nowhere = typed(place, corpus, lines, VENV="/nowhere")
    assert (nowhere.returncode, "VENV: /nowhere" in nowhere.stderr) == (2, True)
    told = typed(place, corpus, f"{shown('build=(')}\nbash ${{build[0]}} --help").stdout
    assert "--source 'corpus/*.jsonl.zst'" in told
    assert "SBATCH" not in told


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("txet", "Did you mean 'text'?"),
        ("hub:name", "should be hub:NAME:SPLIT:COLUMN"),
        ("kind=jsnl,path=text", "Did you mean 'jsonl'?"),
        ("kind=jsonl,path=text,colum=x", "'colum' is no key of kind jsonl"),
        ("kind=jsonl,path=text,column=txt", "there is no column 'txt'; there are: n, text."),
        ("kind=shards,path=text", "shards are there already"),
    ],
)
def test_a_source_that_means_nothing_is_explained(
    place: Path, source: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pretrain.cli import main

    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as left:
        main(build(place, "no", source=source)[1:])
    assert left.value.code == 2
    assert said in capsys.readouterr().err
